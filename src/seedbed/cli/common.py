"""What every module of the command line shares: the application, options of many commands, reading the parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from seedbed.stages.context import Context

app = typer.Typer(
    name="seedbed",
    help="A tracked testbed for saliency-guided weakly supervised semantic segmentation.",
    epilog="First steps: seedbed data sample && dvc repro, then open reports/index.html.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

AROUND = "Around the pipeline"
"""Heading of the commands that are no stages."""

PARAMS = Path("params.yaml")
ParamsFile = Annotated[Path, typer.Option("--params", help="Parameter file.", show_default=True)]
MethodName = Annotated[str, typer.Option("--method", "-m", help="Method with blocks in params.yaml.")]
LibraryFolder = Annotated[
    Path | None,
    typer.Option("--library", help="Folder of fetched data sets [default: SEEDBED_DATASETS, else datasets/]."),
]


def load(params: Path) -> Context:
    """Return the checked parameters and paths of the project in the working folder."""
    from seedbed.stages.context import Context

    return Context.load(params)
