"""Opening image files, with the file named in every failure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seedbed.errors import UserError

Size = tuple[int, int]
"""(width, height), in pixels, as Pillow has it."""

# Pillow reports damage in several ways: truncation and unknown formats as OSError, broken PNG chunks as SyntaxError.
_DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_GREY_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}


def open_image(path: Path) -> Image.Image:
    """Return the image in `path`, all of its pixels decoded. Raises UserError when it is missing or damaged."""
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", "seedbed data check") from None
    except _DAMAGE as error:
        raise UserError(f"{path} cannot be decoded ({error})", f"replace {path} by an intact copy") from None


def read_rgb(path: Path) -> Image.Image:
    """Return the image in `path` as RGB. Raises UserError as `open_image` does."""
    return open_image(path).convert("RGB")


def read_grey(path: Path, size: Size | None = None) -> NDArray[np.uint8]:
    """Return the image in `path` as grey levels, uint8 [H,W], 0..255; colours become their luma.

    Raises UserError when the file is missing, damaged, not of 8 bits, or not of `size` where that is given.
    """
    image = open_image(path)
    if image.mode not in _GREY_MODES:
        raise UserError(f"{path} has pixels of mode {image.mode}, not of 8 bits", f"save {path} as 8-bit grey PNG")
    check_size(path, image.size, size)
    return np.array(image.convert("L"))


def check_size(path: Path, found: Size, expected: Size | None) -> None:
    """Raise UserError unless `found` equals `expected`, both (width, height); None expects nothing."""
    if expected is not None and tuple(found) != tuple(expected):
        raise UserError(
            f"{path} is {found[0]}x{found[1]} pixels, but its image is {expected[0]}x{expected[1]}",
            "seedbed data check lists every such file",
        )
