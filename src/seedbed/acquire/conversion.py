"""What conversions share: many pieces of work on all cores, and a look at the images that masks are for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from joblib import Parallel, delayed
from PIL import Image

from seedbed.data.images import Size
from seedbed.errors import UserError
from seedbed.progress import Meter

# What Pillow raises on files that are cut off or are no images at all.
_DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)

Piece = TypeVar("Piece")


def work_off(
    work: Callable[[Piece], Any], pieces: Sequence[Piece], title: str, unit: str, done: int, jobs: int
) -> None:
    """Call `work` on each of `pieces` in `jobs` processes (0 = one per core); `done` more are done already.

    A UserError of any ends it; what the others have written by then stays.
    """
    pool = Parallel(n_jobs=jobs or len(os.sched_getaffinity(0)), return_as="generator_unordered")
    with Meter(title, done + len(pieces), unit=unit, done=done) as meter:
        for _ in pool(delayed(work)(piece) for piece in pieces):
            meter.advance(1)


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
