"""The figures of the threshold sweeps: a curve per method over one threshold, a heat map per method over two.

FIGURE is `{"curve": svg}`, or `{"maps": {method: svg}, "limits": (low, high), "scale": png}` with the fractions at the
ends of the common colour scale, or `{"constant": fraction}` where every setting of every method scores the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from seedbed.report import figures
from seedbed.report.results import Json, Results, Surface, band, scored_points, surface

MARKED = ("published", "chosen", "oracle")
"""The settings that are marked in the figures."""

MEASURES = {"miou": "mIoU", "precision": "Precision", "recall": "Recall", "coverage": "Coverage"}
"""What a sweep measures, and how it is called."""

_AXES = {
    "threshold": "CAM threshold",
    "cam": "CAM threshold",
    "saliency": "saliency threshold",
    "saliency_low": "lower saliency threshold",
    "saliency_high": "upper saliency threshold",
}
"""How the swept parameters are called; others go by their own name."""


@dataclass(frozen=True)
class Style:
    """How methods are drawn and called: colour class by method, name by method, and whether in small panels."""

    tint: Mapping[str | None, str]
    label: Callable[[str], str]
    small: bool = False


def rule_figure(results: Results, rule: str, style: Style) -> Json | None:
    """Return the figures of the sweep of `rule`; None where nothing was swept, or over more than two thresholds.

    `{"summary": str, "miou": FIGURE, "measures": {measure: FIGURE}, "band": {measure: FIGURE}}`: mIoU, precision,
    recall and coverage on the report split, and all four on all images over the ends of an ignore band. A measure that
    was not taken is left out.
    """
    miou, small = _figure(results, rule, "miou", style), replace(style, small=True)
    if miou is None:
        return None
    drawn = {measure: _figure(results, rule, measure, small) for measure in MEASURES if measure != "miou"}
    swept = next(study for method in results.methods if (study := results.studies[method]["rules"].get(rule)))
    return {
        "summary": swept["summary"],
        "miou": miou,
        "measures": {measure: found for measure, found in drawn.items() if found},
        "band": _bands(results, rule, small),
    }


@dataclass(frozen=True)
class Tried:
    """The best of a sweep that chose on the ground truth it is scored on: a fraction, and the threshold it is at."""

    miou: float
    threshold: float


@dataclass(frozen=True)
class FirstRelease:
    """The sweep of the first release of a rule's method: ends of its thresholds, mIoU variant, best by method."""

    low: float
    high: float
    variant: str
    best: dict[str, Tried]


def first_release(results: Results, rule: str) -> FirstRelease | None:
    """Return what the sweep of the first release finds on all images; None where there was none."""
    studies = {method: results.studies[method]["rules"].get(rule, {}) for method in results.methods}
    found = {method: study["first_release"] for method, study in studies.items() if "first_release" in study}
    if not found:
        return None
    best = {}
    for method, one in found.items():
        miou, threshold = max(zip(one["miou"]["all"], one["thresholds"], strict=True), key=lambda pair: pair[0])
        best[method] = Tried(miou, threshold)
    some = next(iter(found.values()))
    return FirstRelease(min(some["thresholds"]), max(some["thresholds"]), some["variant"], best)


def place(values: Mapping[str, float], axis: str) -> figures.Interval | None:
    """Return the lower and the upper threshold of a setting on `axis`; None when it has no place there.

    An axis stands for the parameter of its name, or for `<axis>_low` and `<axis>_high` around an ignore band.
    """
    high = values.get(axis, values.get(f"{axis}_high"))
    return None if high is None else (values.get(f"{axis}_low", high), high)


def geometric(axis: Sequence[float]) -> bool:
    """Return whether ascending values are spaced by ratios rather than by differences: they are drawn as tried."""
    if len(axis) < 3 or axis[0] <= 0:
        return False
    steps, ratios = np.diff(axis), np.diff(np.log(axis))
    return bool(ratios.std() / ratios.mean() < steps.std() / steps.mean() - 1e-9)


def _figure(results: Results, rule: str, measure: str, style: Style) -> Json | None:
    """Return the FIGURE of a measure on the report split over the one or two thresholds of `rule`."""
    found = {method: surface(results.studies[method], rule, measure) for method in results.methods}
    for dimensions in (1, 2):
        swept = {method: one for method, one in found.items() if one is not None and one.values.ndim == dimensions}
        if swept:
            marks = {method: _marked(results, method, rule) for method in swept}
            return _constant(swept) or (_curve if dimensions == 1 else _maps)(swept, marks, measure, style)
    return None


def _bands(results: Results, rule: str, style: Style) -> dict[str, Json]:
    """Return the FIGURE of every measure over the ignore band. Its other thresholds are those that were chosen."""
    drawn = {}
    for measure in MEASURES:
        found = {method: band(results.studies[method], rule, measure) for method in results.methods}
        swept = {method: one for method, one in found.items() if one is not None}
        if swept:
            chosen = {
                method: {name: one for name, one in _marked(results, method, rule).items() if name == "chosen"}
                for method in swept
            }
            drawn[measure] = _constant(swept) or _maps(swept, chosen, measure, style)
    return drawn


def _constant(swept: Mapping[str, Surface]) -> Json | None:
    every = np.concatenate([one.values.ravel() for one in swept.values()])
    low, high = (float(end(every)) for end in (np.nanmin, np.nanmax))
    return {"constant": high} if high - low < 1e-9 else None


def _curve(swept: Mapping[str, Surface], marked: Mapping[str, Json], measure: str, style: Style) -> Json:
    series = []
    for method, one in swept.items():
        spots = {name: place(point["values"], one.names[0]) for name, point in marked[method].items()}
        marks = {
            name: (spot[1], height)
            for name, spot in spots.items()
            if spot and np.isfinite(height := _height(one, spot[1], marked[method][name], measure))
        }
        series.append(figures.Series(style.label(method), style.tint[method], one.axes[0], one.values.tolist(), marks))
    first = next(iter(swept.values()))
    name = _AXES.get(first.names[0], first.names[0])
    log = geometric(first.axes[0])
    axis = f"{name} (logarithmic)" if log else name
    return {"curve": figures.threshold_curves(series, axis, MEASURES[measure], log=log, small=style.small)}


def _height(swept: Surface, threshold: float, point: Json, measure: str) -> float:
    """Return where a setting is marked: at its own score, and by other measures on the line."""
    if measure == "miou":
        return float(point["miou"]["report"])
    return float(np.interp(threshold, swept.axes[0], swept.values))


def _maps(swept: Mapping[str, Surface], marked: Mapping[str, Json], measure: str, style: Style) -> Json:
    every = np.concatenate([one.values.ravel() for one in swept.values()])
    limits = float(np.nanmin(every)), float(np.nanmax(every))
    maps = {}
    for method, one in swept.items():
        bands: dict[str, figures.Band] = {}
        for name, point in marked[method].items():
            x, y = (place(point["values"], axis) for axis in one.names)
            if x and y:
                bands[name] = (x[0], y[0]), (x[1], y[1])
        names = _AXES.get(one.names[0], one.names[0]), _AXES.get(one.names[1], one.names[1])
        axes, called = (one.axes[0], one.axes[1]), style.label(method)
        drawn = figures.heat_map(one.values, axes, names, called, limits, bands, MEASURES[measure], small=style.small)
        maps[method] = drawn
    return {"maps": maps, "limits": limits, "scale": figures.colour_bar(limits)}


def _marked(results: Results, method: str, rule: str) -> dict[str, Json]:
    scored = scored_points(results.studies[method]["rules"][rule])
    return {name: scored[name] for name in MARKED if name in scored}
