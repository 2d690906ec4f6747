"""Class activation maps of other projects: folders or zips of `<id>.npy`, pickled dicts of maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seedbed.data.images import Size
from seedbed.data.labels import Labels
from seedbed.data.safe_pickle import parse
from seedbed.errors import UserError
from seedbed.exchange.imports.findings import ContradictionError, Imported, Outcome
from seedbed.exchange.imports.place import Place
from seedbed.exchange.imports.reading import Item, Reader, fit
from seedbed.seeds.store import MapWriter

TOLERANCE = 1e-3
"""How far values may lie outside 0..1, by rounding; they are clipped."""

DROPPED = "maps of classes that are not in the image label: dropped"
LACKING = "no map of a class that is in the image label"

_FIX = "see whether keys count classes from 0, without background, in the order of data.classes; and the image labels"
_SHARD = 64  # images: at 480x640 with three classes, 120 MB


def import_seeds(reader: Reader, place: Place, labels: Labels) -> Imported:
    """Write the maps of `reader`'s images as a map store.

    A file holds a dict {class index 0..C-1: float [H,W]} (PSA, EPS, SEAM) or {keys: [K], high_res or cam: [K,H,W]}
    (IRN). Values must lie in 0..1, every map divided by its maximum; anything else is refused, since fusion rules
    compare them with thresholds. Classes that are not in the image's label are dropped. Maps of another size are
    resized to the image by Pillow's bilinear filter on float32. Raises UserError when nothing was taken; nothing is
    written then.
    """
    given = {image_id: np.flatnonzero(vector) for image_id, vector in labels.items()}
    with place.filled() as folder, MapWriter(folder, f"imported from {reader.source.name}", _SHARD) as writer:

        def take(outcome: Outcome) -> None:
            writer.add(outcome.image_id, *outcome.value)

        convert = _Convert(reader.voc.num_classes)
        return reader.run(convert, place.target, {".npy"}, given=given, take=take)


@dataclass(frozen=True)
class _Convert:
    classes: int

    def __call__(
        self, item: Item, content: bytes, size: Size
    ) -> tuple[tuple[NDArray[np.float16], NDArray[np.int64]], tuple[str, ...]]:
        value, labelled = parse(content, "the file"), item.given.tolist()
        _check_form(value, labelled)
        maps = class_maps(value, self.classes)
        kept = {index: maps[index] for index in sorted(maps) if index in labelled}
        if maps and labelled and not kept:
            raise ContradictionError(f"holds maps of classes {sorted(maps)}, but the image label says {labelled}", _FIX)
        notes: tuple[str, ...] = (DROPPED,) if len(kept) < len(maps) else ()
        notes += (LACKING,) if len(kept) < len(labelled) else ()
        fitted = [_fitted(values, size) for values in kept.values()]
        notes += tuple(dict.fromkeys(note for _, said in fitted for note in said))
        width, height = size
        stacked = np.empty((len(fitted), height, width), np.float16)
        for place, (values, _) in enumerate(fitted):
            stacked[place] = values
        return (stacked, np.array(list(kept), np.int64)), notes


def _check_form(value: Any, labelled: Sequence[int]) -> None:
    """Raise ContradictionError for what PSA writes after its CRF: key 0 is background there, k + 1 is class k."""
    if labelled and isinstance(value, dict) and value.keys() == {0, *(index + 1 for index in labelled)}:
        raise ContradictionError(
            f"PSA's CRF form, classes counted from 1 beside the background 0: it has the keys {list(value)}, the image "
            f"label says {labelled}",
            "give the class maps before the CRF: PSA's --out_cam, not --out_la_crf or --out_ha_crf",
        )


def class_maps(value: Any, classes: int) -> dict[int, NDArray[np.floating[Any]]]:
    """Return class index -> map [H,W] of what a file held. Raises UserError when it is none of the known forms."""
    if isinstance(value, dict) and "keys" in value:
        value = _irn(value)
    if not isinstance(value, dict):
        raise UserError(f"holds a {type(value).__name__}, not a dict from class index to map")
    maps = {}
    for key, values in value.items():
        if not isinstance(key, int | np.integer) or isinstance(key, bool) or not 0 <= key < classes:
            raise UserError(f"has the key {key!r:.60}; keys are the class indices 0..{classes - 1}, without background")
        if not isinstance(values, np.ndarray) or values.ndim != 2 or values.size == 0 or values.dtype.kind != "f":
            raise UserError(f"class {key} has no map: floats [H,W]")
        _check_range(int(key), values)
        maps[int(key)] = values
    return maps


def _irn(value: dict[Any, Any]) -> dict[Any, Any]:
    """Return IRN's stacked maps by class; those at image size, `high_res`, before the coarse `cam`."""
    keys, maps = value["keys"], value.get("high_res", value.get("cam"))
    if not (
        isinstance(keys, np.ndarray) and keys.ndim == 1 and isinstance(maps, np.ndarray) and len(maps) == len(keys)
    ):
        raise UserError("has keys, but not as many maps in high_res or cam")
    if len(set(keys.tolist())) < len(keys):
        raise UserError("names a class twice in keys")
    return dict(zip(keys.tolist(), maps, strict=True))


def _check_range(index: int, values: NDArray[np.floating[Any]]) -> None:
    low, high = float(values.min()), float(values.max())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # also when there is a NaN
        raise UserError(
            f"class {index} has values from {low:.4g} to {high:.4g}; expected are maps in 0..1: negative values "
            "cut off, then every map divided by its maximum"
        )


def _fitted(values: NDArray[np.floating[Any]], size: Size) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return a map at the `size` of its image, in 0..1."""
    height, width = values.shape
    notes = fit((width, height), size)
    values = values.astype(np.float32)
    if notes:
        values = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
    return values.clip(0, 1), notes
