"""The study of a fusion rule made of gates: published values, Optuna's choice, the exact optimum, and the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.trial import Trial

from seedbed.errors import UserError
from seedbed.evaluate.scores import PRIMARY, VARIANTS, scores
from seedbed.seeds.fusion import find_gate_rule
from seedbed.seeds.gates import GateRule
from seedbed.seeds.rules import Axis
from seedbed.study.tables import Grid, Totals
from seedbed.study.trials import Number, Runner, Search, Settings, TrialRecord, best

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class RuleStudy:
    """What the study of one rule found: values by point (`published`, `chosen`, `grid`, `oracle`), and the trials."""

    rule: str
    points: dict[str, dict[str, float]]
    trials: list[TrialRecord]


def study_rule(rule: str, tune: Totals, every: Totals, runner: Runner, trials: int) -> RuleStudy:
    """Choose values of `rule` by Optuna on the `tune` images, and find the exact optima there and on `every` image."""
    optima = {"grid": optimum(rule, tune), "oracle": optimum(rule, every)}
    records = runner.run(_search(rule, tune), trials)
    return RuleStudy(rule, {"published": find_gate_rule(rule).published, "chosen": choice(records)} | optima, records)


def choice(records: list[TrialRecord]) -> dict[str, float]:
    """Return the values of the best trial."""
    return {name: float(value) for name, value in best(records).values.items()}


def miou(conf: Array) -> Array:
    """Return the mIoU [...] of confusion matrices [...,K,K+1] in the primary variant."""
    variant = VARIANTS[PRIMARY]
    return scores(conf, variant.ignore, variant.absent).miou


def optimum(rule: str, totals: Totals) -> dict[str, float]:
    """Return the values of `rule` with the highest mIoU among all settings on the grid, ignore bands included.

    No search: with ignored pixels counted as errors, the IoU of the object classes depends on the inner gate alone and
    the IoU of the background on the outer gate alone. So the best outer gate is, for every inner one, the best
    background IoU of those that enclose it. Raises UserError when no pixel has a true id.
    """
    entry = find_gate_rule(rule)
    variant = VARIANTS[PRIMARY]
    iou = scores(totals.sweep(rule), variant.ignore, variant.absent).iou
    background, objects = iou[..., 0], iou[..., 1:]
    # An undefined background IoU (none in truth, none predicted) is left out of the mean, and so beats 0.
    rank = np.where(np.isnan(background), np.inf, background)
    best_score, best_gates = -1.0, None
    for inner in np.ndindex(background.shape):
        outer = _best_enclosing(rank, inner) if _has_band(entry) else inner
        terms = np.append(objects[inner], background[outer])
        score = np.nansum(terms) / max(np.isfinite(terms).sum(), 1)
        if np.isfinite(terms).any() and score > best_score:
            best_score, best_gates = score, (inner, outer)
    if best_gates is None:
        raise nothing_to_choose_by()
    return _values(entry, totals.grid, *best_gates)


def nothing_to_choose_by() -> UserError:
    """Return the error for images whose masks are all ignore."""
    return UserError(
        "no pixel of the images has a true id other than ignore: nothing to choose thresholds by",
        "seedbed data check",
    )


def _best_enclosing(rank: Array, inner: tuple[int, ...]) -> tuple[int, ...]:
    """Return the index of the highest `rank` among the gates with no threshold above that of `inner`."""
    enclosing = rank[tuple(slice(index + 1) for index in inner)]
    return tuple(int(index) for index in np.unravel_index(np.argmax(enclosing), enclosing.shape))


def _has_band(rule: GateRule) -> bool:
    return any(parameter.at_most for parameter in rule.parameters)


def _values(rule: GateRule, grid: Grid, inner: tuple[int, ...], outer: tuple[int, ...]) -> dict[str, float]:
    """Return the values of gates given by the indices of their thresholds, (cam,) or (cam, saliency)."""
    place: dict[Axis | None, int] = {"cam": 0, "saliency": 1}
    chosen = {
        parameter.name: (outer if parameter.at_most else inner)[place[parameter.axis]] for parameter in rule.parameters
    }
    return _decode(rule, grid)(chosen)


def _thresholds(grid: Grid) -> Mapping[Axis | None, tuple[float, ...]]:
    return {"cam": grid.cam, "saliency": grid.saliency}


def _decode(rule: GateRule, grid: Grid) -> Callable[[Settings], dict[str, float]]:
    """Return the function from the indices of thresholds, by parameter, to their values."""
    thresholds = _thresholds(grid)
    return lambda chosen: {
        parameter.name: thresholds[parameter.axis][int(chosen[parameter.name])] for parameter in rule.parameters
    }


def _search(rule: str, tune: Totals) -> Search:
    """Describe the search over the grid; Optuna's parameters are indices of thresholds."""
    entry, thresholds = find_gate_rule(rule), _thresholds(tune.grid)
    decode = _decode(entry, tune.grid)

    def objective(trial: Trial) -> float:
        chosen: dict[str, Number] = {}
        for parameter in entry.parameters:
            last = chosen[parameter.at_most] if parameter.at_most else len(thresholds[parameter.axis]) - 1
            chosen[parameter.name] = trial.suggest_int(parameter.name, 0, int(last))
        return float(miou(tune.confusion_at(rule, decode(chosen))))

    published = {
        parameter.name: thresholds[parameter.axis].index(parameter.published) for parameter in entry.parameters
    }
    return Search(f"fusion/{rule}", tune.digest, objective, published, lambda chosen: dict(decode(chosen)))
