"""What the three training stages have in common: the loop, the run, the weights, the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from torch import Tensor, nn

from seedbed.engine.checkpoint import discard
from seedbed.engine.device import is_main_process
from seedbed.engine.loader import EpochDataset
from seedbed.engine.loop import Task, train
from seedbed.engine.optim import parameter_groups
from seedbed.engine.watch import PriorWatch
from seedbed.errors import UserError
from seedbed.files import write_json
from seedbed.nn.weights import CONFIG, WEIGHTS, load_weights, read_config, save_weights
from seedbed.params import TrainParams
from seedbed.stages.context import Context


@dataclass(frozen=True)
class Training:
    """One training: `stage` and `method` name it, `kind` its folder in models/, `inputs` are the maps it reads.

    `prior`: losses, by name, of a network that knows only how frequent each class is; empty = not watched.
    `recorded`: blocks that the record of the run names beside `block`.
    """

    stage: str
    method: str | None
    kind: str
    network: nn.Module
    images: EpochDataset
    loss: Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]]
    params: TrainParams
    block: BaseModel
    config: dict[str, Any]
    inputs: Path | None = None
    prior: Mapping[str, float] = field(default_factory=dict)
    recorded: Mapping[str, Any] = field(default_factory=dict)


def run_training(context: Context, training: Training) -> None:
    """Train, write weights, curves and metrics, and log the run. A killed training continues from its checkpoint."""
    params, paths = training.params, context.paths
    checkpoint = paths.checkpoint(training.stage, training.method)
    groups = parameter_groups(training.network, params)
    task = Task(training.network, training.images, training.loss, groups)
    name = f"{training.stage} {training.method}" if training.method else training.stage
    with context.run(training.stage, training.method, **{training.kind: training.block}, **training.recorded) as run:
        result = train(
            task,
            params,
            seed=context.params.seed,
            device=context.device,
            workers=context.params.workers,
            checkpoint=checkpoint,
            fingerprint=context.fingerprint(training.block, training.inputs),
            log=PriorWatch(training.prior, patience(len(training.images), params), run.metrics),
            curves=paths.curves(training.stage, training.method),
            progress=name,
        )
        if not is_main_process():
            return
        folder = paths.model(training.kind, training.method)
        save_weights(folder, training.network, training.config)
        metrics = {"steps": result.steps, "images": len(training.images), "losses": result.losses}
        write_json(paths.metrics(training.stage, training.method), metrics)
        log_inputs(context, run, training.images)
        for artifact in sorted(folder.iterdir()):
            run.artifact(artifact)
        timings = {
            "seconds": result.seconds,
            "images_per_second": result.images_per_second,
            "resumed_from": result.resumed_from,
        }
        run.finish({"final": result.losses}, timings)
    discard(checkpoint)


def patience(images: int, params: TrainParams) -> int:
    """Return the step from which a loss at the level of the class frequencies is a finding.

    Two epochs (of one process) and 1,000 steps; half of the training if that is shorter.
    """
    return min(max(2 * images // params.batch, 1000), params.steps // 2)


def load_trained(context: Context, network: nn.Module, folder: Path, fix: str) -> None:
    """Load the weights in `folder` (or a file) into `network`.

    Raises UserError, with `fix` as its mend, when there are none, and when they do not fit or are of other classes.
    """
    require_trained(folder, fix)
    load_weights(network, folder)
    _check_classes(context, folder if folder.is_dir() else folder.parent)


def _check_classes(context: Context, folder: Path) -> None:
    """Raise UserError when the weights in `folder` are of other classes, which equal shapes would hide.

    The config of imported weights gives the number of classes only.
    """
    if not (folder / CONFIG).is_file():
        return
    trained, wanted = read_config(folder).get("classes"), list(context.voc.classes)
    if isinstance(trained, list) and trained != wanted:
        raise UserError(
            f"{folder} was trained for the classes {', '.join(trained)}, not for {', '.join(wanted)}",
            "set data.classes in params.yaml to the classes of the weights",
        )


def require_trained(folder: Path, fix: str) -> None:
    """Raise UserError, with `fix` as its mend, unless there are weights in `folder` (or it is a file of them)."""
    if not (folder / WEIGHTS if folder.is_dir() else folder).is_file():
        raise UserError(f"there are no trained weights in {folder}", fix)


def log_inputs(context: Context, run: Any, images: EpochDataset, count: int = 4) -> None:
    """Log the data set as input and the first training images as the network sees them."""
    context.log_dataset(run)
    for index in range(min(count, len(images))):
        picture = images[0, index]["image"]
        low, high = picture.amin(), picture.amax()
        levels = ((picture - low) / (high - low).clamp(min=1e-6) * 255).byte().permute(1, 2, 0).numpy()
        run.image(f"input-{index}", levels)
