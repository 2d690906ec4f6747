"""Commands on public data sets: fetch them into the library, list them, find them for `seedbed data use`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from seedbed.acquire.catalogue import DataSet
from seedbed.acquire.fetching import fetch_sets
from seedbed.acquire.library import Library, Status, counted
from seedbed.errors import UserError, unknown_name
from seedbed.trees import in_words

logger = logging.getLogger(__name__)

LIBRARY_VARIABLE = "SEEDBED_DATASETS"
_WIDTH = 100
"""Columns of the table of all sets, at most."""
_BY_HAND = "by hand only, from its page; then --from"


def open_library(
    folder: Path | None = None, root: Path = Path(), environ: Mapping[str, str] = os.environ, jobs: int = 0
) -> Library:
    """Return the library in `folder`, else in SEEDBED_DATASETS, else in datasets/ of the repository `root`."""
    folder = folder or Path(environ.get(LIBRARY_VARIABLE) or root / "datasets")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"the library {folder} is a file, not a folder", f"--library DIR, or set {LIBRARY_VARIABLE}")
    return Library(folder, jobs=jobs)


def fetch(names: Sequence[str], folder: Path | None, given: Sequence[Path] = (), discard: bool = False) -> None:
    """Bring the sets `names`, and those that they need, into the library in `folder` (None: the usual place).

    `given`: archives and folders that were got by hand. `discard`: downloaded archives are removed as soon as their set
    is complete. Raises UserError when a source, an archive, a count or the space is not as it must be.
    """
    library = open_library(folder)
    if not names:
        raise UserError(f"no data set is named (known: {', '.join(library.catalogue)})", "seedbed data fetch NAME...")
    try:
        fetch_sets(library, names, given, keep_archives=not discard)
    except KeyboardInterrupt:
        logger.warning("stopped; to go on from here, run the same command again")
        raise
    logger.info("next: seedbed data use %s", " ".join(library.in_order(names)))


def show(folder: Path | None, verify: bool = False, names: Sequence[str] = ()) -> None:
    """Print all sets in a table: content, size, state, place; of those in `names` also terms, sources and findings.

    `folder`: the library, None for the usual place. Intact by names and sizes of files; with `verify` every file is
    read and compared with what was fetched.
    """
    console, library = Console(), open_library(folder)
    found = {name: (library.entry(name), library.status(name, verify)) for name in names or library.catalogue}
    if names:
        for name, (entry, status) in found.items():
            console.print(_card(name, entry, _state(library, name, status, verify)))
        return
    console.print(_overview(found, verify, console.width))
    for name, (_, status) in found.items():
        if status.finding:
            console.print(
                f"{name}: {_state(library, name, status, verify)}", soft_wrap=True, highlight=False, markup=False
            )
    console.print("more on one: seedbed data list NAME", highlight=False)


def _overview(found: Mapping[str, tuple[DataSet, Status]], verified: bool, width: int) -> Table:
    """Return the table of all sets, a line or two each."""
    table = Table("set", "content", "size", "state", "place", width=min(_WIDTH, width))
    for column, width in ((0, 9), (2, 8), (3, 8), (4, 18)):
        table.columns[column].min_width = width
    for name, (entry, status) in found.items():
        table.add_row(
            name,
            Text(entry.content.split(";")[0]),
            in_words(entry.size),
            _word(status, verified),
            f"data/{entry.place}",
        )
    return table


def _word(status: Status, verified: bool = False) -> str:
    """Return the state of a set in a word or two."""
    if not status.here:
        return "begun" if status.finding else "not here"
    if status.outdated:
        return "outdated"
    if status.finding:
        return "damaged"
    return "verified" if verified else "intact"


def resolve(sources: Sequence[str], library: Library) -> list[tuple[str, Path]]:
    """Return name and folder of each of `sources`, names of the catalogue or folders: what `data use` lays together.

    A name wins over a folder that is called the same (write ./NAME for that). Raises UserError for a set that is not
    here and intact, for one without the set that it needs (unless a folder may hold that), and for what is neither.
    """
    folders = [source for source in sources if source not in library.catalogue]
    for name in sources:
        needs = library.catalogue[name].needs if name in library.catalogue else []
        lacking = [need for need in needs if need not in sources]
        if lacking and not folders:
            raise UserError(
                f"{name} is of no use without {', '.join(lacking)}",
                f"seedbed data use {' '.join([*lacking, *sources])}",
            )
    return [(source, _place(source, library)) for source in sources]


def _place(source: str, library: Library) -> Path:
    if source in library.catalogue:
        status = library.status(source, verify=True)  # what goes into data/ is recorded as agreed upon
        if not status.intact:
            what = f"{_word(status)} ({status.finding})" if status.finding else "not in the library"
            raise UserError(f"{source} is {what}: {library.root}", f"seedbed data fetch {source}")
        return library.folder(source)
    if not Path(source).is_dir():
        unknown = unknown_name("data set", source, library.catalogue)
        raise UserError(f"{unknown.message}, and there is no folder of that name", "seedbed data list")
    return Path(source)


def _card(name: str, entry: DataSet, state: str) -> Table:
    """Return a table of what is known of a set, ending with its `state` here."""
    table = Table(
        title=f"{name}: {entry.title}", title_justify="left", title_style="bold", show_header=False, expand=True
    )
    table.add_column(width=9)
    table.add_column(ratio=1)
    rows = {
        "content": entry.content,
        "size": f"{in_words(entry.size)} to download, {in_words(entry.unpacked)} unpacked (about)",
        "terms": entry.terms,
        "page": entry.homepage,
        "from": "\n".join(_sources(entry)),
        "goes to": f"data/{entry.place}" + (f", with {', '.join(entry.needs)}" if entry.needs else ""),
        "here": state,
    }
    for label, text in rows.items():
        table.add_row(label, Text(text, overflow="fold"))
    return table


def _sources(entry: DataSet) -> list[str]:
    """Return a line per archive: its sources, and whether its checksum is known."""
    lines = []
    for file, archive in entry.archives.items():
        checksum = "checksum published" if archive.checksum else "checksum recorded at first use"
        hosts = ", ".join(dict.fromkeys(source.split("/")[2] for source in archive.sources if "//" in source))
        lines.append(f"{file}: {f'{hosts}; {checksum}' if hosts else _BY_HAND}")
    return lines


def _state(library: Library, name: str, status: Status, verified: bool) -> str:
    """Say in words whether the set is here and intact, and what to do where it is not."""
    if not status.here:
        return f"no ({status.finding}: seedbed data fetch {name} goes on)" if status.finding else "no"
    if status.outdated:
        return f"outdated: {status.finding}; seedbed data fetch {name} brings it up to date"
    if status.finding:
        return f"DAMAGED: {status.finding}; seedbed data fetch {name} mends it"
    how = "every file verified" if verified else "names and sizes of files"
    size = f"{counted(status.files, 'file')}, {in_words(status.bytes)}"
    return f"yes, intact ({how}): {size}, in {library.folder(name)}"
