"""The study of fusion rules that no sweep covers: they are applied anew to the images for every setting."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.trial import Trial

from seedbed import IGNORE
from seedbed.errors import named
from seedbed.evaluate.confusion import confusion
from seedbed.seeds.fusion import find_rule
from seedbed.seeds.rules import Rule, Values
from seedbed.study.fusion_study import choice, miou, nothing_to_choose_by
from seedbed.study.scoring import Reporter, describe_rule
from seedbed.study.tables import Array, Counts, ImageMaps
from seedbed.study.trials import Number, Runner, Search, Settings, TrialRecord

Reader = Callable[[Sequence[str]], Iterable[ImageMaps]]
"""Ids -> their images with saliency maps, one at a time, in this order."""


@dataclass(frozen=True)
class Application:
    """Studies rules by applying them to the images `ids` that `read` reads; ids of masks are 0..num_ids-1.

    The tune images stay in memory during the trials, in the form that the rule reads; of all others only the non-zero
    cells of their confusion matrices.
    """

    read: Reader
    ids: Sequence[str]
    num_ids: int
    reporter: Reporter

    def study(self, rule: str, runner: Runner, trials: int) -> tuple[dict[str, Any], list[TrialRecord]]:
        """Return the entry of `rule` in study.json, and the trials behind it.

        There is no exact optimum to compare with, so no regret, no oracle and no surface.
        """
        entry = find_rule(rule)
        records = runner.run(self._search(entry), trials)
        points = self._points(entry, {"published": entry.published, "chosen": choice(records)})
        found = {"points": points, "regret": None, "trials": len(records), "surface": None}
        return describe_rule(rule) | found, records

    def _search(self, rule: Rule) -> Search:
        """Describe the search over steps of every parameter; Optuna's parameters count steps."""
        tune = [image._replace(cams=rule.compact(image.cams)) for image in self.read(self.reporter.tune)]
        if all((image.truth == IGNORE).all() for image in tune):
            raise nothing_to_choose_by()
        last = {one.name: round((one.high - one.low) / one.step) for one in rule.parameters}

        def values(chosen: Settings) -> dict[str, Number]:
            return {one.name: round(one.low + chosen[one.name] * one.step, 6) for one in rule.parameters}

        def objective(trial: Trial) -> float:
            setting = values({name: trial.suggest_int(name, 0, steps) for name, steps in last.items()})
            return float(miou(np.sum([confusion_of(rule, setting, image, self.num_ids) for image in tune], axis=0)))

        published = {one.name: round((one.published - one.low) / one.step) for one in rule.parameters}
        return Search(f"fusion/{rule.name}", _fingerprint(rule, tune), objective, published, values)

    def _points(self, rule: Rule, points: dict[str, dict[str, float]]) -> dict[str, Any]:
        """Score settings of `rule` in one pass over all images."""
        tune, shape = frozenset(self.reporter.tune), (self.num_ids, self.num_ids + 1)
        found = {name: Found(shape) for name in points}
        for image in self.read(self.ids):
            compact = image._replace(cams=rule.compact(image.cams))
            for name, values in points.items():
                found[name].add(confusion_of(rule, values, compact, self.num_ids), image.name in tune)
        return {
            name: self.reporter.point(rule.name, name, values, found[name].per_image, found[name].totals)
            for name, values in points.items()
        }


@dataclass
class Found:
    """Confusion matrices of `shape` (K, K+1) of one setting: totals, and non-zero cells of each report image."""

    shape: tuple[int, int]
    tune: Counts = field(init=False)
    report: Counts = field(init=False)
    cells: list[tuple[Array, Array]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tune, self.report = np.zeros(self.shape, np.int64), np.zeros(self.shape, np.int64)

    def add(self, conf: Counts, chooses: bool) -> None:
        """Add an image, one of those that choose or one of those that report."""
        if chooses:
            self.tune += conf
            return
        self.report += conf
        occupied = np.flatnonzero(conf)
        self.cells.append((occupied, conf.flat[occupied]))

    @property
    def totals(self) -> dict[str, Counts]:
        """Sums by split."""
        return {"tune": self.tune, "report": self.report, "all": self.tune + self.report}

    @property
    def per_image(self) -> Counts:
        """Matrices of the report images, int64 [N,K,K+1]."""
        matrices = np.zeros((len(self.cells), *self.shape), np.int64)
        for matrix, (occupied, counts) in zip(matrices, self.cells, strict=True):
            matrix.flat[occupied] = counts
        return matrices


def confusion_of(rule: Rule, values: Values, image: ImageMaps, num_ids: int) -> Counts:
    """Return the confusion matrix [K,K+1] of what `rule` makes of an image. Raises UserError naming the image."""
    with named(image.name):
        mask = rule.apply(image.cams, image.classes, image.saliency, values)
    return confusion(image.truth, mask, num_ids, image.name)


def _fingerprint(rule: Rule, images: Sequence[ImageMaps]) -> str:
    """Return the SHA-256 (hex) of everything that the scores of trials depend on."""
    searched = [(one.name, one.low, one.high, one.step) for one in rule.parameters]
    content = hashlib.sha256(repr((rule.name, searched)).encode())
    for image in images:
        content.update(repr((image.name, image.cams.shape, list(image.classes))).encode())
        for array in (image.cams, image.truth, image.saliency):
            if array is not None:
                content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()
