"""The command `predict`: segment any photographs by a trained segmenter."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from PIL import Image

from seedbed.data.images import read_rgb
from seedbed.data.masks import voc_palette, write_mask
from seedbed.data.saliency_sets import IMAGE_SUFFIXES
from seedbed.errors import UserError
from seedbed.files import write_atomic
from seedbed.progress import Meter
from seedbed.segment.predict import Predictor
from seedbed.stages.context import Context
from seedbed.stages.segment import load_segmenter

logger = logging.getLogger(__name__)
_OPACITY = 0.55


def predict_photographs(
    context: Context, method: str, inputs: list[Path], out: Path, checkpoint: Path | None, overlay: bool, batch: int
) -> None:
    """Write `out`/<name>.png, a palette mask of the image's size, for every photograph of `inputs` (files and folders).

    `overlay` adds <name>-overlay.jpg. Raises UserError for inputs that are missing, hold no images, two of one name or
    images in `out` itself, and for weights of another architecture.
    """
    context.method(method)
    photographs = find_images(inputs)
    inside = [path for path in photographs.values() if path.parent.resolve() == out.resolve()]
    if inside:
        raise UserError(f"{inside[0]} lies in the folder {out} that the masks go to", "give another folder with --out")
    model = checkpoint or context.paths.model("segmenter", method)
    network = load_segmenter(context, model, f"seedbed train-segmenter --method {method}, or give --checkpoint FILE")
    predictor = Predictor(network, context.params.evaluate.model_copy(update={"batch": batch}), context.device)
    with Meter("predict", len(photographs)) as meter:
        for name, mask in predictor.masks(photographs):
            if overlay:
                write_overlay(out / f"{name}-overlay.jpg", photographs[name], mask)
            write_mask(out / f"{name}.png", mask)
            meter.advance(1)
    logger.info("%d masks in %s", len(photographs), out)


def find_images(inputs: list[Path]) -> dict[str, Path]:
    """Return the images among `inputs` by name (stem); folders stand for the images directly inside them."""
    found: dict[str, Path] = {}
    for entry in inputs:
        if not entry.exists():
            raise UserError(f"{entry} does not exist", "give image files, or folders that hold images")
        files = sorted(entry.iterdir()) if entry.is_dir() else [entry]
        for path in files:
            if entry.is_dir() and path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            if path.stem in found:
                raise UserError(
                    f"{found[path.stem]} and {path} would both become {path.stem}.png", "predict them into two folders"
                )
            found[path.stem] = path
    if not found:
        raise UserError(f"no images ({', '.join(IMAGE_SUFFIXES)}) in {', '.join(map(str, inputs))}")
    return found


def write_overlay(path: Path, photograph: Path, mask: np.ndarray) -> None:
    """Write the photograph with its mask uint8 [H,W] blended over it in VOC's colours; background stays as it is."""
    pixels = np.asarray(read_rgb(photograph), np.float32)
    colours = voc_palette()[mask].astype(np.float32)
    blend = np.where((mask > 0)[..., None], _OPACITY * colours + (1 - _OPACITY) * pixels, pixels)
    image = Image.fromarray(blend.round().astype(np.uint8))
    write_atomic(path, lambda stream: image.save(stream, "JPEG", quality=90), durable=False)
