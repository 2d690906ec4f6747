"""Studies: the stage that chooses thresholds and CRF parameters, and searches of a user's own beside it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from seedbed.errors import UserError
from seedbed.methods.imported import Import
from seedbed.params import Params, SearchKind, check_params
from seedbed.stages.context import Context
from seedbed.stages.maps import Maps
from seedbed.stages.pseudo import choose_recipe
from seedbed.stages.studies import setting
from seedbed.study.inputs import Machine, StudyInputs
from seedbed.study.plotted import PlottedRunner
from seedbed.study.protocol import run_study, skip_study
from seedbed.study.searches import Task, run_search
from seedbed.study.split import TuneImages
from seedbed.study.trials import Runner, TrialRecord
from seedbed.tracking.record import Status
from seedbed.tracking.run import Run

logger = logging.getLogger(__name__)


def study(context: Context, name: str) -> None:
    """Sweep what can be swept exactly, and tune fusion rules and the CRF on `study.tune_images` labelled images.

    Imported pseudo-labels leave nothing to choose: their study is the split that every method reports on.
    """
    ready = context.ready_made(name)
    if ready is not None:
        _no_study(context, name, ready)
        return
    _, _, fusion = context.method(name)
    params, folder = context.params, context.paths.study(name)
    started = time.perf_counter()
    inputs = _inputs(context, name)
    blocks = {"study": params.study, "crf": params.crf, "rule": fusion.rule}
    with context.run("study", name, **blocks) as run:
        runner = PlottedRunner(
            context.paths.journal(name),
            params.seed,
            params.study.sampler,
            _logger(run),
            name,
            plots=context.paths.study_plots(name),
        )
        result = run_study(
            inputs,
            params.study,
            params.crf,
            fusion.rule,
            folder,
            runner,
            bootstrap=params.evaluate.bootstrap,
            machine=_machine(context),
        )
        context.log_dataset(run)
        run.artifact(folder / "study.json")
        run.artifact(folder / "trials.csv")
        if runner.plots.is_dir():
            run.artifact(runner.plots, "plots")
        chosen = _chosen(result)
        run.finish(chosen, {"seconds": time.perf_counter() - started})
    logger.info("study of %s: %s", name, ", ".join(f"{key} {100 * value:.1f}" for key, value in chosen.items()))


def _no_study(context: Context, name: str, ready: Import) -> None:
    params, folder = context.params, context.paths.study(name)
    with context.run("study", name, study=params.study, imported=ready.describe()) as run:
        skip_study(_inputs(context, name), params.study.tune_images, params.seed, folder)
        context.log_dataset(run)
        run.artifact(folder / "study.json")
        run.finish({}, {})
    logger.info("%s is imported (%s): there is nothing to choose", name, ready.folder(context.paths))


@dataclass(frozen=True)
class Options:
    """What the command line says of a study beside the pipeline; None = as in the parameters.

    `images`: how many labelled images choose, or "all"; `storage`: a path or URL; `timed`: seconds per image count too.
    """

    rule: str | None = None
    trials: int | None = None
    images: str | None = None
    jobs: int | None = None
    storage: str | None = None
    sampler: str | None = None
    pruner: str | None = None
    timed: bool | None = None

    def override(self, params: Params) -> Params:
        """Return `params` with what is given here. Raises UserError as for a parameter file."""
        study = {"sampler": self.sampler, "pruner": self.pruner, "tune_images": self.images}
        raw = params.model_dump()
        raw["study"] |= {name: value for name, value in study.items() if value is not None}
        if self.jobs is not None:
            raw["jobs"] = self.jobs
        return check_params(raw, "params.yaml with the options given")


def start(context: Context, name: str, kind: SearchKind | None, options: Options) -> None:
    """Run the stage of the pipeline, or with a `kind` a search beside it, which alone may have options."""
    if kind is not None:
        search(context, name, kind, options)
        return
    if given := [f"--{option}" for option, value in vars(options).items() if value is not None]:
        raise UserError(
            f"{', '.join(given)}: the stage of the pipeline takes this from params.yaml",
            "add --kind fusion, crf or joint for a search of your own, or edit study in params.yaml",
        )
    study(context, name)


def search(context: Context, name: str, kind: SearchKind, options: Options) -> None:
    """Run a study of the user's own: nothing that the pipeline reads is touched."""
    if context.ready_made(name) is not None:
        raise UserError(
            f"the pseudo-labels of {name} are imported and taken as they are: there is nothing to search",
            "search for a method with class maps (localiser.METHOD.options.seeds, or one that is trained here)",
        )
    own = context.params.study.tune_images
    context = Context(options.override(context.params), context.paths)
    params, paths = context.params, context.paths
    task = _task(context, name, kind, options, own)
    folder, inputs = paths.search(name, kind, task.rule), _inputs(context, name)
    with context.run(f"study-{kind}", name, study=params.study, crf=params.crf, rule=task.rule) as run:
        storage = options.storage or paths.searches_journal(name)
        runner = Runner(storage, params.seed, params.study.sampler, _logger(run), name)
        found = run_search(inputs, params.study, params.crf, task, folder, runner, _machine(context))
        context.log_dataset(run)
        run.artifact(folder)
        run.finish({point: found["points"][point]["miou"] for point in found["points"]}, {"seconds": found["seconds"]})
    _show_found(found, folder)
    console = Console()
    place = "the storage given" if "://" in str(storage) else storage
    console.print(f"choice, trials and plots: {folder}; every trial: optuna-dashboard on {place}", soft_wrap=True)
    console.print(f"to use it, in params.yaml: {_advice(name, found, own)}", soft_wrap=True)


def _advice(name: str, found: dict[str, Any], own: TuneImages) -> str:
    """Say how the pipeline takes up what a search found, its images left out of the report."""
    chosen, images = found["points"]["chosen"], found["images"]["tune"]
    advice = f"fusion.{name}: choose: given, values: {chosen['values']}"
    if chosen["crf"]:
        advice += ", crf: true; and crf as in best.yaml"
    tune = "all" if found["oracle"] else images
    return advice if tune == own else f"{advice}; and study.tune_images: {tune}, for these images chose"


def _inputs(context: Context, name: str) -> StudyInputs:
    """Return how to read the training images: where masks are needed, those that have one."""
    params, voc = context.params, context.voc
    if params.study.tune_images and not voc.has_masks:
        raise UserError(
            "the study needs masks of training images to choose thresholds on, and data/ holds none",
            "set study.tune_images: 0 in params.yaml to take the published thresholds",
        )
    maps, ids = Maps(context, name), voc.ids(params.data.train)
    if params.study.tune_images:  # only images with a mask can choose or report
        ids = voc.masked(ids)
    return StudyInputs(
        name=params.data.train,
        ids=ids,
        num_ids=context.num_ids,
        labels=voc.labels(ids),
        cams=maps.cams,
        saliency=maps.saliency,
        mask=voc.mask,
        image=lambda image_id: np.asarray(voc.image(image_id)),
        evaluation=voc.ids(params.data.val),
    )


def _machine(context: Context) -> Machine:
    return Machine(context.params.jobs, context.params.crf_backend, context.device)


def _logger(run: Run) -> Callable[[TrialRecord], None]:
    """Return what logs every trial as a child of `run`."""

    def log_trial(trial: TrialRecord) -> None:
        status: Status = "FINISHED" if trial.state == "complete" else "KILLED"
        cost = {} if trial.cost is None else {"seconds per image": trial.cost}
        metrics = {"miou": trial.miou, **cost}
        run.child(f"{trial.study} {trial.number}", trial.values, metrics, seconds=trial.seconds, status=status)

    return log_trial


def _chosen(result: dict[str, Any]) -> dict[str, float]:
    """Return the mIoU of the chosen point of every rule: on the report split, or on all images as an oracle."""
    points = {rule: entry["points"]["chosen"]["miou"] for rule, entry in result["rules"].items()}
    split = "oracle" if result["protocol"]["oracle"] else "report"
    return {f"{rule} {split} miou": miou["report"] for rule, miou in points.items() if miou is not None}


def _task(context: Context, name: str, kind: SearchKind, options: Options, own: TuneImages) -> Task:
    """Complete the options: the method's own rule, and for a CRF the pseudo-labels that the pipeline makes.

    Where other images than those of the pipeline (`own`) choose, these labels are by published values: nothing may
    have been chosen on images that report.
    """
    _, _, fusion = context.method(name)
    params = context.params.study
    trials = options.trials or (params.trials if kind == "fusion" else max(params.crf_trials, 1))
    values = None
    if kind == "crf" and options.rule in (None, fusion.rule) and params.tune_images == own:
        values = choose_recipe(context, name).values
    return Task(kind, options.rule or fusion.rule, trials, params.tune_images, values, bool(options.timed))


def _show_found(found: dict[str, Any], folder: Path) -> None:
    """Print what a search found."""
    images = found["images"]
    title = f"{found['kind']} study of rule {found['rule']}: {found['trials']} trials, {found['pruned']} pruned"
    tune, others = f"mIoU, {images['tune']} tune images", "on the others"
    if found["oracle"]:
        tune, others = f"mIoU, all {images['tune']} images (oracle)", ""
    table = Table("", tune, others, "setting", title=title, title_justify="left")
    for point, entry in found["points"].items():
        told = setting(entry["values"] | (entry["crf"] or {}))
        table.add_row(point, *(_percent(entry["miou"][split]) for split in ("tune", "report")), told)
    if found["optimum"]:
        optimum = found["optimum"]
        table.add_row("exact optimum", _percent(optimum["miou"]), "", setting(optimum["values"]))
    for one in found["pareto"] or ():
        told = f"{one['seconds']:.3f} s an image"
        table.add_row("Pareto front", f"{_percent(one['miou'])} at {told}", "", setting(one["values"]))
    Console().print(table)
    if found["regret"] is not None:
        Console().print(f"regret: {_percent(found['regret'])} points of mIoU")


def _percent(miou: float | None) -> str:
    return "" if miou is None else f"{100 * miou:.2f}"
