"""What the localiser and the saliency source made of the training images, by image id."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seedbed.data.saliency_sets import load_map
from seedbed.errors import UserError
from seedbed.seeds.batch import ClassMaps
from seedbed.seeds.store import MapStore
from seedbed.stages.context import Context


@dataclass(frozen=True)
class Maps:
    """Class maps and saliency maps of the training images."""

    context: Context
    method: str

    @cached_property
    def _store(self) -> MapStore:
        return MapStore(self.context.paths.seeds(self.method), f"seedbed seeds --method {self.method}")

    def cams(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Return class maps float16 [K,H,W] in 0..1 and their 0-based classes [K]."""
        return self._store.stored(image_id)

    def saliency(self, image_id: str) -> np.ndarray:
        """Return the saliency map uint8 [H,W]."""
        path = self.context.paths.saliency_maps() / f"{image_id}.png"
        if not path.is_file():
            raise UserError(f"image {image_id} has no saliency map {path}", "seedbed predict-saliency")
        return load_map(path)

    def image(self, image_id: str, saliency: bool) -> ClassMaps:
        """Return both kinds of map, `saliency` only if it is wanted."""
        return ClassMaps(image_id, *self.cams(image_id), self.saliency(image_id) if saliency else None)
