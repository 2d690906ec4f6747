"""Bringing data sets into the library: what the user got by hand, else downloads; then extraction and conversion."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedbed.acquire import manifest
from seedbed.acquire.assembly import Assembly
from seedbed.acquire.catalogue import CATALOGUE_VARIABLE, MIRROR_VARIABLE, DataSet
from seedbed.acquire.counting import count, findings
from seedbed.acquire.given import Source, Wanted, find_sources
from seedbed.acquire.library import Library, counted
from seedbed.acquire.manifest import Manifest
from seedbed.acquire.transfer import fetch_file
from seedbed.errors import UserError
from seedbed.trees import Differences, alone, check_space, in_words

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """A set under way, and what each of its archives is taken from."""

    name: str
    assembly: Assembly
    damage: Differences | None = None
    """How the set that is in its place differs from what was fetched; None where nothing of that is to be kept."""
    sources: dict[str, list[Source]] = field(default_factory=dict)

    @property
    def entry(self) -> DataSet:
        """What the catalogue says."""
        return self.assembly.entry

    def missing(self) -> list[str]:
        """Return the archives that nothing is known to be taken from."""
        return [file for file in self.entry.archives if file not in self.sources]


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
    with alone(library.root, f"another process works in {library.root}"):
        begun = [_look(library, name, verify=name in names) for name in ordered]
        jobs = [job for job in begun if job is not None]
        if jobs:
            _find(library, jobs, given)
            _check_space(library, jobs)
        for job in jobs:
            for file in job.missing():
                job.sources[file] = [_download(library, job, file)]
            _put_together(library, job)
            if not keep_archives:
                for file in job.entry.archives:
                    (library.downloads(job.name) / file).unlink(missing_ok=True)
    return [job.name for job in jobs]


def _look(library: Library, name: str, verify: bool) -> _Job | None:
    """Return the set to be put together, None when it is here and intact.

    One that was made after another entry of the catalogue stays if it has the counts that are expected now.
    Raises UserError for files that no fetch brought: they are not ours to remove.
    """
    folder, entry = library.folder(name), library.entry(name)
    job = _Job(name, Assembly(name, entry, library.part(name)))
    if not folder.is_dir():
        return job
    known, state = library.manifest(name), library.state(name)
    if known is None:
        again = "" if all(archive.raw for archive in entry.archives.values()) else " --from ELSEWHERE"
        raise UserError(
            f"{folder} was not made by seedbed data fetch, or the list of its files is damaged",
            f"mv {folder} ELSEWHERE, then seedbed data fetch {name}{again}",
        )
    # Without the record of how it was made, only its content tells that it is what was fetched.
    found = _foreign_refused(library, name, known, verify or state is None)
    if found:
        logger.warning("%s: damaged (%s, as %s); that is fetched anew", name, found, found.files[0])
        return _Job(name, job.assembly, found)
    if state is None or state["entry"] != entry.digest:
        wrong = findings(folder, entry.expected)
        if wrong:
            logger.warning("%s: outdated, the catalogue's entry has changed (%s); fetched anew", name, "; ".join(wrong))
            return job
        library.record(name, known, state["archives"] if state else {}, count(folder, entry.expected))
        logger.info("%s: recorded anew", name)
    logger.info("%s: here and intact, %s", name, counted(len(known), "file"))
    return None


def _foreign_refused(library: Library, name: str, known: Manifest, verify: bool) -> Differences:
    """Return how the set in its place differs from what was fetched. Raises UserError for files of the user's own."""
    found = library.compare(name, known, verify)
    if found.added:
        first = library.folder(name) / found.added[0]
        raise UserError(
            f"{library.folder(name)} holds {counted(len(found.added), 'file')} that no fetch brought, as {first}",
            f"mv {first} elsewhere, then the same command again",
        )
    return found


def _find(library: Library, jobs: Sequence[_Job], given: Sequence[Path]) -> None:
    """Find what of the sets is given. Raises UserError, before anything is fetched, for what only the user can get."""
    wanted = [
        Wanted(job.name, file, archive, library.checksums(job.name))
        for job in jobs
        for file, archive in job.entry.archives.items()
    ]
    found = find_sources(wanted, given)
    for job in jobs:
        job.sources.update({file: sources for (name, file), sources in found.items() if name == job.name})
        for file in job.missing():
            if not job.entry.archives[file].sources:
                raise UserError(
                    f"{job.name} has no address to be fetched from directly",
                    f"get it from {job.entry.homepage}, then seedbed data fetch {job.name} --from FILE_OR_FOLDER",
                )


def _check_space(library: Library, jobs: Sequence[_Job]) -> None:
    """Raise UserError unless there is room for the downloads that are missing and for what they become."""
    needed, disk = 0, library.root.stat().st_dev
    for job in jobs:
        given = [source for sources in job.sources.values() for source in sources]
        linked = sum(source.bytes for source in given if source.path.stat().st_dev == disk)
        needed += max(0, job.entry.unpacked - job.assembly.bytes - linked)
        for file in job.missing():
            needed += max(0, job.entry.archives[file].size - library.downloaded(job.name, file))
    what = ", ".join(job.name for job in jobs)
    check_space(library.root, needed, f"fetching {what}", ", or put the library on another disk: --library DIR")


def _download(library: Library, job: _Job, file: str) -> Source:
    """Fetch the archive `file` and check its content."""
    archive = job.entry.archives[file]
    fetched = fetch_file(
        file,
        archive.sources,
        library.downloads(job.name),
        known=archive.checksum,
        size=None if archive.rough else archive.size or None,
        checksums=library.checksums(job.name),
        fix=f"get {file} by hand ({job.entry.homepage}), then seedbed data fetch {job.name} --from {file}; or name "
        f"another source by {MIRROR_VARIABLE} or {CATALOGUE_VARIABLE}",
    )
    return Source(fetched.path, fetched.source, {"sha256": fetched.digest}, archive.limits)


def _put_together(library: Library, job: _Job) -> None:
    """Unpack, convert, count, record, and put the set in its place."""
    assembly, folder = job.assembly, library.folder(job.name)
    _begin(library, job)
    archives = {file: [_take(job, file, source) for source in sources] for file, sources in job.sources.items()}
    assembly.convert({needed: library.folder(needed) for needed in job.entry.needs}, library.jobs)
    counts = assembly.counts()
    files = manifest.measure(assembly.tree, f"{job.name}: recording", library.jobs)
    if folder.exists():  # made after another entry of the catalogue, or of other archives
        _foreign_refused(library, job.name, library.manifest(job.name) or {}, verify=False)
        folder.rename(assembly.folder / "old")
    # The record comes first: killed between the two, there is a record without a folder, which is a set not here.
    state = library.record(job.name, files, archives, counts)
    assembly.tree.rename(folder)
    assembly.discard()
    size = f"{counted(state['files'], 'file')}, {in_words(state['bytes'])}"
    logger.info("%s: complete, %s in %s", job.name, size, folder)


def _begin(library: Library, job: _Job) -> None:
    """Begin the assembly, or go on with it; of a damaged set made of the same archives the intact files are kept."""
    contents = {file: [dict(source.content) for source in sources] for file, sources in job.sources.items()}
    state = library.state(job.name)
    if job.damage is not None and state is not None and _made_of(state) == (job.entry.digest, contents):
        job.assembly.adopt(library.folder(job.name), job.damage.modified, contents)
    else:
        job.assembly.begin(contents)


def _made_of(state: dict[str, Any]) -> tuple[str, dict[str, list[dict[str, str]]]]:
    """Return the entry and the contents that a complete set was made of, as its record has them."""
    contents: dict[str, list[dict[str, str]]] = defaultdict(list)
    for file, sources in state["archives"].items():
        contents[file] = [{kind: one[kind] for kind in ("sha256", "listing") if kind in one} for one in sources]
    return state["entry"], dict(contents)


def _take(job: _Job, file: str, source: Source) -> dict[str, Any]:
    """Take the files of `source` and return what is recorded of it. Raises UserError when it has none."""
    files = job.assembly.take(job.entry.archives[file], source)
    if not files:
        raise UserError(
            f"{source.path} holds no file of {job.name} under any of the names that are known for them",
            "unpack it by hand and give the folder with --from; or put its layout into a file that "
            f"{CATALOGUE_VARIABLE} names",
        )
    return {"source": source.origin, "files": files, **source.content}
