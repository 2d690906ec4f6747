"""What a setting makes of image after image, added up by split as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from seedbed.evaluate.confusion import Collected, Confusion, Confusions


@dataclass
class Tally:
    """Confusion matrices (K, K+1) of one setting, K = `num_ids`: totals by split, and those of every report image.

    `tune`, `report`: ids of the two splits, which may share images. Of an image only the non-zero cells are kept.
    """

    num_ids: int
    tune: Sequence[str]
    report: Sequence[str]
    totals: dict[str, Confusion] = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.num_ids, self.num_ids + 1)
        self.totals = {split: np.zeros(shape, np.int64) for split in ("tune", "report", "all")}
        self._splits = {"tune": frozenset(self.tune), "report": frozenset(self.report)}
        self._reported = Collected(self.num_ids)

    def add(self, name: str, conf: Confusion) -> None:
        """Add the image `name`."""
        self.totals["all"] += conf
        for split, members in self._splits.items():
            if name in members:
                self.totals[split] += conf
        if name in self._splits["report"]:
            self._reported.add(name, conf)

    @property
    def per_image(self) -> Confusions:
        """Matrices of the report images, in their order. KeyError for one that was not added."""
        return self._reported.confusions(self.report)
