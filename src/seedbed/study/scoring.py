"""Scoring settings of fusion rules on the tune images, the report images and all, as `study.json` states them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbed.evaluate.bootstrap import interval
from seedbed.evaluate.confusion import save_confusions
from seedbed.evaluate.scores import VARIANTS, scores
from seedbed.seeds.fusion import find_gate_rule, find_rule
from seedbed.seeds.rules import Rule, Values
from seedbed.study.fusion_study import miou, study_rule
from seedbed.study.tables import Counts, Grid, Tables, Totals
from seedbed.study.trials import Runner, TrialRecord

Array = npt.NDArray[Any]

_DIGITS = 5  # of the surfaces, which are drawings
_FIRST_RELEASE = "drop-zero"  # the mIoU variant of EPS's first release


@dataclass(frozen=True)
class Reporter:
    """States what a setting reaches; `tune`, `report`: ids; `samples`, `seed`: of the bootstrap."""

    folder: Path
    tune: Sequence[str]
    report: Sequence[str]
    samples: int
    seed: int

    def point(self, rule: str, name: str, values: Values, per_image: Counts, totals: Mapping[str, Counts]) -> Any:
        """Return POINT `name` of `rule` in study.json, and write its confusion matrices.

        `per_image` [N,K,K+1]: of the report images; `totals` [K,K+1]: of the tune images, the report images and all.
        """
        save_confusions(self.folder / f"confusion-{rule}-{name}.npz", self.report, per_image)
        low, high = interval(per_image, self.samples, self.seed)
        scored = {split: number(miou(total)) for split, total in totals.items()}
        return {"values": dict(values), "miou": scored, "interval": [number(low), number(high)]}


@dataclass(frozen=True)
class Sweep:
    """Studies rules made of gates by the tables of all images."""

    tables: Tables
    reporter: Reporter

    def study(self, rule: str, runner: Runner, trials: int) -> tuple[dict[str, Any], list[TrialRecord]]:
        """Return the entry of `rule` in study.json, and the trials behind it."""
        found = study_rule(rule, self.totals["tune"], self.totals["all"], runner, trials)
        points = {name: self._point(rule, name, values) for name, values in found.points.items()}
        regret = points["grid"]["miou"]["tune"] - points["chosen"]["miou"]["tune"]
        entry = {
            "points": points,
            "regret": max(regret, 0.0),
            "trials": len(found.trials),
            "surface": self._surface(rule),
        }
        return describe_rule(rule) | entry | self._first_release(rule), found.trials

    @cached_property
    def totals(self) -> dict[str, Totals]:
        """Counts of the images of each split."""
        splits = {"tune": self.tables.select(self.reporter.tune), "report": self._reporting, "all": self.tables}
        return {name: tables.totals() for name, tables in splits.items()}

    @cached_property
    def _reporting(self) -> Tables:
        return self.tables.select(self.reporter.report)

    def _point(self, rule: str, name: str, values: Values) -> Any:
        totals = {split: counts.confusion_at(rule, values) for split, counts in self.totals.items()}
        return self.reporter.point(rule, name, values, self._reporting.confusions_at(rule, values), totals)

    def _surface(self, rule: str) -> dict[str, Any]:
        """Return the threshold curve or heat map of `rule` over the band-free settings."""
        scored = {name: _nested(np.round(miou(totals.sweep(rule)), _DIGITS)) for name, totals in self.totals.items()}
        return {"axes": _axes(find_rule(rule), self.tables.grid), "miou": scored}

    def _first_release(self, rule: str) -> dict[str, Any]:
        """Return what the sweep of the first release finds, in its variant of the mIoU; empty without such a sweep."""
        thresholds = find_gate_rule(rule).first_release
        if not thresholds:
            return {}
        variant = VARIANTS[_FIRST_RELEASE]
        places = [self.tables.grid.cam.index(threshold) for threshold in thresholds]
        reached = {
            name: scores(totals.sweep(rule)[places], variant.ignore, variant.absent).miou.tolist()
            for name, totals in self.totals.items()
        }
        return {"first_release": {"thresholds": list(thresholds), "miou": reached, "variant": _FIRST_RELEASE}}


def describe_rule(rule: str) -> dict[str, Any]:
    """Return what study.json says of a rule whatever the images."""
    entry = find_rule(rule)
    stated = ("low", "high", "published", "meaning")
    parameters = {parameter.name: {key: asdict(parameter)[key] for key in stated} for parameter in entry.parameters}
    return {"summary": entry.summary, "parameters": parameters}


def unscored(rule: str) -> dict[str, Any]:
    """Return the entry of a rule in study.json when no mask may be read: the published values are the choice."""
    point = {"values": find_rule(rule).published, "miou": None, "interval": None}
    found = {"points": {"published": point, "chosen": point}, "regret": None, "trials": 0, "surface": None}
    return describe_rule(rule) | found


def number(value: Any) -> float | None:
    """Return `value` as JSON can hold it: null when undefined."""
    return None if math.isnan(value) else float(value)


def _axes(rule: Rule, grid: Grid) -> list[dict[str, Any]]:
    """Name the axes of a sweep: the parameter where it is the only one on its thresholds, else the thresholds."""
    axes = []
    for axis, thresholds in (("cam", grid.cam), ("saliency", grid.saliency)):
        names = [parameter.name for parameter in rule.parameters if parameter.axis == axis]
        if names:
            axes.append({"parameter": names[0] if len(names) == 1 else axis, "values": list(thresholds)})
    return axes


def _nested(values: Array) -> list[Any]:
    """Return nested lists with null for NaN."""
    holder = values.astype(object)
    holder[np.isnan(values)] = None
    return list(holder.tolist())
