"""mIoU and its companions from confusion matrices, in every variant that published evaluators use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Ignore = Literal["error", "drop"]
Absent = Literal["skip", "zero"]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Variant:
    """One way to compute mIoU: what a pixel predicted as ignore counts as, and what a class that never occurs."""

    ignore: Ignore
    absent: Absent
    meaning: str


_MISS = "a pixel predicted as ignore is a miss"
_LEFT_OUT = "pixels predicted as ignore are left out"
_OCCURRING = "the mean is over classes in truth or prediction"
_ALL = "a class in neither truth nor prediction counts as 0"

VARIANTS: dict[str, Variant] = {
    "error-skip": Variant("error", "skip", f"{_MISS}; {_OCCURRING}"),
    "error-zero": Variant("error", "zero", f"{_MISS}; {_ALL}"),
    "drop-skip": Variant("drop", "skip", f"{_LEFT_OUT}; {_OCCURRING}"),
    "drop-zero": Variant("drop", "zero", f"{_LEFT_OUT}; {_ALL}"),
}
"""EPS's evaluator is drop-skip; its first release averaged over all classes, as the -zero variants do."""

PRIMARY = "error-skip"
"""The variant of every number that names none: the only one a method cannot raise by leaving pixels unlabelled."""


class Areas(NamedTuple):
    """Pixels per class [...,K]: correctly labelled, of the truth, and of the prediction. They add up over images."""

    hit: Array
    truth: Array
    predicted: Array


@dataclass(frozen=True)
class Scores:
    """Scores as fractions: float64 [...] for the whole, [...,K] per class; NaN where undefined (0 / 0)."""

    miou: Array
    iou: Array
    precision: Array
    recall: Array
    mean_precision: Array
    mean_recall: Array
    coverage: Array
    accuracy: Array


def scores(conf: Array, ignore: Ignore = "error", absent: Absent = "skip") -> Scores:
    """Score confusion matrices [...,K,K+1] (any leading dimensions: add up the images first for the usual mIoU).

    `ignore`: a pixel predicted as ignore is an `error` (a miss of its class), or is left out (`drop`).
    `absent`: means over classes `skip` undefined entries, or count them as `zero`.
    `coverage`: share of the pixels with a true id that got a label; `accuracy`: share of the counted pixels that got
    the right one.
    """
    hit, truth, predicted = counted = areas(conf, ignore)
    precision, recall = _ratio(hit, predicted), _ratio(hit, truth)
    return Scores(
        miou=mean_iou(counted, absent),
        iou=_iou(counted),
        precision=precision,
        recall=recall,
        mean_precision=_mean(precision, absent),
        mean_recall=_mean(recall, absent),
        coverage=_ratio(predicted.sum(axis=-1), conf.sum(axis=(-2, -1))),
        accuracy=_ratio(hit.sum(axis=-1), truth.sum(axis=-1)),
    )


def miou_variants(conf: Array) -> dict[str, float]:
    """Return the mIoU of one confusion matrix [K,K+1] in every variant, by name."""
    return {name: float(scores(conf, variant.ignore, variant.absent).miou) for name, variant in VARIANTS.items()}


def areas(conf: Array, ignore: Ignore) -> Areas:
    """Reduce confusion matrices [...,K,K+1] to the areas [...,K] that mIoU depends on."""
    labelled = conf[..., :-1]
    hit = np.diagonal(labelled, axis1=-2, axis2=-1)
    truth = {"error": conf, "drop": labelled}[ignore].sum(axis=-1)
    return Areas(hit, truth, labelled.sum(axis=-2))


def mean_iou(counted: Areas, absent: Absent) -> Array:
    """Return the mIoU [...] of areas [...,K]; NaN when no class occurs and absent ones are skipped."""
    return _mean(_iou(counted), absent)


def _iou(counted: Areas) -> Array:
    return _ratio(counted.hit, counted.truth + counted.predicted - counted.hit)


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)[()]


def _mean(values: Array, absent: Absent) -> Array:
    count = {"skip": np.isfinite(values).sum(axis=-1), "zero": np.full(values.shape[:-1], values.shape[-1])}[absent]
    return _ratio(np.nansum(values, axis=-1), count)
