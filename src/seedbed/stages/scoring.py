"""Metrics of pseudo-labels and predictions in the one layout that metrics files, MLflow and the page share."""

from __future__ import annotations

import math
from typing import Any, SupportsFloat

import numpy as np

from seedbed.evaluate.bootstrap import interval
from seedbed.evaluate.scores import PRIMARY, miou_variants, scores
from seedbed.stages.context import Context


def score_images(context: Context, method: str, split: str, per_image: np.ndarray) -> dict[str, Any]:
    """Return the metrics of confusion matrices [N,K,K+1] of the images of `split`; fractions, undefined ones None."""
    total = per_image.sum(axis=0)
    result = scores(total)
    names = ["background", *context.voc.classes]
    seed, samples = context.params.seed, context.params.evaluate.bootstrap
    return {
        "method": method,
        "data": context.params.data.name,
        "split": split,
        "images": len(per_image),
        "miou": number(result.miou),
        "interval": [number(bound) for bound in interval(per_image, samples, seed)],
        "variant": PRIMARY,
        "variants": {name: number(value) for name, value in miou_variants(total).items()},
        "per_class": {name: number(value) for name, value in zip(names, result.iou, strict=True)},
        "precision": number(result.mean_precision),
        "recall": number(result.mean_recall),
        "coverage": number(result.coverage),
        "accuracy": number(result.accuracy),
        "seed": seed,
    }


def number(value: SupportsFloat) -> float | None:
    """Return `value` as a JSON number, None where it is undefined."""
    defined = float(value)
    return None if math.isnan(defined) else defined
