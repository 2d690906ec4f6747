"""Images for inference: grouped by size into batches, read ahead by a thread while the network works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from seedbed.data.images import Size, read_rgb
from seedbed.errors import UserError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class ImageBatch:
    """Images of one size. `ids`: B names; `images`: B RGB images; `size`: width and height in pixels."""

    ids: list[str]
    images: list[Image.Image]
    size: Size


def image_size(path: Path) -> Size:
    """Return (width, height) of the image in `path`, as its header says. Raises UserError when it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise UserError(f"image {path} does not exist", "seedbed data check") from None
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"image {path} cannot be read ({error})", "seedbed data check") from None


def group_by_size(paths: Mapping[str, Path], batch: int) -> list[list[str]]:
    """Return the names of `paths` in groups of at most `batch` images of equal size; reads the files' headers only."""
    sizes: dict[Size, list[str]] = {}
    for name, path in paths.items():
        sizes.setdefault(image_size(path), []).append(name)
    return [names[i : i + batch] for _, names in sorted(sizes.items()) for i in range(0, len(names), batch)]


def ahead(items: Iterable[T], work: Callable[[T], R]) -> Iterator[R]:
    """Yield `work(item)` in order; a thread is always one item ahead of the consumer. Memory holds two results."""
    with ThreadPoolExecutor(1) as pool:
        pending: Future[R] | None = None
        for item in items:
            following = pool.submit(work, item)
            if pending is not None:
                yield pending.result()
            pending = following
        if pending is not None:
            yield pending.result()


def image_batches(paths: Mapping[str, Path], batch: int) -> Iterator[ImageBatch]:
    """Yield every image of `paths` (name -> file) once, in batches of one size. Raises UserError on a damaged image."""

    def load(names: list[str]) -> ImageBatch:
        images = [read_rgb(paths[name]) for name in names]
        return ImageBatch(names, images, images[0].size)

    yield from ahead(group_by_size(paths, batch), load)
