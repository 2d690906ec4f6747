"""The places of a study's trials, 0 to n - 1: handed out to processes, and taken back from those that died."""

from __future__ import annotations

import contextlib
import datetime
import logging
import threading
import warnings
from collections.abc import Container, Iterator, Mapping
from typing import Any, NamedTuple, cast

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from seedbed.study.locks import Lock
from seedbed.study.storage import HEARTBEAT_SECONDS
from seedbed.tracking.process import has_died, host_of, this_process

logger = logging.getLogger(__name__)

PLACE, PROCESS = "place", "process"
"""User attributes of every trial: its place in the study, and the process that runs it."""

STALE_SECONDS = 3600.0
"""A journal holds no heartbeats: a trial of another machine counts as dead after this, or ten times the longest one."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Claim(NamedTuple):
    """A place that this process holds, and the id of the trial that runs there."""

    place: int
    trial_id: int


class Places:
    """Who runs which trial of a study. Every place ends up with exactly one finished trial, however many processes
    there are and whichever of them die: a trial without a living process is marked as failed, its place free again.
    """

    def __init__(self, study: optuna.Study, storage: BaseStorage, lock: Lock, trials: int) -> None:
        self._study = study
        self._storage = storage
        self._id = storage.get_study_id_from_name(study.study_name)
        self._lock = lock
        self._trials = trials

    def claim(self, first: Mapping[str, Any]) -> Claim | None:
        """Take the first free place; the trial at place 0 has the parameters `first`. None when none is free."""
        with self._lock:
            self._free()
            taken = {trial.user_attrs[PLACE] for trial in self._living()}
            free = next((place for place in range(self._trials) if place not in taken), None)
            if free is None:
                return None
            trial = create_trial(
                state=TrialState.RUNNING,
                user_attrs={PLACE: free, PROCESS: this_process()},
                system_attrs={"fixed_params": dict(first)} if free == 0 else {},  # what enqueue_trial writes
            )
            trial_id = self._storage.create_new_trial(self._id, trial)
            if (beat := getattr(self._storage, "record_heartbeat", None)) is not None:
                beat(trial_id)
        return Claim(free, trial_id)

    def finished(self) -> dict[int, FrozenTrial]:
        """Return the finished trials by place."""
        return {trial.user_attrs[PLACE]: trial for trial in self._living() if trial.state in FINISHED}

    @contextlib.contextmanager
    def beating(self, trial_id: int) -> Iterator[None]:
        """Tell a database during the body that the trial is alive."""
        beat = getattr(self._storage, "record_heartbeat", None)
        if beat is None:
            yield
            return
        stop = threading.Event()

        def keep() -> None:
            while not stop.wait(HEARTBEAT_SECONDS):
                with contextlib.suppress(StorageInternalError):  # the server may be back for the next one
                    beat(trial_id)

        thread = threading.Thread(target=keep, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _living(self) -> list[FrozenTrial]:
        """Return the trials that hold a place; others, as those that a dashboard enqueued, are not ours."""
        trials = self._study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING))
        return [trial for trial in trials if PLACE in trial.user_attrs]

    def _free(self) -> None:
        """Mark the trials of dead processes as failed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self._study)
        living = self._living()
        durations = [trial.duration.total_seconds() for trial in living if trial.duration is not None]
        for trial in living:
            if trial.state == TrialState.RUNNING and self._abandoned(trial, max(durations, default=0.0)):
                logger.info("%s: trial %d failed: its process died", self._study.study_name, trial.number)
                with contextlib.suppress(UpdateFinishedTrialError):
                    self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _abandoned(self, trial: FrozenTrial, longest: float) -> bool:
        process = trial.user_attrs[PROCESS]
        if host_of(process) == host_of(this_process()) or not isinstance(self._storage, JournalStorage):
            return has_died(process)
        assert trial.datetime_start is not None
        age = (datetime.datetime.now() - trial.datetime_start).total_seconds()
        return age > max(STALE_SECONDS, 10 * longest)


class SurvivorPruner(BasePruner):
    """A pruner that does not see failed trials, so that a study continued after a kill prunes as an undisturbed one.

    With `spares` it ends no trial, but is asked all the same: successive halving notes what others compete with.
    """

    def __init__(self, pruner: BasePruner, spares: bool = False) -> None:
        self._pruner = pruner
        self._spares = spares

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Tell whether to end the trial early."""
        return self._pruner.prune(cast(optuna.Study, _Survivors(study)), trial) and not self._spares


class _Survivors:
    """A study without its failed trials."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy, states)
        return [trial for trial in trials if trial.state != TrialState.FAIL]
