"""Saliency maps of other projects: folders or zips of `<id>.png`, `<id>_sal.png`, `<id>.jpg`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seedbed.data.images import Size
from seedbed.errors import UserError
from seedbed.exchange.imports.findings import Imported
from seedbed.exchange.imports.place import Place
from seedbed.exchange.imports.reading import Item, Reader, decode, fit
from seedbed.files import write_atomic

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
ENDINGS = ("_sal", "-sal", "_saliency", "-saliency", "_salmap", "_smap", "_map", "_pred", "_SAL", "_Sal")
"""What stands between id and suffix in the files of known projects."""

COLOUR = "in colour: the mean of red, green and blue was taken"
SIXTEEN = "of 16 bits: 0..65535 became 0..255"
DARK = "no grey level above 1: if these are masks of 0 and 1, multiply them by 255"

_LEVEL = 1  # of compression: four times as fast as Pillow's own choice, for files a third larger


def import_saliency(reader: Reader, place: Place) -> Imported:
    """Write the maps of `reader`'s images as 8-bit grey `<id>.png`, at the size of their images.

    Colours become the mean of the three channels, as EPS reads maps; transparency is dropped; 16 bits become 8. Then a
    map of another size is resized by Pillow's bilinear filter on 8 bits; one of another aspect ratio is refused, unless
    it is square. Raises UserError when nothing was taken; nothing is written then.
    """
    with place.filled() as folder:
        return reader.run(_Convert(folder), place.target, SUFFIXES, ENDINGS)


@dataclass(frozen=True)
class _Convert:
    folder: Path

    def __call__(self, item: Item, content: bytes, size: Size) -> tuple[None, tuple[str, ...]]:
        levels, notes = grey_levels(decode(content))
        grey = Image.fromarray(levels)
        notes += fit(grey.size, size)
        if levels.max() == 1:
            notes += (DARK,)
        if grey.size != size:
            grey = grey.resize(size, Image.Resampling.BILINEAR)
        path = self.folder / f"{item.image_id}.png"
        write_atomic(path, lambda stream: grey.save(stream, "PNG", compress_level=_LEVEL), durable=False)
        return None, notes


def grey_levels(image: Image.Image) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return an image of any kind as grey levels, uint8 [H,W], and what must be said of that."""
    if image.mode in {"I;16", "I;16B", "I;16L", "I"}:
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise UserError("has more than 16 bits")
        return ((levels + 128) // 257).astype(np.uint8), (SIXTEEN,)
    if image.mode in {"L", "LA", "1"}:
        return np.array(image.convert("L")), ()
    if image.mode not in {"P", "RGB", "RGBA", "CMYK"}:
        raise UserError(f"has pixels of mode {image.mode}, neither grey nor RGB")
    channels = np.asarray(image.convert("RGB")).astype(np.uint16)
    grey = bool((channels == channels[..., :1]).all())
    return ((channels.sum(2) + 1) // 3).astype(np.uint8), (() if grey else (COLOUR,))
