"""Training images as a map-style data set whose items depend on (seed, epoch, index) alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from seedbed import IGNORE
from seedbed.data.augment import augment
from seedbed.data.images import Size
from seedbed.data.masks import read_mask
from seedbed.data.saliency_sets import load_map
from seedbed.errors import UserError
from seedbed.params import AugmentParams

ImageReader = Callable[[str], Image.Image]
"""id -> RGB image."""
MaskReader = Callable[[str, Size], NDArray[np.uint8]]
"""id and size of its image -> ids, uint8 [H,W]."""

_FILL = {"saliency": 0, "mask": IGNORE}


@dataclass(frozen=True)
class MaskFolder:
    """Reader of the masks `folder`/<id>.png, pseudo-labels for instance."""

    folder: Path

    def __call__(self, image_id: str, size: Size) -> NDArray[np.uint8]:
        """Return the mask of `image_id`, uint8 [H,W]. Raises UserError when it is missing or not of `size`."""
        return read_mask(self.folder / f"{image_id}.png", size)


class TrainingImages(Dataset[dict[str, Tensor]]):
    """Augmented training images, indexed by (epoch, index) with index in 0..len-1.

    An item holds `image` float32 [3,c,c] and `index` int64 []; with `labels`, `label` float32 [C] (0 or 1); with
    `saliency_dir` (of <id>.png), `saliency` float32 [1,c,c] in 0..1, 0 outside the image; with `mask`, `mask` int64
    [c,c], 255 outside the image. All randomness comes from (seed, epoch, index): neither the number of loader workers
    nor the order of reading matters.
    Raises UserError for an id without label and, on reading, for a file that is missing, damaged or of another size.
    """

    def __init__(
        self,
        ids: Sequence[str],
        image: ImageReader,
        params: AugmentParams,
        seed: int,
        *,
        labels: Mapping[str, NDArray[np.float32]] | None = None,
        saliency_dir: Path | None = None,
        mask: MaskReader | None = None,
    ) -> None:
        self.ids = list(ids)
        self.image = image
        self.params = params
        self.seed = seed
        self.saliency_dir = saliency_dir
        self.mask = mask
        self.labels = None if labels is None else stack_labels(self.ids, labels)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = place
        image_id = self.ids[index]
        image = self.image(image_id)
        rng = np.random.default_rng((self.seed, epoch, index))
        picture, maps = augment(image, self._maps(image_id, image.size), self.params, rng, _FILL, nearest={"mask"})
        item = {"image": picture, **maps, "index": torch.tensor(index)}
        if self.labels is not None:
            item["label"] = self.labels[index]
        return item

    def _maps(self, image_id: str, size: Size) -> dict[str, Image.Image]:
        maps = {}
        if self.saliency_dir is not None:
            maps["saliency"] = load_map(self.saliency_dir / f"{image_id}.png", size)
        if self.mask is not None:
            maps["mask"] = self.mask(image_id, size)
        return {name: Image.fromarray(values) for name, values in maps.items()}


def stack_labels(ids: Sequence[str], labels: Mapping[str, NDArray[np.float32]]) -> Tensor:
    """Return the labels of `ids` as float32 [N,C]. Raises UserError naming an id without entry."""
    missing = [image_id for image_id in ids if image_id not in labels]
    if missing:
        raise UserError(f"{len(missing)} images have no image label, the first is '{missing[0]}'", "seedbed data check")
    return torch.from_numpy(np.stack([labels[image_id] for image_id in ids]).astype(np.float32))
