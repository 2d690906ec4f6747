"""The figures of the comparison page, each a function from numbers to inline SVG.

IoU and mIoU come in as fractions and are drawn in percent. `tint` names the colour of a method (templates/style.css).
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from PIL import Image

from seedbed.report.svg import SMALL, WIDTH, Panel

POINT_SHAPES = {"published": "square", "chosen": "dot", "oracle": "diamond"}
"""How the named settings of a fusion rule are marked in the curves and maps."""

_MAP_PIXELS = (960, 480)  # of a heat map: an edge is at most half a screen pixel off

Interval = tuple[float, float]
Band = tuple[tuple[float, float], tuple[float, float]]
"""Lower and upper thresholds of a setting on two axes; equal where it leaves no pixel ignored."""


@dataclass(frozen=True)
class Row:
    """One line of an interval chart; value and interval are fractions."""

    label: str
    tint: str
    value: float
    interval: Interval


@dataclass(frozen=True)
class Series:
    """One method's numbers for a chart: `ys` over `xs`, and marked points by name as (x, y)."""

    label: str
    tint: str
    xs: Sequence[float]
    ys: Sequence[float]
    points: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Reached:
    """The mIoU with a number of labelled images (`all`: every image), and its interval: fractions.

    `oracle`: scored on the images that chose.
    """

    images: int | str
    oracle: bool
    miou: float
    interval: Interval


def interval_chart(rows: Sequence[Row], axis: str, zero: bool = False) -> Markup:
    """Draw values as dots with their intervals; with `zero` the range includes 0, drawn as a line (for differences)."""
    lows = [100 * row.interval[0] for row in rows] + ([0.0] if zero else [])
    highs = [100 * row.interval[1] for row in rows] + ([0.0] if zero else [])
    pad = max(1.0, 0.08 * (max(highs) - min(lows)))
    height = 34 * len(rows) + 52
    left = max(84, 16 + 9 * max(len(row.label) for row in rows))
    panel = Panel(x=(min(lows) - pad, max(highs) + pad), y=(0, len(rows)), height=height, margins=(left, 52, 6, 42))
    panel.x_axis(axis, grid=True)
    if zero:
        panel.segment(0, 0, 0, len(rows), "", "zero")
    for index, row in enumerate(rows):
        y = len(rows) - index - 0.5
        low, high = (100 * bound for bound in row.interval)
        signed = f"{100 * row.value:+.1f}" if zero else f"{100 * row.value:.1f}"
        text = signed.replace("-", "\N{MINUS SIGN}")
        panel.text(left - 8, panel.to_y(y) + 4, row.label, "row-label", "end")
        panel.segment(low, y, high, y, row.tint)
        panel.marker("dot", 100 * row.value, y, row.tint, f"{row.label}: {text} [{low:.1f}, {high:.1f}]")
        panel.text(WIDTH - 4, panel.to_y(y) + 4, text, "value-label", "end")
    spoken = ", ".join(f"{row.label} {100 * row.value:.1f}" for row in rows)
    return panel.render(f"{axis}: {spoken}")


def class_bars(classes: Sequence[str], series: Sequence[tuple[str, str, Sequence[float]]], axis: str) -> Markup:
    """Draw the IoU of each class, one bar per method; `series` holds (label, tint, IoU per class, NaN = absent)."""
    thickness = 9.0 if len(series) < 4 else 6.0
    band = thickness * len(series) + 9
    left = 12 + min(110, max(6 * len(name) for name in classes))
    panel = Panel(x=(0, 100), y=(0, 1), height=round(band * len(classes)) + 50, margins=(left, 14, 6, 44))
    panel.x_axis(axis, count=5, grid=True)
    for index, name in enumerate(classes):
        top = 6 + index * band + 4
        panel.text(left - 7, top + thickness * len(series) / 2 + 4, name, "row-label", "end")
        for place, (label, tint, values) in enumerate(series):
            if math.isfinite(values[index]):
                value = 100 * values[index]
                panel.bar(value, top + place * thickness, thickness - 1, tint, f"{label}, {name}: {value:.1f}")
    mean = ", ".join(f"{label} {100 * float(np.nanmean(values)):.1f} on average" for label, _, values in series)
    return panel.render(f"{axis} of {len(classes)} classes: {mean}")


def threshold_curves(
    series: Sequence[Series], axis: str, measure: str = "mIoU", *, log: bool = False, small: bool = False
) -> Markup:
    """Draw a measure over the threshold, one line per method, with its marked points; NaN leaves a gap.

    With `log` the thresholds, all above 0, are on a logarithmic axis.
    """
    top = 100 * max(float(np.nanmax(one.ys)) for one in series)
    ends = [end for one in series for end in (min(one.xs), max(one.xs))]
    span = (min(ends), max(ends)) if log else (min(0.0, *ends), max(1.0, *ends))
    width, height = _size(small)
    panel = Panel(x=span, y=(0, 10 * math.ceil(min(top + 4, 100) / 10)), height=height, width=width, log_x=log)
    panel.y_axis(f"{measure}, %")
    panel.x_axis(axis)
    for one in series:
        panel.line(one.xs, [100 * y for y in one.ys], one.tint)
    for one in series:
        for name, (x, y) in one.points.items():
            panel.marker(POINT_SHAPES[name], x, 100 * y, one.tint, f"{one.label}, {name}: {100 * y:.1f} at {x:.3g}")
    spoken = "; ".join(
        f"{one.label} peaks at {100 * float(np.nanmax(one.ys)):.1f} near {one.xs[int(np.nanargmax(one.ys))]:.2f}"
        for one in series
    )
    return panel.render(f"{measure} over the {axis}: {spoken}")


def labelled_curves(series: Sequence[tuple[str, str, Sequence[Reached]]], axis: str) -> Markup:
    """Draw mIoU over the number of labelled images; `series` holds (label, tint, what was reached by number).

    Numbers are stops at equal distances. Between the two ends, which are single values with their intervals (published
    settings, and the oracle), lines join the means of several draws, in a band of their intervals.
    """
    every = [one for _, _, reached in series for one in reached]
    stops = sorted({one.images for one in every}, key=lambda images: math.inf if images == "all" else float(images))
    oracles = {one.images for one in every if one.oracle}
    low, high = min(100 * one.interval[0] for one in every), max(100 * one.interval[1] for one in every)
    pad = max(1.0, 0.06 * (high - low))
    panel = Panel(
        (-0.5, len(stops) - 0.5), (max(low - pad, 0.0), min(high + pad, 100.0)), height=300, margins=(46, 14, 12, 54)
    )
    panel.y_axis("mIoU, %", count=6)
    panel.x_stops(axis, [(str(one), "published" if one == 0 else "oracle" if one in oracles else "") for one in stops])
    for index, (label, tint, reached) in enumerate(series):
        shift = 0.09 * (index - (len(series) - 1) / 2)  # of the ends, whose intervals would cover each other
        _draws(panel, tint, {stops.index(one.images): one for one in reached if one.images != 0 and not one.oracle})
        for one in reached:
            shape = "square" if one.images == 0 else "diamond" if one.oracle else "dot"
            place = stops.index(one.images) + (0.0 if shape == "dot" else shift)
            bounds = 100 * one.interval[0], 100 * one.interval[1]
            if shape != "dot":
                panel.segment(place, bounds[0], place, bounds[1], tint)
            title = f"{label}, {one.images} labelled: {100 * one.miou:.1f} [{bounds[0]:.1f}, {bounds[1]:.1f}]"
            panel.marker(shape, place, 100 * one.miou, tint, title + (" (oracle)" if one.oracle else ""))
    spoken = "; ".join(
        f"{label} " + ", ".join(f"{100 * one.miou:.1f} at {one.images}{' (oracle)' * one.oracle}" for one in reached)
        for label, _, reached in series
    )
    return panel.render(f"mIoU over the {axis}: {spoken}")


def _draws(panel: Panel, tint: str, reached: Mapping[int, Reached]) -> None:
    """Draw the band and the line of means over the stops; a single stop has a whisker instead."""
    places = list(reached)
    lows, highs = ([100 * one.interval[end] for one in reached.values()] for end in (0, 1))
    if len(places) == 1:
        panel.segment(places[0], lows[0], places[0], highs[0], tint)
    elif places:
        panel.area(places, lows, highs, tint)
        panel.line(places, [100 * one.miou for one in reached.values()], tint)


def heat_map(
    surface: np.ndarray,
    axes: tuple[Sequence[float], Sequence[float]],
    names: tuple[str, str],
    label: str,
    limits: Interval,
    points: Mapping[str, Band],
    measure: str = "mIoU",
    *,
    small: bool = False,
) -> Markup:
    """Draw a measure [X,Y] over the ascending thresholds `axes`, called `names`: the first to the right, the second up.

    A cell reaches from its threshold to the next one, the last to 1, the highest score there is; it is empty where the
    measure is NaN. `limits` are the fractions at both ends of the colour scale, equal for all methods so that maps can
    be compared. A point with an ignore band is a line from the lower to the upper thresholds, with its marker at the
    upper end.
    """
    x, y = ((axis[0], max(1.0, axis[-1])) for axis in axes)
    width, height = _size(small)
    panel = Panel(x=x, y=y, height=height, width=width)
    columns, rows = (_cell_of_pixels(axis, count) for axis, count in zip(axes, _MAP_PIXELS, strict=True))
    panel.picture(_cells(surface.T[np.ix_(rows, columns)], limits))
    panel.y_axis(names[1], grid=False)
    panel.x_axis(names[0])
    for point, (low, high) in points.items():
        if low != high:
            panel.segment(*low, *high, "on-map", "band")
        where = ", ".join(f"{name} {value:.3g}" for name, value in zip(names, high, strict=True))
        panel.marker(POINT_SHAPES[point], *high, "on-map", f"{label}, {point}: {where}")
    column, row = (int(index) for index in np.unravel_index(np.nanargmax(surface), surface.shape))
    peak = (
        f"highest, {100 * surface[column, row]:.1f}, at {names[0]} {axes[0][column]:.2f}, {names[1]} {axes[1][row]:.2f}"
    )
    return panel.render(f"{measure} of {label} over {names[0]} and {names[1]}: {peak}")


def colour_bar(limits: Interval) -> str:
    """Return the scale of the heat maps as a PNG data URI, 128 x 1 pixels, from low to high."""
    return _cells(np.linspace(*limits, 128)[None], limits)


def training_curves(steps: Sequence[float], losses: Mapping[str, Sequence[float]], tint: str) -> Markup:
    """Draw the losses over the steps: the total as a full line, its parts dashed and named at their ends."""
    highest = max(max(values) for values in losses.values())
    parts = [name for name in losses if name != "total"] if len(losses) > 1 else []
    right = 10 + 6 * max((len(name) for name in losses), default=0) if parts else 14
    panel = Panel(x=(0, max(steps)), y=(0, highest * 1.05 or 1.0), height=200, width=SMALL, margins=(46, right, 12, 40))
    panel.y_axis("loss", count=4)
    panel.x_axis("step", count=4)
    styles = ("line part-0", "line part-1", "line part-2")
    ends = []
    for index, name in enumerate(parts):
        panel.line(steps, losses[name], "", styles[index % len(styles)])
    for name in [name for name in losses if name not in parts]:
        panel.line(steps, losses[name], tint)
    for name in losses if parts else ():
        ends.append((panel.to_y(losses[name][-1]) + 3.5, name))
    for y, name in _spread(ends):
        panel.text(panel.to_x.end + 6, y, name, "tick-label")
    spoken = ", ".join(f"{name} from {values[0]:.3g} to {values[-1]:.3g}" for name, values in losses.items())
    return panel.render(f"Training loss over {max(steps):.0f} steps: {spoken}")


def _size(small: bool) -> tuple[int, int]:
    """Return width and height of a panel of a sweep."""
    return (SMALL, 230) if small else (WIDTH, 300)


def _cell_of_pixels(axis: Sequence[float], pixels: int) -> npt.NDArray[np.intp]:
    """Return for each of `pixels` across the map the cell that it lies in: cells may differ in width."""
    low, high = axis[0], max(1.0, axis[-1])
    centres = low + (np.arange(pixels) + 0.5) / pixels * (high - low)
    return np.searchsorted(axis, centres, side="right") - 1


def _spread(labels: list[tuple[float, str]], gap: float = 12.0) -> list[tuple[float, str]]:
    """Move labels apart so that none covers another; the order from top to bottom is kept."""
    placed: list[tuple[float, str]] = []
    for y, name in sorted(labels, reverse=True):  # from the lowest label upwards, so that none leaves the panel
        placed.append((min(y, placed[-1][0] - gap) if placed else y, name))
    return placed


def _cells(values: np.ndarray, limits: Interval) -> str:
    """Return `values` [H,W] (row 0 at the bottom) as a PNG data URI in viridis, a pixel per value, clear where NaN."""
    low, high = limits
    level = np.ma.masked_invalid(np.clip((values[::-1] - low) / (high - low or 1.0), 0, 1))
    colours = matplotlib.colormaps["viridis"](level, bytes=True)
    if not level.mask.any():
        colours = colours[..., :3]
    stream = io.BytesIO()
    Image.fromarray(colours).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
