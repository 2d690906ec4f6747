"""Optuna studies that survive SIGKILL and may run in many processes: a seed per trial, published values first."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from seedbed.errors import UserError
from seedbed.study.places import Claim, Places, SurvivorPruner
from seedbed.study.samplers import build_sampler, grid_size, suggest
from seedbed.study.storage import Location

logger = logging.getLogger(__name__)

Number = int | float
Settings = Mapping[str, Number]
Score = float | tuple[float, float]

KIND, METHOD, IMAGES = "kind", "method", "images"
"""User attributes of a study: what it is of, and how many images score a trial."""

SETTING, MIOU = "setting", "miou"
"""User attributes of a trial: the setting that its parameters mean; of a pruned one, what `prune` was told."""

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class TrialRecord:
    """A finished trial: study (`fusion/<rule>`, `crf`, ...), place in the order, setting, mIoU on the tune images.

    `seconds` is its wall time, which two equal trials need not share; `cost` the second objective, seconds per image.
    """

    study: str
    number: int
    state: Literal["complete", "pruned"]
    miou: float
    values: dict[str, Number]
    seconds: float = field(default=0.0, compare=False)
    cost: float | None = None


OnTrial = Callable[[TrialRecord], None]


@dataclass(frozen=True)
class Search:
    """What to search: `objective` scores a trial (higher is better) or raises `optuna.TrialPruned` (see `prune`).

    `kind` names the study for people, `fingerprint` everything that the scores depend on: a study is continued only by
    the same. `space` holds the distributions of Optuna's parameters, which the objective finds in `trial.params`;
    an objective may suggest more of its own. `published` are the parameters of the first trial; `values` turns a
    trial's parameters into the setting they mean. `startup` trials are random before the sampler learns from them.
    The `pruner` ends any trial but the first. With `timed`, the objective returns (mIoU, seconds per image), and both
    count; nothing is pruned then. `images` is how many a trial is scored on (0 = unknown), for people.
    """

    kind: str
    fingerprint: str
    objective: Callable[[Trial], Score]
    published: Settings
    values: Callable[[Settings], dict[str, Number]]
    startup: int = 10
    pruner: BasePruner | None = None
    space: Mapping[str, BaseDistribution] = field(default_factory=dict)
    timed: bool = False
    images: int = 0


@dataclass(frozen=True)
class Runner:
    """Runs searches in the `storage` (a path or URL, see `open_storage`) with a sampler of `seedbed.study.samplers`.

    `on_trial` hears of every finished trial in the order of their places, those of earlier and other processes
    included. `method` is noted in the storage, for people.
    """

    storage: str | Path
    seed: int
    sampler: str = "tpe"
    on_trial: OnTrial | None = None
    method: str | None = None

    def run(self, search: Search, trials: int) -> list[TrialRecord]:
        """Bring the study of `search` to `trials` finished trials and return them, in order.

        A grid ends when it has no setting left. Killed at any moment, the next call continues and ends with the same
        trials as an undisturbed one: the sampler of each trial is seeded from `seed` and its place. Other processes may
        run the same study at the same time: each place is finished once, by whoever holds it; the call returns when
        all are, and takes over the places of processes that die. Raises UserError as `open_storage` does, for an
        unknown sampler, and for a score that is not a number.
        """
        trials = self._most(search, trials)
        records: list[TrialRecord] = []
        with quiet_optuna(), self._opened(search) as (study, storage):
            places = Places(study, storage, self._location.lock, trials)
            while True:
                self._hear(search, places.finished(), records, trials)
                if len(records) == trials:
                    return records
                claimed = places.claim(search.published)
                if claimed is None:
                    time.sleep(_POLL_SECONDS)  # others are at work on the rest
                    continue
                with places.beating(claimed.trial_id):
                    self._try(search, study, claimed)

    @contextlib.contextmanager
    def opened(self, search: Search) -> Iterator[optuna.Study]:
        """Open the study of `search`, made where there is none, for the body of a `with` statement."""
        with quiet_optuna(), self._opened(search) as (study, _):
            yield study

    @cached_property
    def _location(self) -> Location:
        return Location.of(self.storage)

    @contextlib.contextmanager
    def _opened(self, search: Search) -> Iterator[tuple[optuna.Study, BaseStorage]]:
        kind = f"{search.kind}+seconds" if search.timed else search.kind
        with self._location.opened() as storage:
            with self._location.lock:
                study = optuna.create_study(
                    storage=storage,
                    study_name=f"{kind}/{self.sampler}/{self.seed}/{search.fingerprint}",
                    directions=["maximize", "minimize"] if search.timed else ["maximize"],
                    load_if_exists=True,
                )
                for key, value in ((KIND, kind), (METHOD, self.method), (IMAGES, search.images or None)):
                    if value is not None and study.user_attrs.get(key) != value:
                        study.set_user_attr(key, value)
            yield study, storage

    def _most(self, search: Search, trials: int) -> int:
        """Return how many trials there can be of those asked for. Raises UserError for a sampler that does not fit."""
        build_sampler(self.sampler, 0, search.space, search.startup)
        if self.sampler == "cmaes" and search.timed:
            raise UserError("sampler cmaes searches one objective, not two", "choose tpe, gp, random or grid")
        return min(trials, grid_size(search.space, search.published)) if self.sampler == "grid" else trials

    def _hear(
        self, search: Search, finished: Mapping[int, FrozenTrial], records: list[TrialRecord], trials: int
    ) -> None:
        """Append the finished trials that follow on `records`, and tell of them."""
        while len(records) < trials and (trial := finished.get(len(records))) is not None:
            records.append(_record(search, len(records), trial))
            if self.on_trial:
                self.on_trial(records[-1])

    def _try(self, search: Search, study: optuna.Study, claimed: Claim) -> None:
        """Run one trial. An error in it marks it as failed and goes on."""
        seed = int(np.random.SeedSequence([self.seed, claimed.place]).generate_state(1)[0])
        study.sampler = build_sampler(
            self.sampler, seed, search.space, search.startup, place=claimed.place, published=search.published
        )
        study.pruner = SurvivorPruner(search.pruner or NopPruner(), spares=claimed.place == 0)
        trial = Trial(study, claimed.trial_id)
        try:
            suggest(trial, search.space)
            try:
                score: Score | None = search.objective(trial)
            except optuna.TrialPruned:
                score = None
            setting = search.values(trial.params)
            if score is not None and not np.isfinite(score).all():
                raise UserError(f"{search.kind}: the setting {setting} scores {score}, which is no number to compare")
            trial.set_user_attr(SETTING, setting)
        except UpdateFinishedTrialError:
            logger.warning("%s: another process took over trial %d", search.kind, claimed.place)
            study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        except BaseException:
            study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            raise
        else:
            state = TrialState.PRUNED if score is None else TrialState.COMPLETE
            study.tell(trial, score, state, skip_if_finished=True)


def prune(trial: Trial, miou: float) -> NoReturn:
    """End a trial early; `miou` is what its record says, where that is not what it reported last."""
    trial.set_user_attr(MIOU, miou)
    raise optuna.TrialPruned


def best(records: Sequence[TrialRecord]) -> TrialRecord:
    """Return the complete trial with the highest mIoU; of equals the cheapest, then the earliest."""
    complete = (record for record in records if record.state == "complete")
    return max(complete, key=lambda record: (record.miou, -(record.cost or 0.0), -record.number))


def pareto(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the complete trials that no other one beats in mIoU without costing more, from cheap to dear.

    Raises ValueError for records of a study with one objective.
    """
    front: list[TrialRecord] = []
    for record in sorted((one for one in records if one.state == "complete"), key=_price):
        if not front or record.miou > front[-1].miou:
            front.append(record)
    return front


def _price(record: TrialRecord) -> tuple[float, float, int]:
    if record.cost is None:
        raise ValueError("a Pareto front has two objectives")
    return record.cost, -record.miou, record.number


def _record(search: Search, number: int, trial: FrozenTrial) -> TrialRecord:
    miou = trial.user_attrs.get(MIOU, trial.values[0] if trial.values else math.nan)
    return TrialRecord(
        search.kind,
        number,
        "complete" if trial.state == TrialState.COMPLETE else "pruned",
        miou,
        search.values(trial.params),
        trial.duration.total_seconds() if trial.duration else 0.0,
        trial.values[1] if search.timed and trial.values else None,
    )


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from logging every trial during the body of a `with` statement."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
