"""What a storage holds: one summary per study."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import TrialState

from seedbed.errors import UserError
from seedbed.study.storage import Location
from seedbed.study.trials import IMAGES, KIND, METHOD, SETTING, Number, quiet_optuna


@dataclass(frozen=True)
class StudySummary:
    """A study: its name in the storage, what it is of, its `trials` by state, and what it found so far.

    `miou` and `setting` are of the best complete trial, None and empty before there is one; `pareto` is the number of
    trials on the Pareto front, None for a single objective. `kind`, `method` and `images`, on which trials are scored,
    are None where they were not noted.
    """

    name: str
    kind: str | None
    method: str | None
    trials: dict[str, int]
    miou: float | None
    setting: dict[str, Number]
    pareto: int | None
    images: int | None


def describe_studies(storage: str | Path) -> list[StudySummary]:
    """Return a summary of every study in the storage at a path or URL (see `open_storage`), in the order of creation.

    Raises UserError as `open_storage` does, and where there is no file of that name.
    """
    location = Location.of(storage)
    if location.file is not None and not location.file.is_file():
        raise UserError(f"{location.file} does not exist: no study was kept there", "seedbed study")
    with quiet_optuna(), location.opened() as opened:
        names = [study.study_name for study in opened.get_all_studies()]
        return [_summary(optuna.load_study(study_name=name, storage=opened)) for name in names]


def _summary(study: optuna.Study) -> StudySummary:
    trials = study.get_trials(deepcopy=False)
    states = Counter(trial.state.name.lower() for trial in trials)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = max(complete, key=lambda trial: (trial.values[0], -trial.number), default=None)
    attributes = study.user_attrs
    return StudySummary(
        name=study.study_name,
        kind=attributes.get(KIND),
        method=attributes.get(METHOD),
        trials=dict(sorted(states.items())),
        miou=best.values[0] if best else None,
        setting=best.user_attrs.get(SETTING, best.params) if best else {},
        pareto=len(study.best_trials) if len(study.directions) > 1 else None,
        images=attributes.get(IMAGES),
    )
