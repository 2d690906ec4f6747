"""A chart panel as inline SVG: axes, lines, bars and markers whose colours come from the page's style sheet.

Inline SVG follows the page into dark mode, needs no script, and weighs a few kilobytes. Colours are CSS classes: `tint`
is the class that sets the colour of one series, see templates/style.css.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup
from matplotlib.ticker import LogLocator, MaxNLocator

WIDTH = 460
"""Usual width of a panel in its own units; the page shows panels at 0.9 to 1.3 times that: text stays legible."""

SMALL = 340
"""Width of a panel in a grid of small ones, shown at about that."""

SHAPES = {
    "dot": "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0Z",
    "diamond": "M0,-6L6,0L0,6L-6,0Z",
    "square": "M-6,-6H6V6H-6Z",
}
"""Marker outlines around the origin; the style sheet draws squares hollow, so that a dot in one stays visible."""


@dataclass(frozen=True)
class Scale:
    """A map of the range `low`..`high` to the coordinates `start`..`end`: linear, or of logarithms (`log`, low > 0)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the coordinate of `value`, rounded to a tenth of a unit to keep the page small."""
        low, high, value = (math.log(one) if self.log else one for one in (self.low, self.high, value))
        return round(self.start + (value - low) / (high - low or 1.0) * (self.end - self.start), 1)

    def ticks(self, count: int) -> list[float]:
        """Return at most `count` + 1 round values inside the range; powers of 2 or of 10 on a scale of logarithms."""
        if self.log:
            base = 2 if self.high / self.low <= 2**count else 10
            values = LogLocator(base, numticks=count + 3).tick_values(self.low, self.high)
        else:
            values = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        return [float(value) for value in values if self.low - slack <= value <= self.high + slack]


@dataclass
class Panel:
    """One chart under construction. `x` and `y` are the data ranges; margins are left, right, top, bottom in units.

    With `log_x` the horizontal axis is one of logarithms.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    height: int = 260
    width: int = WIDTH
    margins: tuple[int, int, int, int] = (46, 14, 12, 40)
    log_x: bool = False
    parts: list[Markup] = field(default_factory=list)

    def __post_init__(self) -> None:
        left, right, top, bottom = self.margins
        self.to_x = Scale(*self.x, left, self.width - right, self.log_x)
        self.to_y = Scale(*self.y, self.height - bottom, top)

    def x_axis(self, label: str, count: int = 6, grid: bool = False) -> None:
        """Draw tick labels and the axis label below the plot; `grid` adds vertical lines."""
        bottom, top = self.to_y.start, self.to_y.end
        for value in self.to_x.ticks(count):
            at = self.to_x(value)
            self.parts.append(
                Markup('<path class="{}" d="M{},{}V{}"/>').format(
                    "grid" if grid else "tick", at, bottom, top if grid else bottom + 4
                )
            )
            self.text(at, bottom + 16, number(value), "tick-label", "middle")
        self.text((self.to_x.start + self.to_x.end) / 2, bottom + 33, label, "axis-label", "middle")

    def x_stops(self, label: str, stops: Sequence[tuple[str, str]]) -> None:
        """Draw an axis of named stops at 0, 1, 2, ...: each a name and a note below it, and the axis label."""
        bottom = self.to_y.start
        for place, (name, note) in enumerate(stops):
            at = self.to_x(place)
            self.parts.append(Markup('<path class="tick" d="M{},{}V{}"/>').format(at, bottom, bottom + 4))
            self.text(at, bottom + 16, name, "tick-label", "middle")
            if note:
                self.text(at, bottom + 29, note, "tick-note", "middle")
        self.text((self.to_x.start + self.to_x.end) / 2, bottom + 47, label, "axis-label", "middle")

    def y_axis(self, label: str, count: int = 5, grid: bool = True) -> None:
        """Draw tick labels left of the plot and the axis label along it; `grid` adds horizontal lines."""
        left, right = self.to_x.start, self.to_x.end
        for value in self.to_y.ticks(count):
            at = self.to_y(value)
            if grid:
                self.parts.append(Markup('<path class="grid" d="M{},{}H{}"/>').format(left, at, right))
            self.text(left - 7, at + 3.5, number(value), "tick-label", "end")
        middle = (self.to_y.start + self.to_y.end) / 2
        self.parts.append(
            Markup(
                '<text class="axis-label" text-anchor="middle" transform="translate(11,{}) rotate(-90)">{}</text>'
            ).format(middle, label)
        )

    def line(self, xs: Sequence[float], ys: Sequence[float], tint: str, style: str = "line") -> None:
        """Draw a polyline through the finite points."""
        points = [f"{self.to_x(x)},{self.to_y(y)}" for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
        self.parts.append(Markup('<polyline class="{} {}" points="{}"/>').format(style, tint, " ".join(points)))

    def area(self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], tint: str) -> None:
        """Fill between two lines over the same `xs`."""
        outline = [*zip(xs, highs, strict=True), *reversed(list(zip(xs, lows, strict=True)))]
        points = " ".join(f"{self.to_x(x)},{self.to_y(y)}" for x, y in outline)
        self.parts.append(Markup('<polygon class="area {}" points="{}"/>').format(tint, points))

    def segment(self, x0: float, y0: float, x1: float, y1: float, tint: str, style: str = "whisker") -> None:
        """Draw a straight line between two points in data coordinates."""
        ends = self.to_x(x0), self.to_y(y0), self.to_x(x1), self.to_y(y1)
        self.parts.append(Markup('<path class="{} {}" d="M{},{}L{},{}"/>').format(style, tint, *ends))

    def marker(self, shape: str, x: float, y: float, tint: str, title: str) -> None:
        """Draw a marker at data coordinates; `title` is shown on hover."""
        self.parts.append(
            Markup('<path class="marker {} {}" transform="translate({},{})" d="{}"><title>{}</title></path>').format(
                shape, tint, self.to_x(x), self.to_y(y), SHAPES[shape], title
            )
        )

    def bar(self, value: float, top: float, thickness: float, tint: str, title: str) -> None:
        """Draw a horizontal bar from zero to `value`; `top` and `thickness` are in units."""
        start = self.to_x(max(0.0, self.x[0]))
        width = max(round(self.to_x(value) - start, 1), 0.8)
        self.parts.append(
            Markup('<rect class="bar {}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
                tint, start, round(top, 1), width, round(thickness, 1), title
            )
        )

    def picture(self, source: str) -> None:
        """Fill the plot area with an image (a data URI), its pixels kept sharp."""
        x, y = self.to_x.start, self.to_y.end
        size = self.to_x.end - x, self.to_y.start - y
        self.parts.append(
            Markup(
                '<image class="cells" x="{}" y="{}" width="{}" height="{}" preserveAspectRatio="none" href="{}"/>'
            ).format(x, y, *size, source)
        )

    def text(self, x: float, y: float, text: str, style: str, anchor: str = "start") -> None:
        """Write `text` at a position in units."""
        self.parts.append(
            Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
                style, round(x, 1), round(y, 1), anchor, text
            )
        )

    def render(self, description: str) -> Markup:
        """Return the SVG element; `description` is what a screen reader says."""
        return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
            self.width, self.height, description, Markup("").join(self.parts)
        )


def number(value: float) -> str:
    """Return a tick label: short, with a true minus sign."""
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}")
