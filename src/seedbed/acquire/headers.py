"""Sizes of image files, from their headers alone."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from seedbed.data.images import Size
from seedbed.errors import UserError

# What Pillow raises on files that are cut off or are no images at all.
_DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def check_header(image: Path, size: Size, source: Path, fix: str) -> None:
    """Raise UserError with `fix` unless `image` is there and of `size` (width, height), as `source` has it."""
    try:
        with Image.open(image) as opened:
            found = opened.size
    except FileNotFoundError:
        raise UserError(f"{source} needs the image {image}, which does not exist", fix) from None
    except _DAMAGE as error:
        raise UserError(f"{image} is no readable image ({error})", fix) from None
    if found != size:
        raise UserError(
            f"{image} is {found[0]}x{found[1]} pixels, but its annotation in {source} is for {size[0]}x{size[1]}", fix
        )
