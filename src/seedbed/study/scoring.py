"""Scoring settings of fusion rules on the tune images, the report images and all, as `study.json` states them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from seedbed.evaluate.bootstrap import interval
from seedbed.evaluate.confusion import Confusions, save_confusions
from seedbed.evaluate.scores import PRIMARY, VARIANTS, Areas, scores
from seedbed.seeds.fusion import find_gate_rule, find_rule
from seedbed.seeds.rules import Axis, Values
from seedbed.study import optima
from seedbed.study.curve import Chooser, Draws
from seedbed.study.fusion_study import study_rule
from seedbed.study.numbers import nested, number, shortfall
from seedbed.study.optima import miou
from seedbed.study.tables import Counts, Grid, Tables, Totals
from seedbed.study.tally import Tally
from seedbed.study.trials import Runner, TrialRecord

_DIGITS = 5  # of the surfaces, which are drawings
_FIRST_RELEASE = "drop-zero"  # the mIoU variant of EPS's first release


class Counted(Protocol):
    """Confusion matrices of one setting: `totals` [K,K+1] of the tune images, the report images and all."""

    @property
    def totals(self) -> dict[str, Counts]:
        """Sums by split."""

    @property
    def per_image(self) -> Confusions:
        """Matrices of the report images."""


@dataclass(frozen=True)
class Reporter:
    """States what a setting reaches; `tune`, `report`: ids; `draws`: of images for curves and of the bootstrap."""

    folder: Path
    tune: Sequence[str]
    report: Sequence[str]
    draws: Draws

    def tally(self, num_ids: int) -> Tally:
        """Return what adds up the images of one setting."""
        return Tally(num_ids, self.tune, self.report)

    def point(self, rule: str, name: str, values: Values, counted: Counted) -> dict[str, Any]:
        """Return POINT `name` of `rule` in study.json, and write its confusion matrices."""
        return {"values": dict(values)} | self.scored(f"{rule}-{name}", counted, ("tune", "report", "all"))

    def scored(self, name: str, counted: Counted, splits: Sequence[str]) -> dict[str, Any]:
        """Return mIoU by split and interval of a setting, and write its matrices to `confusion-<name>.npz`."""
        per_image = counted.per_image
        save_confusions(self.folder / f"confusion-{name}.npz", self.report, per_image)
        reached = {split: number(miou(counted.totals[split])) for split in splits}
        low, high = interval(per_image, self.draws.samples, self.draws.seed)
        return {"miou": reached, "interval": [number(low), number(high)]}


@dataclass(frozen=True)
class Sweep:
    """Studies rules made of gates by the tables of all images."""

    tables: Tables
    reporter: Reporter

    def study(self, rule: str, runner: Runner, trials: int) -> tuple[dict[str, Any], list[TrialRecord]]:
        """Return the entry of `rule` in study.json, and the trials behind it."""
        tune, every = self.totals["tune"], self.totals["all"]
        found = study_rule(rule, tune, every, runner, trials, len(self.reporter.tune))
        points = {
            name: self.reporter.point(rule, name, values, _Read(self, rule, values))
            for name, values in found.points.items()
        }
        reached = {name: point["miou"] for name, point in points.items()}
        entry = {
            "points": points,
            "trials": len(found.trials),
            "curve": self.reporter.draws.curve(_Exact(rule, self.tables, self.totals["all"], found.points["oracle"])),
            "regret": shortfall(reached["grid"]["tune"], reached["chosen"]["tune"]),
            "oracle_gap": shortfall(reached["oracle"]["all"], reached["chosen"]["all"]),
            "optimum": self._optimum(rule),
            "per_class": self._per_class(rule),
            "surface": self._surface(rule, found.points["chosen"]),
        }
        return describe_rule(rule) | entry | self._first_release(rule), found.trials

    @cached_property
    def totals(self) -> dict[str, Totals]:
        """Counts of the images of each split."""
        splits = {"tune": self._tuning, "report": self.reporting, "all": self.tables}
        return {name: tables.totals() for name, tables in splits.items()}

    @cached_property
    def reporting(self) -> Tables:
        """Tables of the report images."""
        return self.tables.select(self.reporter.report)

    @cached_property
    def _tuning(self) -> Tables:
        return self.tables.select(self.reporter.tune)

    def _optimum(self, rule: str) -> dict[str, Any]:
        """Return how far the exact optimum moves with the tune images."""
        draws = self.reporter.draws
        found = optima.optimum_interval(self._tuning, rule, draws.samples, draws.seed)
        values = {name: list(ends) for name, ends in found.values.items()}
        return {"split": "tune", "values": values, "miou": list(found.miou), "samples": found.samples}

    def _per_class(self, rule: str) -> list[dict[str, Any]]:
        """Return the optimum of every class on all images."""
        found = optima.class_optima(rule, self.totals["all"])
        return [
            {"class": index, "values": one and one.values, "iou": one and one.iou} for index, one in enumerate(found)
        ]

    def _surface(self, rule: str, chosen: Values) -> dict[str, Any]:
        """Return the threshold curve or heat map of `rule`, and what its ignore band does beside the `chosen` gate."""
        swept = {split: optima.surfaces(rule, totals) for split, totals in self.totals.items()}
        band = optima.band(rule, self.totals["all"], chosen)
        return _by_measure(swept) | {
            "axes": _axes(rule, self.tables.grid),
            "band": band
            and _by_measure({"all": band.surfaces})
            | {"axes": [{"parameter": name, "values": list(band.values)} for name in (band.low, band.high)]},
        }

    def _first_release(self, rule: str) -> dict[str, Any]:
        """Return what the sweep of the first release finds, in its variant of the mIoU; empty without such a sweep."""
        thresholds = find_gate_rule(rule).first_release
        if not thresholds:
            return {}
        variant = VARIANTS[_FIRST_RELEASE]
        places = [self.tables.grid.axes[rule]["cam"].index(threshold) for threshold in thresholds]
        reached = {
            name: scores(totals.sweep(rule)[places], variant.ignore, variant.absent).miou.tolist()
            for name, totals in self.totals.items()
        }
        return {"first_release": {"thresholds": list(thresholds), "miou": reached, "variant": _FIRST_RELEASE}}


@dataclass(frozen=True)
class _Read:
    """What the tables say of one setting."""

    sweep: Sweep
    rule: str
    values: Values

    @property
    def totals(self) -> dict[str, Counts]:
        return {name: totals.confusion_at(self.rule, self.values) for name, totals in self.sweep.totals.items()}

    @property
    def per_image(self) -> Confusions:
        return self.sweep.reporting.confusions_at(self.rule, self.values)


@dataclass(frozen=True)
class _Exact(Chooser):
    """Chooses the exact optimum on any images, `oracle` on all."""

    rule: str
    tables: Tables
    every: Totals
    oracle: Values

    def on_others(self, names: Sequence[str]) -> float:
        few = self.tables.select(names).totals()
        published = find_rule(self.rule).published
        values = optima.optimum(self.rule, few) if few.exceeding.any() else published  # else there is nothing to choose
        return float(miou(self.every.without(few).confusion_at(self.rule, values)))

    def on_all(self, choose: bool) -> Areas:
        values = self.oracle if choose else find_rule(self.rule).published
        return self.tables.confusions_at(self.rule, values).areas(VARIANTS[PRIMARY].ignore)


def describe_rule(rule: str) -> dict[str, Any]:
    """Return what study.json says of a rule whatever the images."""
    entry = find_rule(rule)
    stated = ("low", "high", "published", "meaning")
    parameters = {parameter.name: {key: asdict(parameter)[key] for key in stated} for parameter in entry.parameters}
    return {"summary": entry.summary, "parameters": parameters}


def unswept() -> dict[str, Any]:
    """Return what study.json leaves open of a rule that was not swept."""
    return dict.fromkeys(("regret", "oracle_gap", "optimum", "per_class", "surface"))


def unscored(rule: str) -> dict[str, Any]:
    """Return the entry of a rule in study.json when no mask may be read: the published values are the choice."""
    point = {"values": find_rule(rule).published, "miou": None, "interval": None}
    found = {"points": {"published": point, "chosen": point}, "trials": 0, "curve": None}
    return describe_rule(rule) | found | unswept()


def _by_measure(swept: dict[str, optima.Surfaces]) -> dict[str, Any]:
    """Return the surfaces of every split as nested lists, by measure."""
    return {
        measure: {split: nested(getattr(found, measure), _DIGITS) for split, found in swept.items()}
        for measure in optima.Surfaces._fields
    }


def _axes(rule: str, grid: Grid) -> list[dict[str, Any]]:
    """Name the axes of a sweep: the parameter where it is the only one on its axis, else the axis."""
    axes = []
    order: tuple[Axis, ...] = ("cam", "saliency")
    for axis in order:
        names = [parameter.name for parameter in find_rule(rule).parameters if parameter.axis == axis]
        if names:
            values = list(grid.axes[rule][axis])
            axes.append({"parameter": names[0] if len(names) == 1 else axis, "values": values})
    return axes
