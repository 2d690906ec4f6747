"""What a study works on: images and how to read them, and the machine to compute with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seedbed.study.tables import ImageMaps

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class StudyInputs:
    """The images of a study, all with a mask, and how to read them, by id.

    `name`: of the image list, for people; `labels`: 0/1 vectors [C]; `cams`: class maps [K,H,W] in 0..1, float16 or
    float32, and their 0-based classes [K]; `saliency`, `mask`: uint8 [H,W]; `image`: RGB uint8 [H,W,3]. `num_ids` is
    C + 1. No image may be one of `evaluation`, the ids that segmenters are evaluated on.
    """

    name: str
    ids: Sequence[str]
    num_ids: int
    labels: Mapping[str, Array]
    cams: Callable[[str], tuple[Array, Array]]
    saliency: Callable[[str], Array]
    mask: Callable[[str], Array]
    image: Callable[[str], Array]
    evaluation: Collection[str] = ()

    def maps(self, ids: Sequence[str], saliency: bool) -> Iterator[ImageMaps]:
        """Yield the maps of the images `ids`, one at a time; without `saliency`, that map is not read."""
        for name in ids:
            yield ImageMaps(name, *self.cams(name), self.mask(name), self.saliency(name) if saliency else None)

    def shown(self, ids: Sequence[str]) -> set[int]:
        """Return the 0-based classes in the image labels of `ids`."""
        return {int(index) for name in ids for index in np.flatnonzero(self.labels[name])}


@dataclass(frozen=True)
class Machine:
    """What to compute with: CRF workers (0 = one per core), CRF backend, and the device of tensors (None = CPU)."""

    jobs: int = 1
    backend: str = "auto"
    device: torch.device | None = None
