"""What the three training stages have in common: the loop, the run, the weights, the metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from torch import Tensor, nn

from seedbed.data.datasets import TrainingImages
from seedbed.engine.checkpoint import discard
from seedbed.engine.device import is_main_process
from seedbed.engine.loop import Task, train
from seedbed.engine.optim import parameter_groups
from seedbed.errors import UserError
from seedbed.files import write_json
from seedbed.nn.weights import WEIGHTS, load_weights, save_weights
from seedbed.params import TrainParams
from seedbed.stages.context import Context


@dataclass(frozen=True)
class Training:
    """One training: `stage` and `method` name it, `kind` its folder in models/, `inputs` are the maps it reads."""

    stage: str
    method: str | None
    kind: str
    network: nn.Module
    images: TrainingImages
    loss: Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]]
    params: TrainParams
    block: BaseModel
    config: dict[str, Any]
    inputs: Path | None = None


def run_training(context: Context, training: Training) -> None:
    """Train, write weights, curves and metrics, and log the run. A killed training continues from its checkpoint."""
    params, paths = training.params, context.paths
    checkpoint = paths.checkpoint(training.stage, training.method)
    groups = parameter_groups(training.network, params.lr, params.head_lr_factor, params.weight_decay)
    task = Task(training.network, training.images, training.loss, groups)
    name = f"{training.stage} {training.method}" if training.method else training.stage
    with context.run(training.stage, training.method, **{training.kind: training.block}) as run:
        result = train(
            task,
            params,
            seed=context.params.seed,
            device=context.device,
            workers=context.params.workers,
            checkpoint=checkpoint,
            fingerprint=context.fingerprint(training.block, training.inputs),
            log=run.metrics,
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


def load_trained(network: nn.Module, folder: Path, fix: str) -> None:
    """Load the weights in `folder` (or a file). Raises UserError, with `fix` as its mend, when there are none."""
    require_trained(folder, fix)
    load_weights(network, folder)


def require_trained(folder: Path, fix: str) -> None:
    """Raise UserError, with `fix` as its mend, unless there are weights in `folder` (or it is a file of them)."""
    if not (folder / WEIGHTS if folder.is_dir() else folder).is_file():
        raise UserError(f"there are no trained weights in {folder}", fix)


def log_inputs(context: Context, run: Any, images: TrainingImages, count: int = 4) -> None:
    """Log the data set as input and the first training images as the network sees them."""
    context.log_dataset(run)
    for index in range(min(count, len(images))):
        picture = images[0, index]["image"]
        low, high = picture.amin(), picture.amax()
        levels = ((picture - low) / (high - low).clamp(min=1e-6) * 255).byte().permute(1, 2, 0).numpy()
        run.image(f"input-{index}", levels)
