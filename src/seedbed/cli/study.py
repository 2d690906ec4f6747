"""The study of thresholds and CRF parameters, as stage and beside the pipeline."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from seedbed.cli.common import PARAMS, ParamsFile, app, load
from seedbed.errors import UserError
from seedbed.params import PrunerName, SamplerName, SearchKind

study_app = typer.Typer(invoke_without_command=True)
app.add_typer(study_app, name="study")


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
    params: ParamsFile = PARAMS,
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
    start(load(params), method, kind, options)


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
