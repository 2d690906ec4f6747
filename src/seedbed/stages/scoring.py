"""Metrics of pseudo-labels and predictions in the one layout that metrics files, MLflow and the page share."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np

from seedbed.data.masks import read_mask, voc_palette
from seedbed.evaluate.bootstrap import interval
from seedbed.evaluate.confusion import Collected, Confusions, save_confusions
from seedbed.evaluate.scores import PRIMARY, VARIANTS, miou_variants, scores
from seedbed.files import write_json
from seedbed.stages.context import Context
from seedbed.tracking.run import Run

logger = logging.getLogger(__name__)


def report_scores(
    context: Context,
    run: Run,
    stage: str,
    method: str,
    split: str,
    ids: Sequence[str],
    collected: Collected,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Write metrics and confusion matrices of the images `ids`, log both to `run`, and return the metrics.

    `split` names the images for people; `more` is added to the metrics.
    """
    per_image = collected.confusions(ids)
    path = context.paths.confusion(stage, method)
    save_confusions(path, ids, per_image)
    metrics = {**score_images(context, method, split, per_image), **more}
    write_json(context.paths.metrics(stage, method), metrics)
    context.log_dataset(run)
    run.artifact(context.paths.metrics(stage, method))
    run.artifact(path)
    shown = "no masks to score with" if metrics["miou"] is None else f"mIoU {100 * metrics['miou']:.1f}"
    logger.info("%s of %s: %s on %d images (%s)", stage, method, shown, len(ids), split)
    return metrics


def score_images(context: Context, method: str, split: str, per_image: Confusions) -> dict[str, Any]:
    """Return the metrics of the confusion matrices of the images of `split`; fractions, undefined ones None."""
    total = per_image.total()
    result = scores(total)
    names = ["background", *context.voc.classes]
    seed, samples = context.params.seed, context.params.evaluate.bootstrap
    bounds = [number(bound) for bound in interval(per_image, samples, seed)] if len(per_image) else None
    variants = miou_variants(total) if len(per_image) else dict.fromkeys(VARIANTS, math.nan)
    return {
        "method": method,
        "data": context.params.data.name,
        "split": split,
        "images": len(per_image),
        "miou": number(result.miou) if len(per_image) else None,
        "interval": bounds,
        "variant": PRIMARY,
        "variants": {name: number(value) for name, value in variants.items()},
        "per_class": {name: number(value) for name, value in zip(names, result.iou, strict=True)},
        "precision": number(result.mean_precision),
        "recall": number(result.mean_recall),
        "coverage": number(result.coverage),
        "accuracy": number(result.accuracy),
        "seed": seed,
    }


def log_masks(context: Context, run: Run, folder: Path, ids: Sequence[str], count: int = 4) -> None:
    """Log the first masks of `folder`, in VOC's colours beside their photographs, as sample images."""
    for image_id in ids[:count]:
        colours = voc_palette()[read_mask(folder / f"{image_id}.png")]
        run.image(image_id, np.concatenate([np.asarray(context.voc.image(image_id)), colours], axis=1))


def number(value: SupportsFloat) -> float | None:
    """Return `value` as a JSON number, None where it is undefined."""
    defined = float(value)
    return None if math.isnan(defined) else defined
