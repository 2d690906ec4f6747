"""What a setting makes of image after image, added up by split as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbed.evaluate.confusion import Confusion, Confusions

Array = npt.NDArray[Any]


@dataclass
class Tally:
    """Confusion matrices (K, K+1) of one setting, K = `num_ids`: totals by split, and those of every report image.

    `tune`, `report`: ids of the two splits, which may share images. Of an image only the non-zero cells are kept.
    """

    num_ids: int
    tune: Sequence[str]
    report: Sequence[str]
    totals: dict[str, Confusion] = field(init=False)
    _cells: dict[str, tuple[Array, Array]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.totals = {split: np.zeros(self._shape, np.int64) for split in ("tune", "report", "all")}
        self._splits = {"tune": frozenset(self.tune), "report": frozenset(self.report)}

    def add(self, name: str, conf: Confusion) -> None:
        """Add the image `name`."""
        self.totals["all"] += conf
        for split, members in self._splits.items():
            if name in members:
                self.totals[split] += conf
        if name in self._splits["report"]:
            occupied = np.flatnonzero(conf)
            self._cells[name] = occupied, conf.flat[occupied]

    @property
    def per_image(self) -> Confusions:
        """Matrices of the report images, in their order. KeyError for one that was not added."""
        return Confusions.of((self._matrix(name) for name in self.report), self.num_ids)

    def _matrix(self, name: str) -> Confusion:
        occupied, counts = self._cells[name]
        matrix = np.zeros(self._shape, np.int64)
        matrix.flat[occupied] = counts
        return matrix

    @property
    def _shape(self) -> tuple[int, int]:
        return self.num_ids, self.num_ids + 1
