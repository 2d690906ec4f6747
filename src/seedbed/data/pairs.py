"""Pairs of related images, for localisers that look across images (ECCV 2020 MCIS; docs/methods.md, section MCIS)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from seedbed.data.augment import SAMPLING, augment, normalise
from seedbed.data.datasets import ImageReader, stack_labels
from seedbed.errors import UserError
from seedbed.params import AugmentParams


class Relations:
    """Which images show the same class; `labels` [N,C] is 1 where image n shows class c."""

    def __init__(self, labels: NDArray[np.float32]) -> None:
        self._classes = [np.flatnonzero(row) for row in labels]
        self._images = [np.flatnonzero(column) for column in labels.T]

    def related(self, rng: np.random.Generator, class_index: int, count: int) -> list[int]:
        """Return `count` images that show the class, each drawn from all of them: repetitions are possible.

        ValueError when no image shows the class.
        """
        images = self._images[class_index]
        return [int(images[place]) for place in rng.integers(len(images), size=count)]

    def partner(self, rng: np.random.Generator, index: int) -> int:
        """Return an image that shares a class with image `index`: first the class is drawn, then one of its images.

        Image `index` is among them, and all there is where no other image shows the class. ValueError when the image
        shows no class.
        """
        classes = self._classes[index]
        (image,) = self.related(rng, int(classes[rng.integers(len(classes))]), 1)
        return image


def views(image: Image.Image, size: int, sampling: Image.Resampling) -> dict[str, Tensor]:
    """Return an RGB image as the squares that MCIS pairs it with, each float32 [3,s,s] normalised.

    `base` and `mirrored` have side `size`, `small` int(0.75 size), `large` 2 size; the aspect ratio is given up. All
    are resized from `image` itself, on 8 bits (docs/methods.md, section MCIS).
    """

    def square(side: int) -> Tensor:
        return normalise(image.resize((side, side), sampling))

    base = square(size)
    return {"base": base, "mirrored": base.flip(-1), "small": square(int(0.75 * size)), "large": square(2 * size)}


class PairImages(Dataset[dict[str, Tensor]]):
    """Training images, each with a related one and three copies of itself, indexed by (epoch, index).

    An item holds, with S = `params.crop`: `image` and `related` float32 [3,S,S], whose colours are jittered apart from
    each other; `mirrored` [3,S,S], `small` and `large`, copies of the image without jitter (see `views`); `label` and
    `related_label` float32 [C] (0 or 1); `epoch` and `index` int64 []. All randomness, the choice of the related image
    too, comes from (seed, epoch, index): neither the number of loader workers nor the order of reading matters.
    Raises UserError for an id without label, for `params` other than plain squares, and, on reading, for an image that
    is missing or damaged.
    """

    def __init__(
        self,
        ids: Sequence[str],
        image: ImageReader,
        params: AugmentParams,
        seed: int,
        *,
        labels: Mapping[str, NDArray[np.float32]],
    ) -> None:
        _check_squares(params)
        self.ids = list(ids)
        self.image = image
        self.params = params
        self.seed = seed
        self.labels = stack_labels(self.ids, labels)
        _check_labelled(self.ids, self.labels)
        self.relations = Relations(self.labels.numpy())

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = place
        rng = np.random.default_rng((self.seed, epoch, index))
        partner = self.relations.partner(rng, index)
        first, second = (self.image(self.ids[number]) for number in (index, partner))
        image, related = (augment(picture, {}, self.params, rng, {})[0] for picture in (first, second))
        copies = views(first, self.params.crop, SAMPLING[self.params.interpolation])
        return {
            "image": image,
            "related": related,
            **{name: copies[name] for name in ("mirrored", "small", "large")},
            "label": self.labels[index],
            "related_label": self.labels[partner],
            "epoch": torch.tensor(epoch),
            "index": torch.tensor(index),
        }


def _check_squares(params: AugmentParams) -> None:
    """Raise UserError unless whole images are resized to squares of one size: the copies must match their image."""
    needed = {"resize": "square", "low": params.crop, "high": params.crop, "flip": 0}
    wrong = {name: value for name, value in needed.items() if getattr(params, name) != value}
    if wrong:
        given = ", ".join(f"{name}: {_shown(getattr(params, name))}" for name in wrong)
        wanted = ", ".join(f"{name}: {value}" for name, value in wrong.items())
        raise UserError(
            f"image pairs are squares of side crop = {params.crop}, not mirrored; augment says {given}",
            f"set {wanted} in the method's augment block in params.yaml",
        )


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check_labelled(ids: Sequence[str], labels: Tensor) -> None:
    bare = [image_id for image_id, row in zip(ids, labels, strict=True) if not row.any()]
    if bare:
        raise UserError(
            f"{len(bare)} images show no class, the first is '{bare[0]}': nothing is related to them",
            "label them, or take them off the list of training images (data.train)",
        )
