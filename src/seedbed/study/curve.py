"""How good a choice is by the number of labelled images that make it: draws of few images, scored on all others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from seedbed.evaluate.bootstrap import interval_of, percentiles
from seedbed.evaluate.scores import PRIMARY, VARIANTS, Areas, areas, mean_iou
from seedbed.seeds.rules import Values
from seedbed.study.numbers import number
from seedbed.study.split import choose_split
from seedbed.study.tables import Counts

Array = npt.NDArray[Any]


class Chooser(Protocol):
    """What chooses a setting of a rule by any images, and scores it on any others."""

    def on_others(self, names: Sequence[str]) -> float:
        """Return the mIoU, on all other images, of the setting that is best on the images `names`."""

    def on_all(self, choose: bool) -> Areas:
        """Return the areas [N,K] of all images: of the best setting for them if `choose`, else as published."""


@dataclass(frozen=True)
class Draws:
    """Sets of images to choose by: `sets` by their size, `seeds` of each; `samples`, `seed` of the bootstrap."""

    sets: Mapping[int, Sequence[Sequence[str]]]
    seeds: int
    samples: int
    seed: int

    @classmethod
    def of(
        cls, ids: Sequence[str], labels: Mapping[str, Array], sizes: Sequence[int], seeds: int, samples: int, seed: int
    ) -> Draws:
        """Draw as `choose_split` does with seeds `seed`, `seed` + 1, ...; no size that leaves no other image."""
        sets = {
            size: [choose_split(ids, labels, size, seed + number).tune for number in range(seeds)]
            for size in sorted(set(sizes))
            if size < len(ids)
        }
        return cls(sets, seeds, samples, seed)

    def curve(self, chooser: Chooser) -> list[dict[str, Any]] | None:
        """Return the entry `curve` of a rule in study.json; null without draws."""
        if not self.seeds:
            return None
        between = [self._drawn(size, [chooser.on_others(names) for names in sets]) for size, sets in self.sets.items()]
        return [self._fixed(0, chooser.on_all(choose=False)), *between, self._fixed("all", chooser.on_all(choose=True))]

    def _drawn(self, size: int, each: list[float]) -> dict[str, Any]:
        reached = [one for one in each if np.isfinite(one)]  # undefined where all other images are nothing but ignore
        mean = float(np.mean(reached)) if reached else math.nan
        return _entry(size, False, self.seeds, mean, percentiles(np.array(each)), reached)

    def _fixed(self, size: int | str, counted: Areas) -> dict[str, Any]:
        total = Areas(*(part.sum(axis=0) for part in counted))
        reached = float(mean_iou(total, VARIANTS[PRIMARY].absent))
        return _entry(size, size == "all", 0, reached, interval_of(counted, self.samples, self.seed), [])


def _entry(
    size: int | str, oracle: bool, seeds: int, reached: float, ends: tuple[float, float], each: list[float]
) -> dict[str, Any]:
    low, high = map(number, ends)
    return {
        "tune_images": size,
        "oracle": oracle,
        "seeds": seeds,
        "miou": number(reached),
        "low": low,
        "high": high,
        "each": each,
    }


@dataclass
class Tried(Chooser):
    """A chooser among few settings of a rule, the published one first: what each makes of every image.

    Who picked the settings must not have seen masks of these images, else no image is among the *others*.
    Of an image only the areas of classes that occur are kept.
    """

    settings: Sequence[Values]
    num_ids: int
    _images: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    _total: Array = field(init=False)

    def __post_init__(self) -> None:
        self._total = self._sum([])

    def add(self, name: str, confusions: Counts) -> None:
        """Add an image by its matrices [S,K,K+1], one per setting."""
        counted = np.stack(areas(confusions, VARIANTS[PRIMARY].ignore))
        classes = np.flatnonzero(counted.any(axis=(0, 1)))
        self._images[name] = classes, counted[..., classes].astype(np.int32)
        self._total += counted

    def on_others(self, names: Sequence[str]) -> float:
        """Return the mIoU, on all other images, of the setting that is best on the images `names`."""
        chosen = self._sum(names)
        return float(_miou(self._total - chosen)[_best(chosen)])

    def on_all(self, choose: bool) -> Areas:
        """Return the areas [N,K] of all images: of the best setting for them if `choose`, else as published."""
        setting = _best(self._total) if choose else 0
        found = np.zeros((len(Areas._fields), len(self._images), self.num_ids), np.int64)
        for index, (classes, counted) in enumerate(self._images.values()):
            found[:, index, classes] = counted[:, setting]
        return Areas(*found)

    def _sum(self, names: Sequence[str]) -> Array:
        """Add up images: int64 [3,S,K]."""
        total = np.zeros((len(Areas._fields), len(self.settings), self.num_ids), np.int64)
        for name in names:
            classes, counted = self._images[name]
            total[..., classes] += counted
        return total


def _miou(counted: Array) -> Array:
    return mean_iou(Areas(*counted), VARIANTS[PRIMARY].absent)


def _best(counted: Array) -> int:
    """Return the setting with the highest mIoU, the first of equals; without any true pixel the first of all."""
    return int(np.argmax(np.nan_to_num(_miou(counted), nan=-1.0)))
