"""Ready-made saliency maps: a folder of `<id>.png`, as the community exchanges them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from seedbed.data.batches import image_size
from seedbed.data.saliency_sets import load_map
from seedbed.errors import UserError


class FolderSource:
    """Reads the maps of a folder; a map must have its image's size."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(
                f"the folder of saliency maps {folder} does not exist",
                "put the maps there, or set saliency.source to fpn in params.yaml",
            )
        self.folder = folder

    def maps(self, paths: Mapping[str, Path]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (id, saliency map uint8 [H,W]) for every image of `paths`.

        Raises UserError naming the images without a map, before the first map; and an image or a map that is damaged.
        """
        with os.scandir(self.folder) as entries:  # one listing instead of a look-up per image
            there = {entry.name for entry in entries}
        missing = [name for name in paths if f"{name}.png" not in there]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(paths)} images have no saliency map in {self.folder}, first {missing[0]}.png",
                "add the missing maps, or set saliency.source to fpn in params.yaml",
            )
        for name, path in paths.items():
            yield name, load_map(self.folder / f"{name}.png", image_size(path))
