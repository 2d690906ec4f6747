"""The search for CRF parameters: what is tried, and how a trial is scored on the pseudo-labels of labelled images."""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, SuccessiveHalvingPruner, WilcoxonPruner
from optuna.trial import Trial

from seedbed import IGNORE
from seedbed.crf.refiner import Refiner
from seedbed.evaluate.confusion import confusion
from seedbed.params import CrfParams, PrunerName
from seedbed.study.inputs import Machine
from seedbed.study.optima import miou, nothing_to_choose_by
from seedbed.study.trials import Number, Score, Search, Settings, prune

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.uint8]


class CrfItem(NamedTuple):
    """An image to refine: photo RGB uint8 [H,W,3], pseudo-label and ground truth uint8 [H,W], ids that may occur."""

    name: str
    image: Array
    labels: Mask
    truth: Mask
    candidates: Sequence[int]


@dataclass(frozen=True)
class Dimension:
    """Range of one CRF parameter, and how many values of it a grid has: those of a kernel's `width` evenly by ratio."""

    low: float
    high: float
    steps: int
    width: bool = False

    def including(self, published: float) -> Dimension:
        """Return the range widened where needed to include the `published` value."""
        return Dimension(min(self.low, published), max(self.high, published), self.steps, self.width)

    def grid(self, published: float) -> list[float]:
        """Return the values of a grid, ascending, the `published` one among them."""
        spread = (np.geomspace if self.width else np.linspace)(self.low, self.high, self.steps)
        return sorted({*spread.round(3).tolist(), float(published)})


SPACE: dict[str, Dimension] = {
    "confidence": Dimension(0.55, 0.95, 9),
    "gaussian_xy": Dimension(1, 10, 7, width=True),
    "gaussian_weight": Dimension(0, 10, 11),
    "bilateral_xy": Dimension(5, 160, 11, width=True),
    "bilateral_rgb": Dimension(1, 50, 12, width=True),
    "bilateral_weight": Dimension(0, 20, 11),
}
"""Where Optuna looks, widened where needed to include the published setting.

Kernel widths are always those of the grid, since the lattices of an image belong to its widths: trials share them.
"""

ITERATIONS = (1, 20)
_P_VALUE = 0.1  # of the paired test that ends a trial
_FEWEST = 6  # images before any test
_SLOW = range(7, 14)  # of so many images SciPy permutes all signs, in more time than a CRF takes: no test then
_CACHE = 2 << 30  # bytes of lattices


@dataclass(frozen=True)
class CrfSpace:
    """The CRF parameters that trials draw, the `published` setting among them; `discrete`: on a grid in everything."""

    published: CrfParams
    discrete: bool = False

    @property
    def first(self) -> dict[str, Number]:
        """What Optuna draws for the published setting."""
        return {name: getattr(self.published, name) for name in (*SPACE, "iterations")}

    @functools.cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna draws from, by parameter."""
        low, high = ITERATIONS
        own = self.published.iterations
        found: dict[str, BaseDistribution] = {"iterations": IntDistribution(min(low, own), max(high, own))}
        for name, one in self._dimensions.items():
            drawn_freely = FloatDistribution(one.low, one.high, log=one.width)
            found[name] = CategoricalDistribution(self._grids[name]) if self.discrete else drawn_freely
        return found

    def values(self, drawn: Settings) -> dict[str, Number]:
        """Return the setting that `drawn` parameters mean; others among them are left out."""
        found: dict[str, Number] = {"iterations": int(drawn["iterations"])}
        for name, one in self._dimensions.items():
            found[name] = _nearest(self._grids[name], drawn[name]) if one.width else float(drawn[name])
        return found

    def params(self, values: Settings) -> CrfParams:
        """Return the CRF parameters of a setting; what is not searched is as published."""
        return CrfParams.model_validate(self.published.model_dump() | {name: values[name] for name in self.first})

    @functools.cached_property
    def _dimensions(self) -> dict[str, Dimension]:
        return {name: one.including(getattr(self.published, name)) for name, one in SPACE.items()}

    @functools.cached_property
    def _grids(self) -> dict[str, list[float]]:
        return {name: one.grid(getattr(self.published, name)) for name, one in self._dimensions.items()}


def _nearest(grid: Sequence[float], drawn: float) -> float:
    """Return the value of a geometric `grid` next to a `drawn` one."""
    return min(grid, key=lambda value: abs(math.log(value / drawn)))


@dataclass(frozen=True)
class Trials:
    """Scores settings on `items`, whose lattices stay in memory; ids of masks are 0..num_ids-1.

    `pruner`: what ends a trial early, judged by the mIoU of each image (`wilcoxon`) or of those so far (`halving`).
    `timed`: a score is a pair, (mIoU, seconds per image); no lattice is kept then, for each use of a setting pays them.
    What only the first use pays, as loading and compiling, is paid beforehand.
    """

    items: Sequence[CrfItem]
    num_ids: int
    machine: Machine
    pruner: PrunerName = "wilcoxon"
    timed: bool = False
    _refiner: Refiner = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if all((item.truth == IGNORE).all() for item in self.items):
            raise nothing_to_choose_by()
        images = [item.image for item in self.items]
        jobs, cache = (1, 0) if self.timed else (self.machine.jobs, _CACHE)
        refiner = Refiner(images, self.machine.backend, jobs, self.machine.device, cache)
        object.__setattr__(self, "_refiner", refiner)
        if self.timed:
            first = self.items[0]
            list(refiner.refine([0], [first.labels], [first.candidates], CrfParams()))

    def search(self, space: CrfSpace) -> Search:
        """Describe the search for the parameters that refine the labels of the items best."""

        def objective(trial: Trial) -> Score:
            return self.score(trial, [item.labels for item in self.items], space.params(space.values(trial.params)))

        return Search(
            kind="crf",
            fingerprint=self.fingerprint((space.distributions, space.published), (item.labels for item in self.items)),
            objective=objective,
            published=space.first,
            values=space.values,
            space=space.distributions,
            startup=4,
            pruner=self.build_pruner(),
            timed=self.timed,
            images=len(self.items),
        )

    def score(self, trial: Trial, labels: Iterable[Mask], params: CrfParams) -> Score:
        """Return the mIoU of the items' `labels` refined with `params`. Raises TrialPruned where it is hopeless."""
        started = time.perf_counter()
        total = np.zeros((self.num_ids, self.num_ids + 1), np.int64)
        refined = self._refiner.refine(range(len(self.items)), labels, (item.candidates for item in self.items), params)
        for step, (item, mask) in enumerate(zip(self.items, refined, strict=True)):
            found = confusion(item.truth, mask, self.num_ids, item.name)
            total += found
            if not self.timed and self.pruner != "none":
                self._judge(trial, step, found, total)
        reached = float(miou(total))
        return (reached, (time.perf_counter() - started) / len(self.items)) if self.timed else reached

    def build_pruner(self) -> BasePruner | None:
        """Return what ends trials early; None for two objectives, between which no trial is hopeless."""
        if self.timed or self.pruner == "none":
            return None
        if self.pruner == "wilcoxon":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return WilcoxonPruner(p_threshold=_P_VALUE, n_startup_steps=_FEWEST)
        return SuccessiveHalvingPruner(min_resource=max(1, len(self.items) // 8), reduction_factor=2)

    def fingerprint(self, searched: Any, more: Iterable[Array]) -> str:
        """Return the SHA-256 (hex) of all that scores depend on: what is `searched`, the items, and `more` arrays."""
        content = hashlib.sha256(repr((searched, self.pruner, self.timed)).encode())
        for item in self.items:
            content.update(repr((item.name, item.image.shape, list(item.candidates))).encode())
        for array in itertools.chain(*((item.image, item.truth) for item in self.items), more):
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()

    def _judge(self, trial: Trial, step: int, found: Array, total: Array) -> None:
        """Report what image `step` adds, and raise TrialPruned where the trial is hopeless."""
        reached = float(miou(found if self.pruner == "wilcoxon" else total))
        if np.isnan(reached):  # all ignore: it says nothing of any trial
            return
        trial.report(reached, step + 1)
        if self.pruner == "wilcoxon" and step + 1 in _SLOW:
            return
        if step + 1 < len(self.items) and trial.should_prune():
            prune(trial, float(miou(total)))
