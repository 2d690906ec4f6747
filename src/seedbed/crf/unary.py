"""What each pixel of an image is by itself: unary energies from labels, from probabilities, or given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seedbed import IGNORE
from seedbed.errors import UserError

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]
Energies = npt.NDArray[np.float32]


class Unary(Protocol):
    """Energies of M classes at every pixel of an image."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """M, H, W."""

    def energies(self) -> Energies:
        """Return float32 [M,H,W]; the order in memory is free."""

    def tensor(self, device: torch.device) -> Tensor:
        """Return the same energies as a tensor [H*W,M] on the `device`."""


@dataclass(frozen=True)
class LabelUnary:
    """A labelled pixel is of its class with probability `confidence`; an ignored one is undecided between all.

    `labels` uint8 [H,W] hold some of the `ids` (ascending uint8 [M], M > 1) or 255.
    """

    labels: Mask
    ids: Mask
    confidence: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """M, H, W."""
        return (self.ids.size, *self.labels.shape)

    def energies(self) -> Energies:
        """Return minus the log of the probability of each class given the label."""
        return np.take(self._table(), self.labels, axis=0).transpose(2, 0, 1)

    def tensor(self, device: torch.device) -> Tensor:
        """Return the same [H*W,M]; only the labels travel to the `device`."""
        return to_device(self._table(), device)[to_device(self.labels, device).flatten().long()]

    def _table(self) -> Energies:
        """Return the energies [256,M] of every label."""
        probability = np.full((256, self.ids.size), (1 - self.confidence) / (self.ids.size - 1))
        probability[self.ids, np.arange(self.ids.size)] = self.confidence
        probability[IGNORE] = 1 / self.ids.size
        return -np.log(probability).astype(np.float32)


@dataclass(frozen=True)
class ScoreUnary:
    """Class `probabilities` float32 [M,H,W], not below `floor`."""

    probabilities: Probabilities
    floor: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """M, H, W."""
        return self.probabilities.shape

    def energies(self) -> Energies:
        """Return minus the log of the probabilities."""
        return -np.log(np.clip(self.probabilities, np.float32(self.floor), np.float32(1)))

    def tensor(self, device: torch.device) -> Tensor:
        """Return the same [H*W,M]."""
        return -to_device(self.probabilities, device).flatten(1).T.clamp(self.floor, 1).log()


@dataclass(frozen=True)
class GivenUnary:
    """Energies of the caller's, float32 [M,H,W]."""

    given: Energies

    @property
    def shape(self) -> tuple[int, int, int]:
        """M, H, W."""
        return self.given.shape

    def energies(self) -> Energies:
        """Return them."""
        return self.given

    def tensor(self, device: torch.device) -> Tensor:
        """Return them as [H*W,M]."""
        return to_device(self.given, device).flatten(1).T


@dataclass(frozen=True)
class Problem:
    """An image (RGB uint8 [H,W,3]) and its unary energies. Problems of equal `key`, not None, have the same image.

    Raises UserError where the two do not fit.
    """

    image: Image
    unary: Unary
    key: int | None = None

    def __post_init__(self) -> None:
        _, height, width = self.unary.shape
        if self.image.dtype != np.uint8 or self.image.shape != (height, width, 3):
            raise UserError(
                f"CRF: image {self.image.dtype} {self.image.shape} does not fit labels of height {height} and width "
                f"{width}; it must be RGB uint8 of their size"
            )


def to_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Return the `array` on the `device`; it is copied where torch could not share it."""
    return torch.as_tensor(np.require(array, requirements=["C", "W"]), device=device)


def label_ids(labels: Mask, candidates: Sequence[int]) -> Mask:
    """Return the `candidates` ascending and once each, uint8. ValueError: `labels` hold others than them or 255."""
    ids = np.unique(np.asarray(candidates, np.uint8))
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    unknown = np.setdiff1d(present, [*ids, IGNORE])
    if unknown.size:
        raise ValueError(f"labels hold ids {unknown.tolist()} that are not among the candidates {ids.tolist()}")
    return ids
