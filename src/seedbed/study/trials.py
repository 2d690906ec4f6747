"""Optuna studies that survive being killed: a journal file, one seed per trial, the published setting first."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from seedbed.errors import UserError
from seedbed.files import disk_errors

Number = int | float
Settings = Mapping[str, Number]
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class TrialRecord:
    """A finished trial: study (`fusion/<rule>` or `crf`), place in the order, setting, mIoU on the tune images."""

    study: str
    number: int
    state: Literal["complete", "pruned"]
    miou: float
    values: dict[str, Number]


OnTrial = Callable[[TrialRecord], None]


@dataclass(frozen=True)
class Search:
    """What to search: `objective` scores a trial (higher is better) or raises `optuna.TrialPruned`.

    `kind` names the study for people, `fingerprint` everything that the scores depend on: a journal is continued only
    by the same. `published` are the Optuna parameters of the first trial; `values` turns a trial's parameters into the
    setting they mean. `startup` trials are random before TPE learns from them.
    """

    kind: str
    fingerprint: str
    objective: Callable[[Trial], float]
    published: Settings
    values: Callable[[Settings], dict[str, Number]]
    startup: int = 10
    pruner: BasePruner | None = None


@dataclass(frozen=True)
class Runner:
    """Runs searches in one `journal` file; `on_trial` hears of every finished trial, earlier processes' included."""

    journal: Path
    seed: int
    on_trial: OnTrial | None = None

    def run(self, search: Search, trials: int) -> list[TrialRecord]:
        """Bring the study of `search` to `trials` finished trials and return them, in order.

        Killed at any moment, the next call continues and ends with the same trials as an undisturbed one: the sampler
        of each trial is seeded from `seed` and the number of trials before it, and a trial that a killed process left
        open is marked as failed. Raises UserError when another process writes to the journal.
        """
        with _sole_writer(self.journal), _quiet_optuna(), disk_errors(self.journal):
            study = self._open(search)
            finished = study.get_trials(deepcopy=False, states=_FINISHED)
            if not finished and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                study.enqueue_trial(dict(search.published))
            records = []
            for number in range(trials):
                trial = finished[number] if number < len(finished) else self._next(study, search, number)
                records.append(_record(search, number, trial))
                if self.on_trial:
                    self.on_trial(records[-1])
            return records

    def _open(self, search: Search) -> optuna.Study:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(self.journal), _Held(str(self.journal)))),
            study_name=f"{search.kind}/{self.seed}/{search.fingerprint}",
            direction="maximize",
            pruner=search.pruner or NopPruner(),
            load_if_exists=True,
        )
        for abandoned in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(abandoned.number, state=TrialState.FAIL)
        return study

    def _next(self, study: optuna.Study, search: Search, number: int) -> FrozenTrial:
        trial_seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        study.sampler = TPESampler(seed=trial_seed, n_startup_trials=search.startup)
        trial = study.ask()
        try:
            score = search.objective(trial)
        except optuna.TrialPruned:
            return study.tell(trial, state=TrialState.PRUNED)
        return study.tell(trial, score)


def best(records: list[TrialRecord]) -> TrialRecord:
    """Return the complete trial with the highest score, the earliest of equals."""
    return max(
        (record for record in records if record.state == "complete"), key=lambda record: (record.miou, -record.number)
    )


def _record(search: Search, number: int, trial: FrozenTrial) -> TrialRecord:
    assert trial.value is not None  # a finished trial has one; a pruned one's is the last it reported
    state: Literal["complete", "pruned"] = "complete" if trial.state == TrialState.COMPLETE else "pruned"
    return TrialRecord(search.kind, number, state, trial.value, search.values(trial.params))


class _Held(JournalFileOpenLock):
    """No lock: Optuna's is a file, which a killed process leaves behind, and `_sole_writer` excludes others already."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


@contextlib.contextmanager
def _sole_writer(journal: Path) -> Iterator[None]:
    """Hold the journal alone, by a lock that the kernel drops with the process, and cut off a half-written line."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("ab+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is running the studies in {journal}", "wait until it ends") from None
        stream.seek(0)
        content = stream.read()
        if not content.endswith(b"\n"):
            os.truncate(journal, content.rfind(b"\n") + 1)
        yield


@contextlib.contextmanager
def _quiet_optuna() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
