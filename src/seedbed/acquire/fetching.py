"""Bringing data sets into the library: what the user got by hand, else downloads; then extraction and conversion."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from seedbed.acquire.assembly import Assembly
from seedbed.acquire.catalogue import CATALOGUE_VARIABLE, MIRROR_VARIABLE
from seedbed.acquire.checksums import verify_file
from seedbed.acquire.library import Library
from seedbed.acquire.locks import alone
from seedbed.acquire.transfer import check_space, fetch_file
from seedbed.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Given:
    """What the user has got by hand: archives under the names that the catalogue knows, and everything else."""

    archives: Mapping[str, Path]
    others: Sequence[Path]

    @classmethod
    def sort(cls, paths: Sequence[Path], known: set[str]) -> Given:
        """Sort `paths`; archives directly in a folder are given too. Raises UserError for a path that is not there."""
        archives: dict[str, Path] = {}
        others: list[Path] = []
        for path in paths:
            if not path.exists():
                raise UserError(f"{path} does not exist", "mend the path after --from")
            inside = sorted(path.iterdir()) if path.is_dir() else [path]
            found = {file.name: file for file in inside if file.name in known and file.is_file()}
            archives |= found
            if path.is_dir() or not found:
                others.append(path)
        return cls(archives, others)


@dataclass(frozen=True)
class _Job:
    """A set under way, and what each of its archives was taken from."""

    name: str
    assembly: Assembly
    taken: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def missing(self) -> list[str]:
        """Return the archives of which nothing has been taken."""
        return [file for file in self.assembly.entry.archives if file not in self.taken]


def fetch_sets(
    library: Library, names: Sequence[str], given: Sequence[Path] = (), keep_archives: bool = True
) -> list[str]:
    """Bring the sets `names`, and those that they need, into `library`; return the names of those that were not there.

    `given`: archives, unpacked folders, or folders of archives that the user has got by hand. The rest is downloaded,
    after a look at the free space. A set appears under its name only when it is complete; a damaged one is mended.
    Killed at any moment, the same call goes on with what is complete.
    Raises UserError when a source, an archive, a count or the space is not as it must be.
    """
    ordered = library.in_order(names)
    hand = Given.sort(given, {file for name in ordered for file in library.entry(name).archives})
    with alone(library.root):
        begun = [_begin(library, name, given, verify=name in names) for name in ordered]
        jobs = [job for job in begun if job is not None]
        if jobs:
            _take_others(jobs, hand)
            _check_sources(jobs, hand)
            _check_space(library, jobs, hand)
        for job in jobs:
            for file in job.missing():
                _take_archive(library, job, file, hand)
            _finish(library, job)
            if not keep_archives:
                for file in job.assembly.entry.archives:
                    (library.downloads / file).unlink(missing_ok=True)
    return [job.name for job in jobs]


def _begin(library: Library, name: str, given: Sequence[Path], verify: bool) -> _Job | None:
    """Return the set to be put together, None when it is here and intact; of a damaged one the intact files are kept.

    Raises UserError for files that no fetch brought: they are not ours to remove.
    """
    folder, state = library.folder(name), library.state(name)
    assembly = Assembly(name, library.entry(name), library.part(name))
    if folder.is_dir() and state is None:
        mend = f"mv {folder} ELSEWHERE, then seedbed data fetch {name} --from ELSEWHERE"
        raise UserError(f"{folder} was not made by seedbed data fetch", mend)
    if state is None or not folder.is_dir() or state["entry"] != assembly.entry.digest:
        assembly.begin(given)
        return _Job(name, assembly)
    found = library.differences(name, verify)
    if found.added:
        mend = f"mv {folder / found.added[0]} elsewhere, then the same command again"
        raise UserError(f"{folder} holds {len(found.added)} files that were never fetched, as {found.added[0]}", mend)
    if not found:
        logger.info("%s: here and intact, %s files", name, f"{state['files']:,}")
        return None
    logger.warning("%s: damaged (%s); that is fetched anew", name, found)
    for path in found.changed:
        (folder / path).unlink()
    assembly.adopt(folder, given)
    return _Job(name, assembly)


def _take_others(jobs: Sequence[_Job], hand: Given) -> None:
    """Take what folders, and archives under other names, hold of the sets. Raises UserError for one of no use."""
    for path in hand.others:
        useful = any(file.parent == path for file in hand.archives.values())
        # Below ECSSD/ lies `images`, which could be any set's: a folder with the name of a set holds that set.
        for job in [job for job in jobs if job.name == path.stem.lower()] or jobs:
            for file, archive in job.assembly.entry.archives.items():
                if file in hand.archives:
                    continue
                files = job.assembly.take(archive, path)
                if files:
                    job.taken.setdefault(file, []).append({"source": str(path), "files": files})
                    useful = True
        if not useful:
            wanted = ", ".join(file for job in jobs for file in job.assembly.entry.archives)
            raise UserError(
                f"{path} holds nothing of {', '.join(job.name for job in jobs)}",
                f"name the sets that it belongs to, or give one of {wanted}, or a folder with what they hold",
            )


def _check_sources(jobs: Sequence[_Job], hand: Given) -> None:
    """Raise UserError, before anything is downloaded, for archives that only the user can get."""
    for job in jobs:
        entry = job.assembly.entry
        for file in job.missing():
            if not entry.archives[file].sources and file not in hand.archives:
                raise UserError(
                    f"{job.name} has no address to be fetched from directly",
                    f"get it from {entry.homepage}, then seedbed data fetch {job.name} --from FILE_OR_FOLDER",
                )


def _check_space(library: Library, jobs: Sequence[_Job], hand: Given) -> None:
    """Raise UserError unless there is room for the downloads that are missing and for what they become."""
    needed = 0
    for job in jobs:
        entry = job.assembly.entry
        needed += max(0, entry.unpacked - job.assembly.bytes)
        for file in job.missing():
            if file not in hand.archives:
                needed += max(0, entry.archives[file].size - library.downloaded(file))
    check_space(library.root, needed)


def _take_archive(library: Library, job: _Job, file: str, hand: Given) -> None:
    """Take the archive `file`, given or downloaded, after a check of its content."""
    entry = job.assembly.entry
    archive, path = entry.archives[file], hand.archives.get(file)
    if path is not None:
        source, digest = str(path), verify_file(path, archive.checksum, library.checksums).digest
    else:
        fetched = fetch_file(
            file,
            archive.sources,
            library.downloads,
            known=archive.checksum,
            size=None if archive.rough else archive.size or None,
            checksums=library.checksums,
            fix=f"get {file} by hand ({entry.homepage}), then seedbed data fetch {job.name} --from {file}; or name "
            f"another source by {MIRROR_VARIABLE} or {CATALOGUE_VARIABLE}",
        )
        path, source, digest = fetched.path, fetched.source, fetched.digest
    files = job.assembly.take(archive, path)
    if not files:
        raise UserError(
            f"{path} holds no file of {job.name} under any of the names that are known for them",
            "unpack it by hand and give the folder with --from; or put its layout into a file that "
            f"{CATALOGUE_VARIABLE} names",
        )
    job.taken[file] = [{"source": source, "sha256": digest, "files": files}]


def _finish(library: Library, job: _Job) -> None:
    """Convert, count, record, and put the set in its place."""
    assembly, folder = job.assembly, library.folder(job.name)
    assembly.convert({needed: library.folder(needed) for needed in assembly.entry.needs}, library.jobs)
    counts = assembly.counts()
    if folder.exists():  # made after another entry of the catalogue
        folder.rename(assembly.folder / "old")
    # The record comes first: killed between the two, there is a record without a folder, which is a set not here.
    state = library.record(job.name, assembly.tree, job.taken, counts)
    assembly.tree.rename(folder)
    assembly.discard()
    size = f"{state['files']:,} files, {decimal(state['bytes'])}"
    logger.info("%s: complete, %s in %s", job.name, size, folder)
