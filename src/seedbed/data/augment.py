"""Random resize, flip, colour jitter and crop of training images (CVPR 2021 EPS, code halbielee/EPS).

The defaults are EPS's; the other values of `AugmentParams` serve MCIS (docs/methods.md, sections MCIS and Segmenters).
What is random (`draw`) is apart from what is done with it (`apply`), so that published cases can be replayed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from seedbed.data.images import Size
from seedbed.params import AugmentParams

MEAN = (0.485, 0.456, 0.406)
"""ImageNet mean of R, G and B, in 0..1."""
STD = (0.229, 0.224, 0.225)
"""ImageNet standard deviation of R, G and B, in 0..1."""

SAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
"""Pillow's filter for each value of `AugmentParams.interpolation`."""

_ROUNDING: dict[str, Callable[[float], int]] = {"nearest": round, "down": math.floor}
_JITTER: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "brightness": functional.adjust_brightness,
    "contrast": functional.adjust_contrast,
    "saturation": functional.adjust_saturation,
    "hue": functional.adjust_hue,
}


@dataclass(frozen=True)
class Draw:
    """What happens to one image: the random choices, and the parameters to carry them out."""

    size: Size
    """(width, height) after the resize."""
    flip: bool
    """Whether the image is mirrored."""
    jitter: tuple[tuple[str, float], ...]
    """(operation, amount) in the order of application."""
    left: int
    """Start of the window, or offset on the canvas where the image is no wider than the crop."""
    top: int
    """As `left`, for rows."""
    crop: int
    """Side of the square result, pixels."""
    sampling: Image.Resampling = Image.Resampling.BICUBIC
    """Filter for the image and for maps of continuous values."""


def long_side_size(size: Size, long_side: int) -> Size:
    """Return (width, height) scaled so that the longer is `long_side` pixels; the other is rounded half to even."""
    width, height = size
    longest = max(width, height)
    return max(1, round(width * long_side / longest)), max(1, round(height * long_side / longest))


def scaled_size(size: Size, factor: float, rounding: Callable[[float], int] = round) -> Size:
    """Return (width, height) times `factor`, made whole by `rounding` (half to even unless told otherwise)."""
    return max(1, rounding(size[0] * factor)), max(1, rounding(size[1] * factor))


def resize_long(image: Image.Image, long_side: int) -> Image.Image:
    """Return `image` resized (bicubic, on 8 bits) so that its long side is `long_side` pixels."""
    return image.resize(long_side_size(image.size, long_side), Image.Resampling.BICUBIC)


def normalise(image: Image.Image | NDArray[np.uint8]) -> Tensor:
    """Return an RGB image (uint8 [H,W,3]) as network input: float32 [3,H,W], /255, less MEAN, over STD."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return ((pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]).contiguous()


def draw(size: Size, params: AugmentParams, rng: np.random.Generator) -> Draw:
    """Return random choices for an image of `size` (width, height). A side is drawn with both ends included."""
    resized = _resized(size, params, _draw_amount(params, rng))
    flip = bool(rng.random() < params.flip)
    jitter = _draw_jitter(params, rng)
    left, top = (_draw_start(side, params, rng) for side in resized)
    return Draw(resized, flip, jitter, left, top, params.crop, SAMPLING[params.interpolation])


def _draw_amount(params: AugmentParams, rng: np.random.Generator) -> float:
    """Return a side in pixels or a factor."""
    if params.step is not None:
        # Decimal fractions fall a little short: four steps of 0.1 must fit between 0.8 and 1.2, and two on top of 0.7
        # make 0.9, lest a side lose a pixel when it is rounded down.
        steps = math.floor((params.high - params.low) / params.step + 1e-9)
        return round(params.low + params.step * int(rng.integers(steps, endpoint=True)), 9)
    if params.resize == "factor":
        return float(rng.uniform(params.low, params.high))
    return int(rng.integers(int(params.low), int(params.high), endpoint=True))


def _resized(size: Size, params: AugmentParams, amount: float) -> Size:
    if params.resize == "factor":
        return scaled_size(size, amount, _ROUNDING[params.rounding])
    side = int(amount)
    return (side, side) if params.resize == "square" else long_side_size(size, side)


def _draw_start(side: int, params: AugmentParams, rng: np.random.Generator) -> int:
    """Return where on this axis the window starts, or the image on its canvas."""
    if side < params.crop and params.place == "corner":
        return 0
    return int(rng.integers(abs(side - params.crop), endpoint=True))


def _draw_jitter(params: AugmentParams, rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    amounts = {
        name: float(rng.uniform(1 - spread, 1 + spread))
        for name, spread in (
            ("brightness", params.brightness),
            ("contrast", params.contrast),
            ("saturation", params.saturation),
        )
        if spread > 0
    }
    if params.hue > 0:
        amounts["hue"] = float(rng.uniform(-params.hue, params.hue))
    names = list(amounts)
    return tuple((names[place], amounts[names[place]]) for place in rng.permutation(len(names)))


def apply(
    choice: Draw,
    image: Image.Image,
    maps: Mapping[str, Image.Image],
    fill: Mapping[str, int],
    nearest: Collection[str] = frozenset(),
) -> tuple[Tensor, dict[str, Tensor]]:
    """Carry out `choice` on an RGB image and on grey maps of its size.

    Returns the image as float32 [3,c,c], normalised, 0 (the mean colour) where the canvas shows; and the maps: those
    in `nearest` resized without mixing values, int64 [c,c]; the others resized as the image, float32 [1,c,c] in 0..1.
    `fill` gives each map's value (0..255) where the canvas shows.
    """
    picture = _move(image, choice, choice.sampling)
    for name, amount in choice.jitter:
        picture = _JITTER[name](picture, amount)
    window, canvas = _windows(choice)
    tensor = torch.zeros(3, choice.crop, choice.crop)
    tensor[(slice(None), *canvas)] = normalise(np.asarray(picture)[window])
    tensors = {}
    for name, grey in maps.items():
        sampling = Image.Resampling.NEAREST if name in nearest else choice.sampling
        values = np.full((choice.crop, choice.crop), fill[name], np.uint8)
        values[canvas] = np.asarray(_move(grey, choice, sampling))[window]
        level = torch.from_numpy(values)
        tensors[name] = level.long() if name in nearest else level[None].float() / 255
    return tensor, tensors


def augment(
    image: Image.Image,
    maps: Mapping[str, Image.Image],
    params: AugmentParams,
    rng: np.random.Generator,
    fill: Mapping[str, int],
    nearest: Collection[str] = frozenset(),
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return `image` and `maps` after the random choices that `rng` makes; see `apply`."""
    return apply(draw(image.size, params, rng), image, maps, fill, nearest)


def _move(image: Image.Image, choice: Draw, sampling: Image.Resampling) -> Image.Image:
    """Return `image` resized and perhaps mirrored."""
    resized = image.resize(choice.size, sampling)
    return resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if choice.flip else resized


def _windows(choice: Draw) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return (rows, columns) of the resized image that are kept, and (rows, columns) of the canvas where they go."""
    width, height = choice.size
    pairs = []
    for side, start in ((height, choice.top), (width, choice.left)):
        if side > choice.crop:
            pairs.append((slice(start, start + choice.crop), slice(0, choice.crop)))
        else:
            pairs.append((slice(0, side), slice(start, start + side)))
    (rows, canvas_rows), (columns, canvas_columns) = pairs
    return (rows, columns), (canvas_rows, canvas_columns)
