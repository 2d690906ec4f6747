"""What follows from counts without another look at the images: optima, their intervals, and surfaces of scores.

With ignored pixels counted as errors (the primary variant), the IoU of the object classes depends on the inner gate
alone and that of the background on the outer gate alone. So the best outer gate is, for every inner one, that with the
best background among those that enclose it: the optimum over all ignore bands needs no search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seedbed.errors import UserError
from seedbed.evaluate.bootstrap import PERCENTILES, draws, percentiles
from seedbed.evaluate.scores import PRIMARY, VARIANTS, scores
from seedbed.seeds.fusion import find_gate_rule
from seedbed.seeds.rules import Values
from seedbed.study.grid import banded
from seedbed.study.sparse import areas_of_gates, weighted_sums
from seedbed.study.tables import Counts, Tables, Totals, suffix_sums

Array = npt.NDArray[Any]

_SUMS_AT_ONCE = 2**20  # bounds the memory of resampling at a few times 8 MB, whatever the grid


class Surfaces(NamedTuple):
    """Scores by setting, fractions, NaN where undefined.

    `precision`, `recall`: means over the object classes that were predicted, or that are in the truth; `coverage`:
    share of the pixels with a true id that got a label.
    """

    miou: Array
    precision: Array
    recall: Array
    coverage: Array


class Band(NamedTuple):
    """Scores [L,H] of the saliency thresholds `values`, L of parameter `low` and H of `high`; NaN where low > high."""

    low: str
    high: str
    values: tuple[float, ...]
    surfaces: Surfaces


class ClassOptimum(NamedTuple):
    """The setting with the highest IoU of a class, and that IoU."""

    values: dict[str, float]
    iou: float


@dataclass(frozen=True)
class OptimumInterval:
    """95 % bootstrap intervals (low, high) of the optimal setting, by parameter, and of the mIoU that it reaches."""

    values: dict[str, tuple[float, float]]
    miou: tuple[float, float]
    samples: int


def miou(conf: Array) -> Array:
    """Return the mIoU [...] of confusion matrices [...,K,K+1] in the primary variant."""
    variant = VARIANTS[PRIMARY]
    return scores(conf, variant.ignore, variant.absent).miou


def optimum(rule: str, totals: Totals) -> dict[str, float]:
    """Return the values of `rule` with the highest mIoU among all settings on the grid, ignore bands included.

    Of equals the one with the lowest inner thresholds. Raises UserError when no pixel has a true id.
    """
    best = _best(_areas(rule, totals), banded(find_gate_rule(rule)))
    if np.isnan(best.miou[0]):
        raise nothing_to_choose_by()
    return totals.grid.values(rule, best.inner[:, 0].tolist(), best.outer[:, 0].tolist())


def optimum_interval(tables: Tables, rule: str, samples: int, seed: int) -> OptimumInterval:
    """Draw images with replacement, as many as there are, and find the exact optimum of each of the `samples`.

    The draws are those of `seedbed.evaluate.bootstrap`, the ends of an interval values that were optimal. Raises
    UserError when no pixel has a true id.
    """
    grid, names = tables.grid, [parameter.name for parameter in find_gate_rule(rule).parameters]
    reached, chosen = [], []
    for best in _resampled(tables, rule, samples, seed):
        for score, inner, outer in zip(best.miou.tolist(), best.inner.T.tolist(), best.outer.T.tolist(), strict=True):
            if np.isfinite(score):
                reached.append(score)
                chosen.append(grid.values(rule, inner, outer))
    if not reached:
        raise nothing_to_choose_by()
    ends = {name: _ends([values[name] for values in chosen]) for name in names}
    return OptimumInterval(ends, percentiles(np.array(reached)), samples)


def class_optima(rule: str, totals: Totals) -> list[ClassOptimum | None]:
    """Return the optimum of every object class k (id k + 1), without an ignore band; None if it is not in the truth.

    Of equals the one with the lowest thresholds.
    """
    areas = _areas(rule, totals)
    iou, truth = _object_iou(areas)[..., 0], areas.truth[1:, 0]
    best = np.where(np.isnan(iou), -1.0, iou).reshape(len(iou), -1).argmax(axis=1)
    settings = np.transpose(np.unravel_index(best, iou.shape[1:])).tolist()
    return [
        ClassOptimum(totals.grid.values(rule, place, place), float(iou[(index, *place)])) if truth[index] else None
        for index, place in enumerate(settings)
    ]


def surfaces(rule: str, totals: Totals) -> Surfaces:
    """Score every band-free setting of `rule`: [T] or [T,S], in the order of `grid.axes[rule]` (`Totals.sweep`)."""
    return _surfaces(totals.sweep(rule))


def band(rule: str, totals: Totals, values: Values) -> Band | None:
    """Score every pair of saliency thresholds, with the class score thresholds of `values`; None without such pairs."""
    entry, grid = find_gate_rule(rule), totals.grid
    pairs = [one for one in entry.parameters if one.axis == "saliency" and one.at_most]
    if not pairs:
        return None
    ((inner, _), (outer, _)) = (grid.bins(gate) for gate in entry.gates(entry.resolve(values)))
    places = grid.places(rule)[1]
    high, low = totals.exceeding[inner, places], totals.exceeding[outer, places]
    found = _surfaces(totals.confusion(*np.broadcast_arrays(high[None], low[:, None])))
    possible = np.tri(len(places), dtype=bool).T
    shown = Surfaces(*(np.where(possible, surface, np.nan) for surface in found))
    return Band(pairs[0].name, str(pairs[0].at_most), tuple(grid.axes[rule]["saliency"]), shown)


def nothing_to_choose_by() -> UserError:
    """Return the error for images whose masks are all ignore."""
    return UserError(
        "no pixel of the images has a true id other than ignore: nothing to choose thresholds by",
        "seedbed data check",
    )


class _GateAreas(NamedTuple):
    """Pixels by gate, [T,S] on the axes of a rule, in each of B samples of the images; K ids, 0 is the background."""

    truth: Array  # [K,B]: of every true id
    hit: Array  # [K-1,T,S,B]: of true id k, won by k, inside
    inside: Array  # [K-1,T,S,B]: won by k, inside
    background: Array  # [T,S,B]: of true id 0, inside


class _Best(NamedTuple):
    """By sample the highest mIoU [B] (NaN without true pixels), and the gates that reach it, int [2,B] on the axes."""

    miou: Array
    inner: Array
    outer: Array


def _areas(rule: str, totals: Totals) -> _GateAreas:
    """Return the areas in one sample: every image once."""
    inside = totals.inside(rule)
    hit = np.moveaxis(np.diagonal(inside, axis1=-2, axis2=-1), -1, 0)
    won = np.moveaxis(inside.sum(axis=-2), -1, 0)
    truth = totals.exceeding[0, 0].sum(axis=-1)
    return _GateAreas(truth[:, None], hit[1:, ..., None], won[1:, ..., None], inside[..., 0, :].sum(axis=-1)[..., None])


def _resampled(tables: Tables, rule: str, samples: int, seed: int) -> list[_Best]:
    """Return the optima of random draws of images, in several batches."""
    cam, saliency = map(_Steps.of, tables.grid.places(rule), tables.grid.shape)
    shape = (2 * tables.num_ids, cam.number, saliency.number)
    size = int(np.prod(shape))
    offsets, codes, counts = areas_of_gates(*tables.sparse, cam.of_bins, saliency.of_bins, shape)
    truths = _truths(tables)
    found = []
    for weights in draws(len(tables.ids), samples, seed, max(1, _SUMS_AT_ONCE // size)):
        sums = weighted_sums(offsets, codes, counts, weights, size).reshape(*shape, len(weights))
        exceeding = suffix_sums(sums, (1, 2))[:, cam.of_values][:, :, saliency.of_values]
        hit, won = exceeding[: tables.num_ids], exceeding[tables.num_ids :]
        found.append(_best(_GateAreas((weights @ truths).T, hit[1:], won[1:], hit[0]), banded(find_gate_rule(rule))))
    return found


class _Steps(NamedTuple):
    """A rule's own thresholds on an axis: how many the pixels of each bin exceed, and must exceed to pass a value's."""

    of_bins: Array
    of_values: Array
    number: int

    @classmethod
    def of(cls, places: Array, bins: int) -> _Steps:
        distinct = np.unique(places)
        of_bins = np.searchsorted(distinct, np.arange(bins), side="right")
        return cls(of_bins, np.searchsorted(distinct, places) + 1, len(distinct) + 1)


def _truths(tables: Tables) -> Array:
    """Return the pixels of every image by true id, float64 [N,K]."""
    true = np.unravel_index(tables.codes, tables.shape)[1]
    image = np.repeat(np.arange(len(tables.ids)), np.diff(tables.offsets))
    size = (len(tables.ids), tables.num_ids)
    return np.bincount(image * tables.num_ids + true, tables.counts, minlength=size[0] * size[1]).reshape(size)


def _best(areas: _GateAreas, banded: bool) -> _Best:
    """Find the optimum of every sample among all settings, with ignore bands if `banded`."""
    iou = _object_iou(areas)
    objects, defined = np.nansum(iou, axis=0), np.isfinite(iou).sum(axis=0)
    # An undefined background IoU (none in truth, none predicted) is left out of the mean, and so beats 0.
    outside = areas.truth.sum(axis=0) - areas.inside.sum(axis=0)
    background = _ratio(areas.truth[0] - areas.background, outside + areas.background, undefined=np.inf)
    enclosing = background
    if banded:  # low <= high, and thresholds ascend with the values
        enclosing = np.maximum.accumulate(np.maximum.accumulate(background, axis=0), axis=1)
    left_out = np.isinf(enclosing)
    score = _ratio(objects + np.where(left_out, 0, enclosing), defined + ~left_out, undefined=-1.0)
    gates, samples = score.shape[:2], score.shape[2]
    highest = score.reshape(-1, samples).argmax(axis=0)
    inner = outer = np.stack(np.unravel_index(highest, gates))
    if banded:
        cam, saliency = np.ogrid[: gates[0], : gates[1]]
        encloses = (cam[..., None] <= inner[0]) & (saliency[..., None] <= inner[1])
        ranked = np.where(encloses, background, -1.0).reshape(-1, samples)
        outer = np.stack(np.unravel_index(ranked.argmax(axis=0), gates))
    reached = np.take_along_axis(score.reshape(-1, samples), highest[None], axis=0)[0]
    return _Best(np.where(reached < 0, np.nan, reached), inner, outer)


def _object_iou(areas: _GateAreas) -> Array:
    """Return the IoU [K-1,T,S,B] of the object classes; NaN for one neither in the truth nor predicted."""
    return _ratio(areas.hit, areas.truth[1:, None, None] + areas.inside - areas.hit, undefined=np.nan)


def _ratio(part: Array, whole: Array, undefined: float) -> Array:
    return np.divide(part, whole, out=np.full(np.shape(whole), undefined), where=whole > 0)


def _surfaces(conf: Counts) -> Surfaces:
    variant = VARIANTS[PRIMARY]
    scored = scores(conf, variant.ignore, variant.absent)
    return Surfaces(scored.miou, _over_objects(scored.precision), _over_objects(scored.recall), scored.coverage)


def _over_objects(by_class: Array) -> Array:
    """Return the mean over the object classes, undefined ones left out; NaN when all are."""
    objects = by_class[..., 1:]
    return _ratio(np.nansum(objects, axis=-1), np.isfinite(objects).sum(axis=-1), undefined=np.nan)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = PERCENTILES
    return float(np.percentile(values, low, method="lower")), float(np.percentile(values, high, method="higher"))
