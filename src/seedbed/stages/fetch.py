"""Commands on public data sets: fetch them into the library, list them, find them for `seedbed data use`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from seedbed.acquire.catalogue import DataSet
from seedbed.acquire.fetching import fetch_sets
from seedbed.acquire.library import Library, Status
from seedbed.errors import UserError, unknown_name

logger = logging.getLogger(__name__)

LIBRARY_VARIABLE = "SEEDBED_DATASETS"
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
    fetch_sets(library, names, given, keep_archives=not discard)
    logger.info("next: seedbed data use %s", " ".join(library.in_order(names)))


def show(folder: Path | None, verify: bool = False, names: Sequence[str] = ()) -> None:
    """Print what the sets `names` (all if empty) hold, size, terms, place, and whether they are here and intact.

    `folder`: the library, None for the usual place. Intact by names and sizes of files; with `verify` every file is
    read and compared with what was fetched.
    """
    console, library = Console(), open_library(folder)
    for name in names or library.catalogue:
        entry, status = library.entry(name), library.status(name, verify)
        console.print(_card(name, entry, _state(library, name, status, verify)))


def resolve(sources: Sequence[str], library: Library) -> list[tuple[str, Path]]:
    """Return name and folder of each of `sources`, names of the catalogue or folders: what `data use` lays together.

    A name wins over a folder that is called the same (write ./NAME for that). Raises UserError for a set that is not
    here and intact, for one without the set that it needs (unless a folder may hold that), and for what is neither.
    """
    found = [(source, _place(source, library)) for source in sources]
    folders = [source for source in sources if source not in library.catalogue]
    for name in sources:
        needs = library.catalogue[name].needs if name in library.catalogue else []
        lacking = [need for need in needs if need not in sources]
        if lacking and not folders:
            raise UserError(
                f"{name} is of no use without {', '.join(lacking)}",
                f"seedbed data use {' '.join([*lacking, *sources])}",
            )
    return found


def _place(source: str, library: Library) -> Path:
    if source in library.catalogue:
        status = library.status(source)
        if not status.intact:
            what = f"damaged or incomplete ({status.finding})" if status.finding else "not in the library"
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
        "size": f"{decimal(entry.size)} to download, {decimal(entry.unpacked)} unpacked (about)",
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
    if status.finding:
        return f"DAMAGED: {status.finding}; seedbed data fetch {name} mends it"
    how = "every file verified" if verified else "names and sizes of files"
    size = f"{status.files:,} files, {decimal(status.bytes)}"
    return f"yes, intact ({how}): {size}, in {library.folder(name)}"
