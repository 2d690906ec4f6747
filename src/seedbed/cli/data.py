"""Commands on data/: the sample, downloads, a user's own data, the check, the record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seedbed.cli.common import AROUND, PARAMS, LibraryFolder, ParamsFile, app, load

data_app = typer.Typer(help="Make, fetch, bring in, check and record the data in data/.", no_args_is_help=True)
app.add_typer(data_app, name="data", rich_help_panel=AROUND)


@data_app.command("sample")
def data_sample() -> None:
    """Write the embedded sample data set to data/ (about 3 MB, 1,200 files, half a minute).

    It is synthetic and always the same, byte for byte. A data/ with other content is never touched.

    Example: `seedbed data sample`
    """
    from seedbed.stages.data import make_sample

    make_sample(Path())


@data_app.command("list")
def data_list(
    names: Annotated[list[str] | None, typer.Argument(help="Data sets [default: all].", metavar="NAME...")] = None,
    library: LibraryFolder = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file, not only sizes.")] = False,
) -> None:
    """List the data sets that can be fetched: content, size, place, and whether they are here and intact.

    With names: their terms of use and sources too.

    Examples: `seedbed data list`, `seedbed data list voc12 --verify`
    """
    from seedbed.stages.fetch import show

    show(library, verify, names or [])


@data_app.command("fetch")
def data_fetch(
    names: Annotated[list[str], typer.Argument(help="Names of `seedbed data list`.", metavar="NAME...")],
    library: LibraryFolder = None,
    given: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Archive or unpacked folder fetched by hand; give it once for each."),
    ] = None,
    discard: Annotated[bool, typer.Option("--discard", help="Remove archives once a set is complete.")] = False,
) -> None:
    """Download data sets, unpack them safely and convert them to the layout that Seedbed reads.

    Checksums are compared with published ones, or recorded at first use. A command that was stopped continues where it
    was. Then: `seedbed data use NAME...`.

    Examples: `seedbed data fetch voc12 sbd duts-tr duts-te`, `seedbed data fetch hku-is --from HKU-IS/`
    """
    from seedbed.stages.fetch import fetch

    fetch(names, library, given or [], discard)


@data_app.command("use")
def data_use(
    sources: Annotated[
        list[str], typer.Argument(help="Fetched data sets by name, or folders with VOCdevkit/ and saliency sets.")
    ],
    library: LibraryFolder = None,
) -> None:
    """Make fetched data sets, or a folder of your own, the project's data/, and record them in data.dvc.

    Files are hard-linked where the file system can, else copied after a look at the free space.

    Examples: `seedbed data use voc12 sbd duts-tr duts-te`, `seedbed data use /datasets/voc`
    """
    from seedbed.stages.data import use

    use(sources, Path(), library)


@data_app.command("check")
def data_check(
    params: ParamsFile = PARAMS,
    fresh: Annotated[bool, typer.Option("--fresh", help="Open files again that have not changed.")] = False,
) -> None:
    """Compare data/ with its record, open every file, and report what is wrong; exit status 2 when data are unusable.

    The report goes to reports/data/check.json, its summary to reports/metrics/check-data.json.

    Example: `seedbed data check`
    """
    from seedbed.stages.data import check

    check(load(params), fresh)


@data_app.command("commit")
def data_commit() -> None:
    """Record data/ as it is now: you changed it on purpose. Says what changed.

    Example: `seedbed data commit`
    """
    from seedbed.stages.data import commit

    commit(Path())


@data_app.command("restore")
def data_restore() -> None:
    """Put data/ back as it was recorded: it was changed by accident.

    Example: `seedbed data restore`
    """
    from seedbed.stages.data import restore

    restore(Path())
