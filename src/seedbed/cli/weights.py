"""Official weight files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seedbed.cli.common import AROUND, app

weights_app = typer.Typer(help="Bring in official weight files, and say which there are.", no_args_is_help=True)
app.add_typer(weights_app, name="weights", rich_help_panel=AROUND)


@weights_app.command("import")
def weights_import(
    file: Annotated[Path, typer.Argument(help="Torch, safetensors or MXNet .params file.", metavar="FILE")],
    name: Annotated[str, typer.Option("--as", help="What the file is: a name of `seedbed weights list`.")],
    classes: Annotated[
        int | None,
        typer.Option(help="Object classes that it must have [default: its own, 20 (VOC) or 80 (COCO)].", min=1),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write [default: models/pretrained/NAME].")] = None,
) -> None:
    """Check an official weight file against its network and write it as safetensors with a config.

    A table says what is missing, unexpected, of another shape, or dropped on purpose. Nothing is written when it does
    not fit, and nothing in the file is executed.

    Example: `seedbed weights import ilsvrc-cls_rna-a1_cls1000_ep-0001.params --as resnet38d`
    """
    from seedbed.paths import Paths
    from seedbed.stages.weights import import_file

    import_file(Paths(), file, name, classes, out)


@weights_app.command("list")
def weights_list() -> None:
    """List the official weight files: for what, where from, their terms, and which are imported here.

    Example: `seedbed weights list`
    """
    from seedbed.paths import Paths
    from seedbed.stages.weights import show

    show(Paths())
