"""Scoring settings of fusion rules on the tune images, the report images and all, as `study.json` states them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbed.evaluate.bootstrap import interval
from seedbed.evaluate.confusion import save_confusions
from seedbed.seeds.fusion import Rule, Values, find_rule, published_values
from seedbed.study.fusion_study import RuleStudy, miou
from seedbed.study.tables import Grid, Tables, Totals

Array = npt.NDArray[Any]

_DIGITS = 5  # of the surfaces, which are drawings


@dataclass(frozen=True)
class Scorer:
    """Scores settings by the tables of all images; `tune`, `report`: ids; `samples`, `seed`: of the bootstrap."""

    tables: Tables
    tune: Sequence[str]
    report: Sequence[str]
    samples: int
    seed: int

    @cached_property
    def totals(self) -> dict[str, Totals]:
        """Counts of the images of each split."""
        splits = {"tune": self.tables.select(self.tune), "report": self._reporting, "all": self.tables}
        return {name: tables.totals() for name, tables in splits.items()}

    @cached_property
    def _reporting(self) -> Tables:
        return self.tables.select(self.report)

    def point(self, rule: str, values: Values, confusions: Path) -> dict[str, Any]:
        """Return a POINT of study.json and write the confusion matrices of the report images to `confusions`."""
        per_image = self._reporting.confusions_at(rule, values)
        save_confusions(confusions, self.report, per_image)
        scored = {name: number(miou(totals.confusion_at(rule, values))) for name, totals in self.totals.items()}
        low, high = interval(per_image, self.samples, self.seed)
        return {"values": dict(values), "miou": scored, "interval": [number(low), number(high)]}

    def surface(self, rule: str) -> dict[str, Any]:
        """Return the threshold curve or heat map of `rule` over the band-free settings."""
        scored = {name: _nested(np.round(miou(totals.sweep(rule)), _DIGITS)) for name, totals in self.totals.items()}
        return {"axes": _axes(find_rule(rule), self.tables.grid), "miou": scored}

    def describe(self, study: RuleStudy, folder: Path) -> dict[str, Any]:
        """Return the entry of a rule in study.json."""
        points = {
            name: self.point(study.rule, values, folder / f"confusion-{study.rule}-{name}.npz")
            for name, values in study.points.items()
        }
        regret = points["grid"]["miou"]["tune"] - points["chosen"]["miou"]["tune"]
        found = {
            "points": points,
            "regret": max(regret, 0.0),
            "trials": len(study.trials),
            "surface": self.surface(study.rule),
        }
        return describe_rule(study.rule) | found


def describe_rule(rule: str) -> dict[str, Any]:
    """Return what study.json says of a rule whatever the images."""
    entry = find_rule(rule)
    stated = ("low", "high", "published", "meaning")
    parameters = {parameter.name: {key: asdict(parameter)[key] for key in stated} for parameter in entry.parameters}
    return {"summary": entry.summary, "parameters": parameters}


def unscored(rule: str) -> dict[str, Any]:
    """Return the entry of a rule in study.json when no mask may be read: the published values are the choice."""
    point = {"values": published_values(rule), "miou": None, "interval": None}
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
