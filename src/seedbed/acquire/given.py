"""What the user got by hand, archives and unpacked folders, matched with the archives that data sets are made of."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pooch.hashes import file_hash, hash_algorithm

from seedbed.acquire.archive import list_members, place_of
from seedbed.acquire.catalogue import Archive
from seedbed.acquire.checksums import Checksums, verify_file
from seedbed.acquire.members import ExtractLimits
from seedbed.errors import UserError
from seedbed.trees import Entry, walk

Key = tuple[str, str]
"""A data set, and one of its archives."""


@dataclass(frozen=True)
class Wanted:
    """An archive of the catalogue that a set needs."""

    name: str
    file: str
    archive: Archive
    checksums: Checksums

    @property
    def key(self) -> Key:
        """The set and the file."""
        return self.name, self.file

    @property
    def expected(self) -> str | None:
        """The checksum that it must have, published or recorded; None when none is known."""
        return self.archive.checksum or self.checksums.expected(self.file)


@dataclass(frozen=True)
class Source:
    """Where the files of an archive are taken from: a file like it, or `files` of a folder."""

    path: Path
    origin: str
    """As it is recorded: a path, or a URL."""
    content: Mapping[str, str]
    """What tells this content from another: `sha256` of an archive, `listing` of what is taken from a folder."""
    limits: ExtractLimits = field(default_factory=ExtractLimits)
    files: tuple[Entry, ...] | None = None

    @property
    def bytes(self) -> int:
        """Bytes of the files of a folder."""
        return sum(entry.size for entry in self.files or ())


def find_sources(wanted: Sequence[Wanted], paths: Sequence[Path]) -> dict[Key, list[Source]]:
    """Return where, among the `paths` that the user gives, the files of the archives `wanted` are. Nothing is written.

    An archive counts by its name (also in a folder that is given), by its checksum where one is known, else by what is
    in it; a folder by what is in it. Raises UserError for a path that is not there, of no use, or for two sets at once.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist", "mend the path after --from")
    folders = {path: list(walk(path)) for path in paths if path.is_dir()}
    named = _named(wanted, paths, folders)
    found = {key: [source] for key, source in named.items()}
    rest = [want for want in wanted if want.key not in named]
    by_name = {source.path for source in named.values()}
    for path in paths:
        if path in by_name:
            continue
        taken = _from_folder(path, folders[path], rest) if path in folders else _from_archive(path, rest)
        if not taken and path not in {one.parent for one in by_name}:
            raise _useless(path, wanted, folders.get(path, []))
        for key, source in taken.items():
            found.setdefault(key, []).append(source)
    return found


def _named(
    wanted: Sequence[Wanted], paths: Sequence[Path], folders: Mapping[Path, Sequence[Entry]]
) -> dict[Key, Source]:
    """Return the archives that lie under their names: given, or directly in a folder. Each is verified."""
    times = Counter(want.file for want in wanted)
    known = {want.file: want for want in wanted if times[want.file] == 1}
    files = [path for path in paths if path not in folders]
    for path, entries in folders.items():
        files += [path / entry.path for entry in entries if entry.kind == "file" and "/" not in entry.path]
    return {known[path.name].key: _verified(path, known[path.name]) for path in files if path.name in known}


def _verified(path: Path, want: Wanted) -> Source:
    digest = verify_file(path, want.archive.checksum, want.checksums, want.file).digest
    return Source(path, str(path), {"sha256": digest}, want.archive.limits)


def _from_archive(path: Path, wanted: Sequence[Wanted]) -> dict[Key, Source]:
    """Return what an archive under a name of its own is good for."""
    expected = {want.expected: want for want in wanted if want.expected}
    for kind in sorted(set(map(hash_algorithm, expected))):
        want = expected.get(f"{kind}:{file_hash(str(path), alg=kind)}")
        if want is not None:
            return {want.key: _verified(path, want)}
    allowed = ExtractLimits(bytes=sum(want.archive.limits.bytes for want in wanted))
    taken = _takers(path, list_members(path, allowed), wanted)
    if len(taken) == 1:
        return {key: _verified(path, want) for want in wanted for key in taken if want.key == key}
    digest = file_hash(str(path)) if taken else ""
    return {key: Source(path, str(path), {"sha256": digest}, allowed) for key in taken}


def _from_folder(path: Path, entries: Sequence[Entry], wanted: Sequence[Wanted]) -> dict[Key, Source]:
    """Return what an unpacked folder is good for."""
    taken = _takers(path, entries, wanted)
    return {
        key: Source(path, str(path), {"listing": _listing(files)}, files=tuple(files)) for key, files in taken.items()
    }


def _takers(path: Path, entries: Sequence[Entry], wanted: Sequence[Wanted]) -> dict[Key, list[Entry]]:
    """Return which `entries` each archive's layout is about. Raises UserError for one that two sets would take."""
    called = _plain(path.stem)
    # Below ECSSD/ lies `images`, which could be any set's: a folder with the name of a set holds that set.
    takers = [want for want in wanted if _plain(want.name) == called] or wanted
    taken: dict[Key, list[Entry]] = {}
    owners: dict[str, str] = {}
    for want in takers:
        rules = want.archive.rules
        files = [entry for entry in entries if place_of(entry.path, rules) is not None]
        for entry in files:
            owner = owners.setdefault(entry.path, want.name)
            if owner != want.name:
                raise UserError(
                    f"{path} does not say whether {entry.path} is of {owner} or of {want.name}",
                    f"name one set at a time, as seedbed data fetch {owner} --from {path}",
                )
        if files:
            taken[want.key] = files
    return taken


def _plain(name: str) -> str:
    """Return a set's name without what people write differently: HKU_IS is hku-is."""
    return re.sub(r"[-_ ]", "", name.lower())


def _listing(entries: Sequence[Entry]) -> str:
    lines = "".join(f"{entry.path}\t{entry.size}\t{entry.mtime_ns}\n" for entry in entries)
    return hashlib.blake2b(lines.encode(), digest_size=16).hexdigest()


def _useless(path: Path, wanted: Sequence[Wanted], entries: Sequence[Entry]) -> UserError:
    names, files = dict.fromkeys(want.name for want in wanted), ", ".join(want.file for want in wanted)
    links = [entry.path for entry in entries if entry.kind == "link"]
    hint = f" (symbolic links are not followed: {links[0]})" if links else ""
    return UserError(
        f"{path} holds nothing of {', '.join(names)}{hint}",
        f"name the sets that it belongs to, or give one of {files}, or a folder with what they hold",
    )
