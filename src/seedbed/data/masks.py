"""Index masks: palette PNGs of class ids, 0 = background, 255 = ignore."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seedbed.data.images import Size, check_size, open_image
from seedbed.errors import UserError
from seedbed.files import write_atomic


def voc_palette() -> NDArray[np.uint8]:
    """Return the colours of PASCAL VOC, uint8 [256,3]: bits of the id, three by three, are the high bits of R, G, B."""
    ids = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


def write_mask(path: Path, mask: NDArray[np.uint8]) -> None:
    """Write `mask`, uint8 [H,W], as palette PNG in VOC's colours, atomically."""
    image = Image.fromarray(np.ascontiguousarray(mask, np.uint8))
    image.putpalette(voc_palette().tobytes())
    write_atomic(path, lambda stream: image.save(stream, "PNG"), durable=False)


def read_mask(path: Path, size: Size | None = None) -> NDArray[np.uint8]:
    """Return the ids in `path`, uint8 [H,W]; palette and grey PNGs both hold ids directly.

    Raises UserError when the file is missing, damaged, in colour, or not of `size` (width, height) where that is given.
    """
    image = open_image(path)
    if image.mode not in {"P", "L"}:
        raise UserError(
            f"{path} has pixels of mode {image.mode}; a mask holds one class id per pixel",
            f"save {path} as palette or 8-bit grey PNG of class ids",
        )
    check_size(path, image.size, size)
    return np.array(image)


def check_ids(path: Path, mask: NDArray[np.uint8], num_classes: int) -> None:
    """Raise UserError when `mask`, read from `path`, holds an id that is neither 0..num_classes nor 255."""
    unknown = [int(value) for value in np.unique(mask) if num_classes < value < 255]
    if unknown:
        listed = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        raise UserError(
            f"{path} holds unknown class ids ({listed}); known are 0..{num_classes} and 255 (ignore)",
            "set data.classes in params.yaml to the classes of this data set",
        )
