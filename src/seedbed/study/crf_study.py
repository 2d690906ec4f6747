"""The study of the dense CRF: its parameters, tuned by Optuna on the pseudo-labels of a few labelled images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.pruners import MedianPruner
from optuna.trial import Trial

from seedbed.crf.dense import refine_many
from seedbed.evaluate.confusion import confusion
from seedbed.params import CrfParams
from seedbed.study.fusion_study import miou
from seedbed.study.trials import Runner, Search, Settings, TrialRecord, best

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CrfItem:
    """An image to refine: photo RGB uint8 [H,W,3], pseudo-label and ground truth uint8 [H,W], ids that may occur."""

    name: str
    image: Array
    labels: Array
    truth: Array
    candidates: Sequence[int]


@dataclass(frozen=True)
class Dimension:
    """Range of one CRF parameter."""

    low: float
    high: float
    log: bool = False


SPACE: dict[str, Dimension] = {
    "confidence": Dimension(0.55, 0.95),
    "gaussian_xy": Dimension(1, 10, log=True),
    "gaussian_weight": Dimension(0, 10),
    "bilateral_xy": Dimension(5, 160, log=True),
    "bilateral_rgb": Dimension(2, 50, log=True),
    "bilateral_weight": Dimension(0, 20),
}
"""Where Optuna looks, widened where needed to include the published setting."""

ITERATIONS = (1, 15)
_STAGES = 4  # a trial is compared with the others after each quarter of the images


@dataclass(frozen=True)
class CrfStudy:
    """What the study found: the mIoU of the `images` without CRF, and the trials (the first is as published)."""

    images: int
    without: float
    trials: list[TrialRecord]

    @property
    def chosen(self) -> CrfParams:
        """The best parameters."""
        return CrfParams.model_validate(best(self.trials).values)

    def describe(self) -> dict[str, Any]:
        """Return what study.json says of the CRF."""
        first, found = self.trials[0], best(self.trials)
        return {
            "images": self.images,
            "without": self.without,
            "published": {"params": first.values, "miou": first.miou},
            "chosen": {"params": found.values, "miou": found.miou},
            "trials": sum(trial.state == "complete" for trial in self.trials),
            "pruned": sum(trial.state == "pruned" for trial in self.trials),
        }


def study_crf(
    items: Sequence[CrfItem], num_ids: int, published: CrfParams, runner: Runner, trials: int, jobs: int
) -> CrfStudy:
    """Choose CRF parameters by the mIoU of the refined `items`; a trial below the median of others stops early."""

    def objective(trial: Trial) -> float:
        return _score(items, num_ids, _suggest(trial, published), jobs, trial)

    settings = published.model_dump()
    fingerprint = _fingerprint(items, settings)
    pruner = MedianPruner(n_startup_trials=3)
    search = Search("crf", fingerprint, objective, settings, dict, startup=4, pruner=pruner)
    records = runner.run(search, trials)
    before = np.sum([confusion(item.truth, item.labels, num_ids, item.name) for item in items], axis=0)
    return CrfStudy(len(items), float(miou(before)), records)


def _suggest(trial: Trial, published: CrfParams) -> CrfParams:
    settings: dict[str, float | int] = {}
    for name, dimension in SPACE.items():
        given = getattr(published, name)
        settings[name] = trial.suggest_float(
            name, min(dimension.low, given), max(dimension.high, given), log=dimension.log
        )
    low, high = ITERATIONS
    settings["iterations"] = trial.suggest_int(
        "iterations", min(low, published.iterations), max(high, published.iterations)
    )
    return CrfParams.model_validate(settings)


def _score(items: Sequence[CrfItem], num_ids: int, params: CrfParams, jobs: int, trial: Trial) -> float:
    """Return the mIoU of the refined items, added up image by image, so that a bad trial ends early (TrialPruned)."""
    stages = {len(items) * stage // _STAGES for stage in range(1, _STAGES)} - {0}
    total = np.zeros((num_ids, num_ids + 1), np.int64)
    refined = refine_many(((item.image, item.labels, item.candidates) for item in items), params, jobs)
    for done, (item, mask) in enumerate(zip(items, refined, strict=True), start=1):
        total += confusion(item.truth, mask, num_ids, item.name)
        if done in stages:
            trial.report(float(miou(total)), done)
            if trial.should_prune():
                raise optuna.TrialPruned
    return float(miou(total))


def _fingerprint(items: Sequence[CrfItem], published: Settings) -> str:
    content = hashlib.sha256(repr((sorted(published.items()), SPACE, ITERATIONS)).encode())
    for item in items:
        content.update(repr((item.name, item.image.shape, list(item.candidates))).encode())
        for array in (item.image, item.labels, item.truth):
            content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()
