"""Commands around the pipeline: photographs, runs, registries, the state of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seedbed.cli.common import AROUND, PARAMS, MethodName, ParamsFile, app, load


@app.command("predict", rich_help_panel=AROUND)
def predict(
    inputs: Annotated[list[Path], typer.Argument(help="Images, or folders of images.", metavar="IMAGE_OR_FOLDER...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the masks <name>.png.")],
    method: MethodName,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="weights.safetensors of a segmenter, or its folder [default: models/segmenter/METHOD]."),
    ] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write <name>-overlay.jpg.")] = False,
    batch: Annotated[int, typer.Option(help="Images per forward pass.", min=1)] = 8,
    params: ParamsFile = PARAMS,
) -> None:
    """Segment photographs: palette PNGs of the images' size, ids in the order of data.classes, 0 = background.

    Example: `seedbed predict --method eps --out masks photos/`
    """
    from seedbed.stages.predict import predict_photographs

    predict_photographs(load(params), method, inputs, out, checkpoint, overlay, batch)


@app.command("track", rich_help_panel=AROUND)
def track() -> None:
    """Show which MLflow run made what is on disk, and re-create runs that this MLflow store has never seen.

    The store is MLFLOW_TRACKING_URI, else mlflow.db beside params.yaml.

    Example: `seedbed track`
    """
    from seedbed.stages.compare import track as run

    run(Path())


@app.command("list", rich_help_panel=AROUND)
def list_entries() -> None:
    """List the methods, saliency sources, fusion rules, segmenters and backbones that parameters can name.

    Example: `seedbed list`
    """
    from seedbed.stages.registries import show

    show()


@app.command("params", rich_help_panel=AROUND)
def show_params() -> None:
    """Print every parameter with type, range, default and meaning, as Markdown (docs/parameters.md).

    Example: `seedbed params | less`
    """
    from seedbed.stages.reference import parameters_page

    typer.echo(parameters_page(), nl=False)


@app.command("where", rich_help_panel=AROUND)
def where() -> None:
    """Say where the comparison page is, how to open the MLflow UI, and what to try next.

    Example: `seedbed where`
    """
    from seedbed.stages.compare import where as run

    run(Path())


@app.command("doctor", rich_help_panel=AROUND)
def doctor(
    params: ParamsFile = PARAMS,
    as_json: Annotated[bool, typer.Option("--json", help="Print findings as JSON.")] = False,
) -> None:
    """Look at machine, GPU, disk, data, weights, DVC and MLflow, with the command that mends each finding.

    Exit status 2 when there is a problem.

    Example: `seedbed doctor`
    """
    from seedbed.stages.doctor import doctor as run

    run(Path(), params, as_json)
