"""One search over the values of a fusion rule and the CRF parameters that refine its pseudo-labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from optuna.distributions import BaseDistribution
from optuna.trial import Trial

from seedbed.params import StudyParams
from seedbed.seeds.fusion import find_rule, fuse
from seedbed.seeds.rules import Mask
from seedbed.study.applied import published_steps, steps_of, values_of
from seedbed.study.crf_study import CrfSpace, Trials
from seedbed.study.fusion_study import places_of, space_of, values_at
from seedbed.study.grid import Grid
from seedbed.study.tables import ImageMaps
from seedbed.study.trials import Number, Score, Search, Settings


class RuleSpace(NamedTuple):
    """What Optuna draws for the values of a rule, what it draws for the published ones, and what drawn ones mean."""

    distributions: Mapping[str, BaseDistribution]
    first: Mapping[str, Number]
    values: Callable[[Settings], dict[str, Number]]


def rule_space(rule: str, params: StudyParams) -> RuleSpace:
    """Return the space of a rule: the grid of its sweep, or steps of its parameters."""
    entry = find_rule(rule)
    if not entry.swept:
        return RuleSpace(steps_of(entry), published_steps(entry), values_of(entry))
    grid = Grid.of([rule], params.cam_steps, params.saliency_steps)
    return RuleSpace(space_of(rule, grid), places_of(rule, grid, entry.published), values_at(rule, grid))


def joint_search(rule: str, space: RuleSpace, crf: CrfSpace, maps: Sequence[ImageMaps], trials: Trials) -> Search:
    """Describe the search for the values of `rule` and the CRF parameters that together label `maps` best.

    `trials` scores them: its items are the same images, their labels unused.
    """
    entry, device = find_rule(rule), trials.machine.device

    def labels(values: Settings) -> Iterator[Mask]:
        return (mask for _, mask in fuse(entry, values, maps, device))

    def objective(trial: Trial) -> Score:
        params = crf.params(crf.values(trial.params))
        return trials.score(trial, labels(space.values(trial.params)), params)

    distributions = {**space.distributions, **crf.distributions}
    arrays = [array for image in maps for array in (image.cams, image.saliency) if array is not None]
    classes = [list(map(int, image.classes)) for image in maps]
    searched = (rule, entry.parameters, distributions, crf.published, classes)
    return Search(
        kind="joint",
        fingerprint=trials.fingerprint(searched, arrays),
        objective=objective,
        published={**space.first, **crf.first},
        values=lambda drawn: space.values(drawn) | crf.values(drawn),
        space=distributions,
        startup=10,
        pruner=trials.build_pruner(),
        timed=trials.timed,
        images=len(maps),
    )
