"""Fetching one file from the first of several sources that delivers it whole."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pooch
from pooch.hashes import hash_matches

from seedbed.acquire.checksums import Checksums
from seedbed.acquire.download import Limits, Part, SourceError, Wanted, download, shown
from seedbed.acquire.meter import ByteMeter
from seedbed.errors import UserError
from seedbed.files import disk_errors
from seedbed.trees import alone

logger = logging.getLogger(__name__)

USUAL = Limits()


@dataclass(frozen=True)
class Fetched:
    """A file that is here and was checked."""

    path: Path
    digest: str
    """SHA-256, as hexadecimal digits."""
    source: str
    """The URL it came from, without a password; how it came where it was here before."""
    recorded: bool
    """Whether nobody publishes its checksum, so that what came was taken as it is and recorded for the next time."""


def fetch_file(
    name: str,
    sources: Sequence[str],
    folder: Path,
    *,
    known: str | None,
    size: int | None,
    checksums: Checksums,
    fix: str,
    limits: Limits = USUAL,
    progress: bool = True,
) -> Fetched:
    """Fetch `name` into `folder` from the first of the URLs `sources` that delivers it; a file that is here is checked.

    `known` is the published checksum (`md5:...`, `sha256:...`), `size` the bytes, about. Without a published checksum
    the one in `checksums` must match; where that has none either, the file is taken as it is and recorded, which is
    logged. Killed at any moment, or out of sources, what has come stays in `<name>.part`: the next call continues it
    where the server can, and from another server where a checksum will tell whether the pieces fit.
    Raises UserError, which names every source and its reason and carries `fix`, when none delivers.
    """
    if Path(name).name != name or name in {"", ".."}:
        raise UserError(f"'{name}' is not the name of a file")
    path = folder / name
    with alone(folder, f"another process works in {folder}"), disk_errors(path):
        expected = known or checksums.expected(name)
        basis = "published" if known or not expected else checksums.origin(name)
        job = _Job(path, size, expected, basis, limits, progress)
        source = job.here() or job.first(sources, fix)
        accepted = checksums.accept(path, known, source)
        job.part.clear()
    return Fetched(path, accepted.digest, source, accepted.recorded)


@dataclass(frozen=True)
class _Job:
    """A file to fetch, and what it is on the way to `path`."""

    path: Path
    size: int | None
    expected: str | None
    basis: str
    """Where the expected checksum is from."""
    limits: Limits
    progress: bool

    @property
    def part(self) -> Part:
        """What has come so far."""
        return Part(self.path.with_name(f"{self.path.name}.part"))

    def here(self) -> str | None:
        """Return where the file is from when it is here and the right one, else None."""
        if not self.path.exists():
            return None
        if self.expected is not None and not hash_matches(str(self.path), self.expected):
            logger.warning("%s is not the file with %s (%s): fetched anew", self.path, self.expected, self.basis)
            return None
        # The note goes only after the file is recorded, so it tells what a process killed in between has not recorded.
        note = self.part.note
        return note.url if note and not self.part.size else "found here"

    def first(self, sources: Sequence[str], fix: str) -> str:
        """Return the first of the `sources` that delivered. Raises UserError, with `fix`, when there is none."""
        reasons = []
        with ByteMeter(self.path.name, self.size, enabled=self.progress) as meter:
            for url in sources:
                try:
                    self.fetch(url, meter)
                except SourceError as error:
                    logger.warning("%s: %s", shown(url), error)
                    reasons.append(f"\n  {shown(url)}: {error}")
                else:
                    return shown(url)
        if not reasons:
            raise UserError(f"there is no source to fetch {self.path.name} from", fix)
        raise UserError(f"no source delivers {self.path.name}:{''.join(reasons)}", fix)

    def fetch(self, url: str, meter: ByteMeter) -> None:
        """Let pooch fetch and check the file; one pieced together that is wrong is fetched once more from its start."""
        pooch.get_logger().setLevel(logging.WARNING)  # its advice on unknown checksums is for programmers
        wanted = Wanted(checked=self.expected is not None, size=self.size)
        continued = False

        def bring(url: str, output: str, _: object) -> None:
            nonlocal continued
            continued = download(url, self.part, wanted, self.limits, meter)
            # pooch checks, and throws away, a link only: who is killed while checking has not lost the download.
            Path(output).unlink()
            Path(output).symlink_to(self.part.file.absolute())

        while True:
            try:
                with tempfile.TemporaryDirectory(prefix="seedbed-") as scratch:
                    pooch.retrieve(url, self.expected, self.path.name, scratch, downloader=bring)
            except ValueError as error:  # a wrong checksum
                self.part.clear()
                if not continued:
                    raise SourceError(f"{error} ({self.basis})") from None
                logger.warning("%s was continued and is not whole: fetched from its start", self.path.name)
            else:
                self.part.file.replace(self.path)
                return
