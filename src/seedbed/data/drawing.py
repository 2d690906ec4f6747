"""A small canvas for the embedded sample: arithmetic that gives the same bytes on every machine.

Only + - * / and comparisons touch pixels: sines and exponentials differ in the last bit between processors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seedbed import IGNORE

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SAMPLES = 2
"""Samples per pixel and axis."""


@dataclass
class Canvas:
    """A picture under construction, with the class id of each sample. Coordinates are pixels, y downwards."""

    width: int
    height: int
    colour: Floats = field(init=False)
    """Colours [h,w,3], 0..255, at SAMPLES samples per pixel and axis."""
    ids: NDArray[np.uint8] = field(init=False)
    """Class ids [h,w], on the same grid."""

    def __post_init__(self) -> None:
        rows, columns = self.height * SAMPLES, self.width * SAMPLES
        self.colour = np.zeros((rows, columns, 3))
        self.ids = np.zeros((rows, columns), np.uint8)
        self.y, self.x = (np.mgrid[0:rows, 0:columns] + 0.5) / SAMPLES

    def blend(self, alpha: Floats, colour: ArrayLike) -> None:
        """Lay `colour` ([3] or [h,w,3]) over the picture with opacity `alpha` ([h,w], 0..1)."""
        self.colour += (np.asarray(colour, np.float64) - self.colour) * alpha[..., None]

    def paint(self, inside: Bools, colour: ArrayLike, class_id: int) -> None:
        """Paint the samples `inside` and give them `class_id`."""
        np.copyto(self.colour, np.asarray(colour, np.float64), where=inside[..., None])
        self.ids[inside] = class_id

    def picture(self, grain: Floats) -> NDArray[np.uint8]:
        """Return the picture, uint8 [H,W,3], with `grain` [H,W] added to its grey levels."""
        blocks = self.colour.reshape(self.height, SAMPLES, self.width, SAMPLES, 3)
        total = blocks[:, 0, :, 0] + blocks[:, 0, :, 1] + blocks[:, 1, :, 0] + blocks[:, 1, :, 1]
        levels: NDArray[np.uint8] = np.clip(np.rint(total / SAMPLES**2 + grain[..., None]), 0, 255).astype(np.uint8)
        return levels

    def mask(self) -> NDArray[np.uint8]:
        """Return the ids, uint8 [H,W], with 255 along every border: wherever one sample around a pixel differs."""
        padded = np.pad(self.ids, 1, mode="edge")
        side = SAMPLES + 2
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))[::SAMPLES, ::SAMPLES]
        low, high = windows.min(axis=(2, 3)), windows.max(axis=(2, 3))
        mask: NDArray[np.uint8] = np.where(low == high, low, IGNORE).astype(np.uint8)
        return mask

    def coverage(self) -> NDArray[np.uint8]:
        """Return which part of each pixel has a class id, as grey level, uint8 [H,W]."""
        blocks = (self.ids > 0).reshape(self.height, SAMPLES, self.width, SAMPLES)
        levels: NDArray[np.uint8] = (blocks.sum(axis=(1, 3)) * 255 // SAMPLES**2).astype(np.uint8)
        return levels


@dataclass(frozen=True)
class Frame:
    """Coordinates of an object, centred on (x, y) in pixels, mirrored or not."""

    x: float
    y: float
    unit: float
    """Pixels per unit of the object's own coordinates."""
    turn: float = 0.0
    """Tangent of half the angle that the object is turned by."""
    mirrored: bool = False

    def local(self, canvas: Canvas) -> tuple[Floats, Floats]:
        """Return the canvas' samples in this frame, in units: u to the front, v downwards, each [h,w]."""
        cosine = (1 - self.turn * self.turn) / (1 + self.turn * self.turn)
        sine = 2 * self.turn / (1 + self.turn * self.turn)
        x, y = (canvas.x - self.x) / self.unit, (canvas.y - self.y) / self.unit
        u, v = cosine * x + sine * y, cosine * y - sine * x
        return (-u if self.mirrored else u), v


def wave(phase: Floats) -> Floats:
    """Return a smooth wave of period 1, -1..1, a parabola's stand-in for the sine."""
    triangle = 4 * np.abs(phase - np.floor(phase) - 0.5) - 1
    return triangle * (1.5 - 0.5 * triangle * triangle)


def noise(canvas: Canvas, rng: np.random.Generator, cell: float) -> Floats:
    """Return smooth value noise, -1..1, [h,w], with features of about `cell` pixels."""
    lattice = rng.random((int(canvas.height / cell) + 3, int(canvas.width / cell) + 3)) * 2 - 1
    x, y = canvas.x[0] / cell + rng.random(), canvas.y[:, 0] / cell + rng.random()
    column, row = x.astype(int), y.astype(int)
    along, down = smooth(x - column), smooth(y - row)[:, None]
    strips = lattice[row] * (1 - down) + lattice[row + 1] * down
    values: Floats = strips[:, column] * (1 - along) + strips[:, column + 1] * along
    return values


def smooth(level: Floats) -> Floats:
    """Return `level` clipped to 0..1 with soft ends (smoothstep)."""
    clipped = np.clip(level, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)


def disc(u: Floats, v: Floats, centre: Sequence[float] = (0, 0), radii: Sequence[float] = (1, 1)) -> Bools:
    """Return the samples inside an ellipse."""
    p, q = (u - centre[0]) / radii[0], (v - centre[1]) / radii[1]
    return np.asarray(p * p + q * q < 1)


def box(u: Floats, v: Floats, centre: Sequence[float] = (0, 0), radii: Sequence[float] = (1, 1)) -> Bools:
    """Return the samples inside a rectangle with rounded corners."""
    p, q = (u - centre[0]) / radii[0], (v - centre[1]) / radii[1]
    p, q = p * p, q * q
    p, q = p * p, q * q
    return np.asarray(p * p + q * q < 1)
