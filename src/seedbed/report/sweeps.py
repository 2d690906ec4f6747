"""The figures of the threshold sweeps: a curve per method over one threshold, a heat map per method over two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from seedbed.report import figures
from seedbed.report.results import Json, Results, Surface, scored_points, surface

MARKED = ("published", "chosen", "oracle")
"""The settings that are marked in the figures."""

_AXES = {"threshold": "CAM threshold", "cam": "CAM threshold", "saliency": "saliency threshold"}
"""How the swept parameters are called; others go by their own name."""

Tints = Mapping[str | None, str]


def rule_figure(results: Results, rule: str, tint: Tints, label: Callable[[str], str]) -> Json | None:
    """Return the figures of the sweep of `rule`; None where nothing was swept, or over more than two thresholds.

    `{"summary": str, "curve": svg}`, or `{"summary": str, "maps": {method: svg}, "limits": (low, high), "scale": png}`
    with the fractions at the ends of the common colour scale.
    """
    found = {method: surface(results.studies[method], rule) for method in results.methods}
    for dimensions in (1, 2):
        swept = {method: one for method, one in found.items() if one is not None and one.miou.ndim == dimensions}
        if swept:
            summary = results.studies[next(iter(swept))]["rules"][rule]["summary"]
            draw = _curve if dimensions == 1 else _maps
            return {"summary": summary} | draw(results, rule, swept, tint, label)
    return None


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


def _curve(
    results: Results, rule: str, swept: Mapping[str, Surface], tint: Tints, label: Callable[[str], str]
) -> dict[str, Markup]:
    series = []
    for method, one in swept.items():
        marks = {
            name: (spot[1], point["miou"]["report"])
            for name, point in _marked(results, method, rule).items()
            if (spot := place(point["values"], one.names[0]))
        }
        series.append(figures.Series(label(method), tint[method], one.axes[0], one.miou.tolist(), marks))
    name = next(iter(swept.values())).names[0]
    return {"curve": figures.threshold_curves(series, _AXES.get(name, name))}


def _maps(results: Results, rule: str, swept: Mapping[str, Surface], tint: Tints, label: Callable[[str], str]) -> Json:
    every = np.concatenate([one.miou.ravel() for one in swept.values()])
    limits = float(every.min()), float(every.max())
    maps = {}
    for method, one in swept.items():
        bands: dict[str, figures.Band] = {}
        for name, point in _marked(results, method, rule).items():
            x, y = (place(point["values"], axis) for axis in one.names)
            if x and y:
                bands[name] = (x[0], y[0]), (x[1], y[1])
        across, upwards = (_AXES.get(name, name) for name in one.names)
        axes = one.axes[0], one.axes[1]
        maps[method] = figures.heat_map(one.miou, axes, (across, upwards), label(method), limits, bands)
    return {"maps": maps, "limits": limits, "scale": figures.colour_bar(limits)}


def _marked(results: Results, method: str, rule: str) -> dict[str, Json]:
    scored = scored_points(results.studies[method]["rules"][rule])
    return {name: scored[name] for name in MARKED if name in scored}
