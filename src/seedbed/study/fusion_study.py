"""The study of a fusion rule made of gates: published values, Optuna's choice, the exact optimum, and the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import Trial

from seedbed.seeds.fusion import find_gate_rule
from seedbed.seeds.rules import Values
from seedbed.study.grid import Grid
from seedbed.study.optima import miou, optimum
from seedbed.study.tables import Totals
from seedbed.study.trials import Number, Runner, Search, Settings, TrialRecord, best


@dataclass(frozen=True)
class RuleStudy:
    """What the study of one rule found: values by point (`published`, `chosen`, `grid`, `oracle`), and the trials."""

    rule: str
    points: dict[str, dict[str, float]]
    trials: list[TrialRecord]


def study_rule(rule: str, tune: Totals, every: Totals, runner: Runner, trials: int, images: int = 0) -> RuleStudy:
    """Choose values of `rule` by Optuna on the `tune` images, and find the exact optima there and on `every` image.

    `images`: how many of them are `tune` images, noted in the storage; 0 = unknown.
    """
    optima = {"grid": optimum(rule, tune), "oracle": optimum(rule, every)}
    records = runner.run(search(rule, tune, images), trials)
    return RuleStudy(rule, {"published": find_gate_rule(rule).published, "chosen": choice(records)} | optima, records)


def choice(records: Sequence[TrialRecord]) -> dict[str, float]:
    """Return the values of the best trial."""
    return {name: float(value) for name, value in best(records).values.items()}


def search(rule: str, tune: Totals, images: int = 0) -> Search:
    """Describe the search over the grid of the `tune` images, so many (0 = unknown); a trial is a look-up."""
    values = values_at(rule, tune.grid)

    def objective(trial: Trial) -> float:
        return float(miou(tune.confusion_at(rule, values(trial.params))))

    published = places_of(rule, tune.grid, find_gate_rule(rule).published)
    space = space_of(rule, tune.grid)
    return Search(f"fusion/{rule}", tune.digest, objective, published, values, space=space, images=images)


def space_of(rule: str, grid: Grid) -> dict[str, BaseDistribution]:
    """Return what Optuna draws for each parameter of a swept rule: the place of its value on `grid.axes[rule]`."""
    return {name: IntDistribution(0, len(axis) - 1) for name, axis in _axes(rule, grid).items()}


def values_at(rule: str, grid: Grid) -> Callable[[Settings], dict[str, Number]]:
    """Return the function from places to the values of a swept rule.

    A low value above its high one counts as that one: so the ranges are fixed, as some samplers need them.
    """
    parameters, axes = find_gate_rule(rule).parameters, _axes(rule, grid)

    def values(places: Settings) -> dict[str, Number]:
        found: dict[str, Number] = {name: axis[int(places[name])] for name, axis in axes.items()}
        return {one.name: min(found[one.name], found[one.at_most or one.name]) for one in parameters}

    return values


def places_of(rule: str, grid: Grid, values: Values) -> dict[str, Number]:
    """Return the places of `values`, of all parameters of a swept rule; ValueError for one off the grid."""
    return {name: axis.index(values[name]) for name, axis in _axes(rule, grid).items()}


def _axes(rule: str, grid: Grid) -> dict[str, tuple[float, ...]]:
    """Return the values that each parameter may take."""
    axes: Mapping[Any, tuple[float, ...]] = grid.axes[rule]
    return {parameter.name: axes[parameter.axis] for parameter in find_gate_rule(rule).parameters}
