"""The command line: one command per stage, and the commands around them.

Nothing heavy is imported here: every command imports what it runs, so that --help answers at once.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seedbed.errors import UserError
from seedbed.params import PrunerName, SamplerName, SearchKind

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
data_app = typer.Typer(help="Make, bring in and check the data in data/.", no_args_is_help=True)
app.add_typer(data_app, name="data")
weights_app = typer.Typer(help="Bring in official weight files, and say which there are.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")
study_app = typer.Typer(invoke_without_command=True)
app.add_typer(study_app, name="study")

ParamsFile = Annotated[Path, typer.Option("--params", help="Parameter file.", show_default=True)]
MethodName = Annotated[str, typer.Option("--method", "-m", help="Method with blocks in params.yaml: cam, eps, mcis.")]
_PARAMS = Path("params.yaml")


def _context(params: Path) -> Context:
    from seedbed.stages.context import Context

    return Context.load(params)


@data_app.command("sample")
def data_sample() -> None:
    """Write the embedded sample data set to data/ (about 3 MB, 1,200 files, half a minute).

    It is synthetic and always the same, byte for byte. A data/ with other content is never touched.

    Example: `seedbed data sample`
    """
    from seedbed.stages.data import make_sample

    make_sample(Path())


@data_app.command("use")
def data_use(source: Annotated[Path, typer.Argument(help="Folder with VOCdevkit/ and the saliency sets.")]) -> None:
    """Make a folder of real data the project's data/, and update data.dvc.

    Files are hard-linked where the file system can, else copied after a look at the free space.

    Example: `seedbed data use /datasets/voc`
    """
    from seedbed.stages.data import use

    use(source, Path())


@data_app.command("check")
def data_check(params: ParamsFile = _PARAMS) -> None:
    """Open every file of data/ and report what is wrong; exit status 2 when the data are unusable.

    The report goes to reports/data/check.json, its summary to reports/metrics/check-data.json.

    Example: `seedbed data check`
    """
    from seedbed.stages.data import check

    check(_context(params))


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


@app.command("train-saliency")
def train_saliency(params: ParamsFile = _PARAMS) -> None:
    """Train the saliency network on data.saliency_train. A killed run continues where it stopped.

    Example: `seedbed train-saliency`
    """
    from seedbed.stages.saliency import train

    train(_context(params))


@app.command("evaluate-saliency")
def evaluate_saliency(params: ParamsFile = _PARAMS) -> None:
    """Score the saliency source on each of data.saliency_test: MAE, F, S and E measures.

    Example: `seedbed evaluate-saliency`
    """
    from seedbed.stages.saliency import evaluate

    evaluate(_context(params))


@app.command("predict-saliency")
def predict_saliency(params: ParamsFile = _PARAMS) -> None:
    """Write the saliency map of every training and validation image to maps/saliency/.

    Example: `seedbed predict-saliency`
    """
    from seedbed.stages.saliency import predict

    predict(_context(params))


@app.command("train-localiser")
def train_localiser(method: MethodName, params: ParamsFile = _PARAMS) -> None:
    """Train the localiser of a method from image labels. A killed run continues where it stopped.

    Example: `seedbed train-localiser --method eps`
    """
    from seedbed.stages.localise import train

    train(_context(params), method)


@app.command("seeds")
def seeds(method: MethodName, params: ParamsFile = _PARAMS) -> None:
    """Compute multi-scale class maps of every training image into maps/seeds/METHOD/.

    Example: `seedbed seeds --method eps`
    """
    from seedbed.stages.localise import seeds as run

    run(_context(params), method)


@study_app.callback()
def study(
    called: typer.Context,
    method: Annotated[str | None, typer.Option("--method", "-m", help="Method with blocks in params.yaml.")] = None,
    kind: Annotated[
        SearchKind | None,
        typer.Option(help="Search values of the rule, of the CRF, or both, beside the pipeline."),
    ] = None,
    rule: Annotated[str | None, typer.Option(help="Fusion rule [default: fusion.METHOD.rule].")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials in all [default: as in params.yaml].", min=1)] = None,
    images: Annotated[
        str | None, typer.Option(help="Labelled images that choose, or all [default: study.tune_images].")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Workers in a trial, 0 = one per core [default: jobs].", min=0)
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="File or database URL [default: SEEDBED_STORAGE, else studies/METHOD-searches.journal]."),
    ] = None,
    sampler: Annotated[SamplerName | None, typer.Option(help="Optuna's sampler [default: study.sampler].")] = None,
    pruner: Annotated[
        PrunerName | None, typer.Option(help="What ends CRF trials early [default: study.pruner].")
    ] = None,
    timed: Annotated[bool, typer.Option("--timed", help="Seconds per image as a second objective.")] = False,
    params: ParamsFile = _PARAMS,
) -> None:
    """Choose thresholds and CRF parameters on study.tune_images labelled images.

    Without --kind it is the stage of the pipeline: rules made of gates are swept exactly, Optuna searches every rule
    and the CRF, and reports/study/METHOD says what was chosen and how it does on the other images.

    With --kind it is a search of your own, into studies/METHOD/KIND-RULE. It continues where it stopped, and commands
    on several machines share the trials of one --storage.

    Examples: `seedbed study --method eps`, `seedbed study --method eps --kind joint --trials 200`, `seedbed study show`
    """
    if called.invoked_subcommand is not None:
        return
    if method is None:
        raise UserError("no method is given", "seedbed study --method METHOD, or seedbed study show")
    from seedbed.stages.study import Options, start

    storage = storage or (os.environ.get("SEEDBED_STORAGE") if kind else None)
    options = Options(rule, trials, images, jobs, storage, sampler, pruner, timed or None)
    start(_context(params), method, kind, options)


@study_app.command("show")
def study_show(
    storage: Annotated[
        str | None, typer.Option(help="File or database URL [default: SEEDBED_STORAGE, else studies/*.journal].")
    ] = None,
) -> None:
    """List studies: trials by state, how many images they see, the best mIoU on those and its setting.

    `optuna-dashboard studies/eps-searches.journal` shows the same studies in a browser.

    Example: `seedbed study show`
    """
    from seedbed.paths import Paths
    from seedbed.stages.studies import show

    show(Paths(), storage or os.environ.get("SEEDBED_STORAGE"))


@app.command("pseudo")
def pseudo(method: MethodName, params: ParamsFile = _PARAMS) -> None:
    """Fuse class maps and saliency into pseudo-labels, and score them where masks exist.

    Example: `seedbed pseudo --method eps`
    """
    from seedbed.stages.pseudo import pseudo as run

    run(_context(params), method)


@app.command("train-segmenter")
def train_segmenter(method: MethodName, params: ParamsFile = _PARAMS) -> None:
    """Train DeepLab on the pseudo-labels of a method. A killed run continues where it stopped.

    Example: `seedbed train-segmenter --method eps`
    """
    from seedbed.stages.segment import train

    train(_context(params), method)


@app.command("evaluate-segmenter")
def evaluate_segmenter(method: MethodName, params: ParamsFile = _PARAMS) -> None:
    """Predict the validation images and score them: mIoU with a 95 % interval.

    Example: `seedbed evaluate-segmenter --method eps`
    """
    from seedbed.stages.segment import evaluate

    evaluate(_context(params), method)


@app.command("compare")
def compare(params: ParamsFile = _PARAMS) -> None:
    """Write the comparison page reports/index.html and its machine-readable twin reports/compare.json.

    Example: `seedbed compare`
    """
    from seedbed.stages.compare import compare as run

    run(_context(params))


@app.command("predict")
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
    params: ParamsFile = _PARAMS,
) -> None:
    """Segment photographs: palette PNGs of the images' size, ids in the order of data.classes, 0 = background.

    Example: `seedbed predict --method eps --out masks photos/`
    """
    from seedbed.stages.predict import predict_photographs

    predict_photographs(_context(params), method, inputs, out, checkpoint, overlay, batch)


@app.command("track")
def track() -> None:
    """Show which MLflow run made what is on disk, and re-create runs that this MLflow store has never seen.

    The store is MLFLOW_TRACKING_URI, else mlflow.db beside params.yaml.

    Example: `seedbed track`
    """
    from seedbed.stages.compare import track as run

    run(Path())


@app.command("list")
def list_entries() -> None:
    """List the methods, saliency sources, fusion rules, segmenters and backbones that parameters can name.

    Example: `seedbed list`
    """
    from seedbed.stages.registries import show

    show()


@app.command("params")
def show_params() -> None:
    """Print every parameter with type, range, default and meaning, as Markdown (docs/parameters.md).

    Example: `seedbed params | less`
    """
    from seedbed.stages.reference import parameters_page

    typer.echo(parameters_page(), nl=False)


@app.command("where")
def where() -> None:
    """Say where the comparison page is, how to open the MLflow UI, and what to try next.

    Example: `seedbed where`
    """
    from seedbed.stages.compare import where as run

    run(Path())


def main() -> None:
    """Run the command line; a UserError becomes its message and exit status 2, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # A stage's own output must not drown in other libraries' notes.
    for noisy in ("alembic", "mlflow", "urllib3", "timm", "matplotlib", "PIL", "accelerate", "fontTools"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        app()
    except UserError as error:
        typer.secho(f"seedbed: {error}", err=True, fg=typer.colors.RED)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.secho("seedbed: interrupted; what was complete is kept", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
