"""Checksums: published ones are checked, unknown ones recorded at first use and checked ever after."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pooch.hashes import file_hash, hash_algorithm, hash_matches

from seedbed.errors import UserError
from seedbed.files import read_json, write_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verified:
    """A file that was checked."""

    digest: str
    """SHA-256, as hexadecimal digits."""
    recorded: bool
    """Whether nobody publishes its checksum, so that it was taken as it is and recorded for the next time."""


@dataclass(frozen=True)
class Checksums:
    """The record `path` of files that came: name -> {sha256, size, source, date}; names are kept below `prefix`.

    Two data sets may well have an archive of one name.
    """

    path: Path
    prefix: str = ""

    def expected(self, name: str) -> str | None:
        """Return the recorded checksum of `name` as `sha256:<digits>`, None when it never came."""
        entry = self._entries().get(self.prefix + name)
        return f"sha256:{entry['sha256']}" if entry else None

    def accept(self, path: Path, known: str | None, source: str, name: str | None = None) -> Verified:
        """Record the file at `path` that came from `source` and was checked against `known` and the record.

        `known` is the published checksum, if there is one; `name` the name of the entry if it is not the file's.
        """
        name = name or path.name
        published = known is not None and known.startswith("sha256:")
        digest = known.removeprefix("sha256:").lower() if known and published else file_hash(str(path))
        entries, name = self._entries(), self.prefix + name
        if entries.get(name, {}).get("sha256") == digest:
            return Verified(digest, recorded=False)
        if known is None:
            logger.info("no published checksum for %s: recorded sha256 %s", name, digest)
        today = datetime.now(UTC).date().isoformat()
        entries[name] = {"sha256": digest, "size": path.stat().st_size, "source": source, "date": today}
        write_json(self.path, entries)
        return Verified(digest, recorded=known is None)

    def origin(self, name: str) -> str:
        """Return, in words, where the recorded checksum of `name` is from."""
        entry = self._entries()[self.prefix + name]
        return f"recorded in {self.path} on {entry['date']} from {entry['source']}"

    def _entries(self) -> dict[str, dict[str, Any]]:
        fix = f"mend it, or delete it: checksums are then recorded anew, unchecked (rm {self.path})"
        entries = read_json(self.path, fix) if self.path.exists() else {}
        fields = {"sha256", "size", "source", "date"}
        if not isinstance(entries, dict) or not all(
            isinstance(entry, dict) and fields <= entry.keys() for entry in entries.values()
        ):
            raise UserError(f"{self.path} is no record of checksums", fix)
        return entries


def verify_file(path: Path, known: str | None, checksums: Checksums, name: str | None = None) -> Verified:
    """Check a file given by hand against its published checksum `known` (`md5:...`, `sha256:...`), else the recorded.

    `name` is the archive that it stands for, if it is not the file's own name. A file that nothing is known of is
    recorded. Raises UserError, with the expected and the found checksum, when the file is another one.
    """
    name = name or path.name
    if not path.is_file():
        raise UserError(f"{path} is not a file")
    expected = known or checksums.expected(name)
    if expected is not None and not hash_matches(str(path), expected):
        kind = hash_algorithm(expected)
        raise UserError(
            f"{path} is not the {name} that is expected: {expected} "
            f"({'published' if known else checksums.origin(name)}), but it has "
            f"{kind}:{file_hash(str(path), alg=kind)}",
            "fetch it again"
            if known
            else f"fetch it again; if the new file is right, delete {checksums.prefix}{name} in {checksums.path}",
        )
    return checksums.accept(path, known, "given by hand", name)
