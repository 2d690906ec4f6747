"""Ready-made pseudo-labels of other projects: folders or zips of `<id>.png`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seedbed import IGNORE
from seedbed.data.images import Size
from seedbed.data.masks import voc_palette, write_mask
from seedbed.errors import UserError
from seedbed.exchange.imports.findings import Imported
from seedbed.exchange.imports.place import Place
from seedbed.exchange.imports.reading import Item, Reader, decode

COLOUR = "in VOC's colours: mapped to class ids"

_CODE = np.array([1 << 16, 1 << 8, 1])  # one number per colour


def import_pseudo(reader: Reader, place: Place, ignore: int = IGNORE) -> Imported:
    """Write the masks of `reader`'s images as palette `<id>.png` of 0..C and 255.

    Palette and grey PNGs hold ids directly; RGB ones must hold VOC's colours. `ignore` is the id that the project uses
    for pixels without a label (SGAN: 21); 255 always means that. A mask must have its image's size: labels are not
    resized. Raises UserError when nothing was taken, nothing being written then, and when `ignore` is a class.
    """
    classes = reader.voc.num_classes
    if not classes < ignore <= IGNORE:
        raise UserError(f"id {ignore} cannot mean ignore: ids 0..{classes} are background and classes, 255 is the last")
    with place.filled() as folder:
        return reader.run(_Convert(folder, classes, ignore), place.target, {".png"})


@dataclass(frozen=True)
class _Convert:
    folder: Path
    classes: int
    ignore: int

    def __call__(self, item: Item, content: bytes, size: Size) -> tuple[None, tuple[str, ...]]:
        image = decode(content)
        if image.size != size:
            raise UserError(
                f"is {image.width}x{image.height} pixels, but its image {size[0]}x{size[1]}: labels are not resized",
                "give masks of the size of their images",
            )
        ids, notes = mask_ids(image)
        ids = np.where(ids == self.ignore, np.uint8(IGNORE), ids)
        unknown = [int(value) for value in np.unique(ids) if self.classes < value < IGNORE]
        if unknown:
            listed = ", ".join(map(str, unknown[:5]))
            fix = f"give --ignore {unknown[0]}, if that marks pixels without a label" if len(unknown) == 1 else None
            raise UserError(
                f"holds unknown ids ({listed}); known are 0..{self.classes} and {self.ignore} (ignore)", fix
            )
        write_mask(self.folder / f"{item.image_id}.png", ids)
        return None, notes


def mask_ids(image: Image.Image) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return the ids in a mask, uint8 [H,W], and what must be said of that.

    Raises UserError for colours that are not VOC's, and for a palette that gives VOC's colours to other ids.
    """
    if image.mode == "P":
        ids = np.array(image)
        _check_palette(image, ids)
        return ids, ()
    if image.mode == "L":
        return np.array(image), ()
    if image.mode == "RGBA" and np.asarray(image.getchannel("A")).min() < 255:
        raise UserError("is transparent in places: a mask has one class id per pixel")
    if image.mode not in {"RGB", "RGBA"}:
        raise UserError(f"has pixels of mode {image.mode}; a mask holds one class id per pixel, or VOC's colours")
    codes = np.asarray(image.convert("RGB")).astype(np.int64) @ _CODE
    palette = voc_palette().astype(np.int64) @ _CODE
    order = np.argsort(palette)
    places = np.searchsorted(palette[order], codes).clip(max=255)
    ids = order[places]
    unknown = np.unique(codes[palette[ids] != codes])
    if unknown.size:
        red, green, blue = unknown[0] >> 16, unknown[0] >> 8 & 255, unknown[0] & 255
        raise UserError(f"holds the colour ({red}, {green}, {blue}), which is none of VOC's")
    return ids.astype(np.uint8), (COLOUR,)


def _check_palette(image: Image.Image, ids: NDArray[np.uint8]) -> None:
    """Raise UserError when the palette says, in VOC's colours, that the indices are no class ids: tools reorder it."""
    colours = np.zeros((256, 3), np.int64)
    given = np.asarray(image.getpalette("RGB") or []).reshape(-1, 3)
    colours[: len(given)] = given
    used = np.unique(ids)
    shown, expected = colours[used], voc_palette().astype(np.int64)
    coloured = (shown != shown[:, :1]).any()
    known = set((expected @ _CODE).tolist())
    if coloured and (shown != expected[used]).any() and set((shown @ _CODE).tolist()) <= known:
        raise UserError("its palette gives VOC's colours to other ids: a tool has reordered it; save it as RGB")
