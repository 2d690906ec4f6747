"""Optuna's samplers by name, seeded trial by trial, so that a study that was killed goes on as if undisturbed."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial

from seedbed.errors import UserError, unknown_name

Space = Mapping[str, BaseDistribution]

SAMPLERS: dict[str, str] = {
    "tpe": "tree-structured Parzen estimator [Bergstra et al., NeurIPS 2011]",
    "gp": "Gaussian process with expected improvement",
    "cmaes": "covariance matrix adaptation [Hansen, 2016]; one objective only",
    "random": "independent uniform draws",
    "grid": "every combination of a discrete space once, spread over the space from the first trials on",
}
"""Name of every sampler, and what it does."""

_GOLDEN = (math.sqrt(5) - 1) / 2


def build_sampler(
    name: str, seed: int, space: Space, startup: int, *, place: int = 0, published: Mapping[str, Any] | None = None
) -> BaseSampler:
    """Return the sampler `name` for the trial at `place` (0, 1, ...) of a study of the parameters `space`.

    `seed` is this trial's own; `startup` trials are random before tpe, gp and cmaes learn from them. The trial at place
    0 has the `published` setting, so the grid leaves that one to it. Raises UserError for an unknown name, and for a
    grid over a continuous or empty space.
    """
    if name == "tpe":
        return TPESampler(seed=seed, n_startup_trials=startup)
    if name == "gp":
        return GPSampler(seed=seed, n_startup_trials=startup)
    if name == "cmaes":
        return _PlacedCmaEs(seed, startup, place)
    if name == "random":
        return RandomSampler(seed=seed)
    if name == "grid":
        return _Grid(space, place, published or {})
    raise unknown_name("sampler", name, SAMPLERS)


def grid_size(space: Space, published: Mapping[str, Any]) -> int:
    """Return the number of trials after which a grid has seen the `published` setting and every combination once.

    Raises UserError for a continuous or an empty space.
    """
    return _size(space) + (_number(space, published) is None)


def suggest(trial: Trial, space: Space) -> None:
    """Draw every parameter of the space into `trial.params`."""
    for name, distribution in space.items():
        if isinstance(distribution, FloatDistribution):
            trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
        elif isinstance(distribution, IntDistribution):
            trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
        elif isinstance(distribution, CategoricalDistribution):
            trial.suggest_categorical(name, distribution.choices)


class _Grid(BaseSampler):
    """Walks the combinations by a stride near the golden section of their number: each comes once, and early trials
    lie far apart.
    """

    def __init__(self, space: Space, place: int, published: Mapping[str, Any]) -> None:
        size, first = _size(space), _number(space, published)
        stride = next(step for step in range(max(round(size * _GOLDEN), 1), 2 * size + 1) if math.gcd(step, size) == 1)
        steps = place - 1 if first is None else place
        self._space = dict(space)
        self._next = ((first or 0) + steps * stride) % size

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        number, chosen = self._next, {}
        for name, distribution in reversed(self._space.items()):
            choices = _choices(name, distribution)
            number, index = divmod(number, len(choices))
            chosen[name] = choices[index]
        return chosen

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise UserError(f"sampler grid: parameter {param_name} is not in the declared space")


class _PlacedCmaEs(CmaEsSampler):
    """CMA-ES that draws by a trial's place in the study instead of its number, which counts failed trials too."""

    def __init__(self, seed: int, startup: int, place: int) -> None:
        super().__init__(seed=seed, n_startup_trials=max(startup, 1), warn_independent_sampling=False)
        self._place = place

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        placed = copy.copy(trial)
        placed.number = self._place
        return super().sample_relative(study, placed, search_space)


def _size(space: Space) -> int:
    """Return the number of combinations."""
    if not space:
        raise UserError("sampler grid needs a study that declares its parameters beforehand; this one does not")
    return math.prod(len(_choices(name, distribution)) for name, distribution in space.items())


def _number(space: Space, settings: Mapping[str, Any]) -> int | None:
    """Return the number of a combination, the last parameter counting fastest; None where it is not on the grid."""
    number = 0
    for name, distribution in space.items():
        choices = _choices(name, distribution)
        near = [index for index, choice in enumerate(choices) if name in settings and _same(choice, settings[name])]
        if not near:
            return None
        number = number * len(choices) + near[0]
    return number


def _choices(name: str, distribution: BaseDistribution) -> Sequence[Any]:
    """Return the values that a discrete parameter can take, in order."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        steps = round((distribution.high - distribution.low) / distribution.step)
        return [distribution.low + index * distribution.step for index in range(steps + 1)]
    raise UserError(f"sampler grid: parameter {name} is continuous", "choose tpe, gp, cmaes or random")


def _same(choice: Any, value: Any) -> bool:
    return math.isclose(choice, value, rel_tol=1e-9, abs_tol=1e-12) if isinstance(value, float) else choice == value
