"""Plots of a study: its history, which parameters matter, and how."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
from matplotlib import pyplot as plt
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna.visualization import matplotlib as draw

from seedbed.files import write_atomic
from seedbed.study.places import FINISHED, PLACE
from seedbed.study.trials import SETTING, quiet_optuna

NAMES = ("history", "importance", "slice", "contour", "pareto")
"""All plots there are."""

ENOUGH = 10
"""Complete trials from which on the importance of parameters is estimated."""

_NAME = "mIoU"
_TOP = 0.25  # a parameter matters as far as the best quarter of the trials have other values of it than all


def write_plots(study: optuna.Study, folder: Path) -> list[Path]:
    """Write the plots NAMES, as PNG, of what `study` holds; return their paths. Those of an earlier run go first.

    Parameters are shown by the values that they mean. Importance [PED-ANOVA, Watanabe et al., IJCAI 2023] needs two of
    them and ENOUGH trials, the contour of the two that matter most two of them; the Pareto front is of studies with two
    objectives. No complete trial: no plot. Equal studies give equal files.
    """
    remove_plots(folder)
    trials = [trial for trial in study.get_trials(deepcopy=False, states=FINISHED) if trial.values]
    if all(trial.state == TrialState.PRUNED for trial in trials):
        return []
    plt.switch_backend("agg")
    with quiet_optuna(), mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        plots = _plots(_settled(sorted(trials, key=lambda trial: trial.user_attrs.get(PLACE, trial.number))))
        if len(study.directions) == 2:
            plots["pareto"] = partial(draw.plot_pareto_front, study, target_names=[_NAME, "seconds per image"])
        return [_write(folder / f"{name}.png", plot) for name, plot in plots.items()]


def remove_plots(folder: Path) -> None:
    """Remove what `write_plots` writes."""
    for name in NAMES:
        (folder / f"{name}.png").unlink(missing_ok=True)


def _plots(study: optuna.Study) -> dict[str, Callable[[], Any]]:
    """Return the plots that `study`, of one objective, is large enough for."""
    parameters = list(study.get_trials(deepcopy=False)[0].distributions)
    plots: dict[str, Callable[[], Any]] = {"history": partial(draw.plot_optimization_history, study, target_name=_NAME)}
    if parameters:
        plots["slice"] = partial(draw.plot_slice, study, target_name=_NAME)
    if len(parameters) < 2:
        return plots
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) >= ENOUGH:
        evaluator = PedAnovaImportanceEvaluator(target_quantile=_TOP)
        plots["importance"] = partial(draw.plot_param_importances, study, evaluator, target_name=_NAME)
        parameters = list(get_param_importances(study, evaluator=evaluator))
    plots["contour"] = partial(draw.plot_contour, study, parameters[:2], target_name=_NAME)
    return plots


def _settled(trials: list[FrozenTrial]) -> optuna.Study:
    """Return a study in memory: the first objective of `trials` by the settings that their parameters mean.

    A parameter that never varies is left out.
    """
    settings = [trial.user_attrs.get(SETTING, trial.params) for trial in trials]
    distributions: dict[str, BaseDistribution] = {}
    for name in settings[0]:
        values = [setting[name] for setting in settings]
        if min(values) < max(values):
            logarithmic = any(_is_log(trial, name) for trial in trials)
            distributions[name] = FloatDistribution(min(values), max(values), log=logarithmic)
    study = optuna.create_study(direction="maximize")
    for trial, setting in zip(trials, settings, strict=True):
        assert trial.values is not None
        params = {name: float(setting[name]) for name in distributions}
        study.add_trial(
            create_trial(state=trial.state, value=trial.values[0], params=params, distributions=distributions)
        )
    return study


def _is_log(trial: FrozenTrial, name: str) -> bool:
    distribution = trial.distributions.get(name)
    return isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log


def _write(path: Path, plot: Callable[[], Any]) -> Path:
    figure = np.ravel(plot())[0].figure
    try:
        write_atomic(
            path,
            lambda stream: figure.savefig(
                stream, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None}
            ),
        )
    finally:
        plt.close(figure)
    return path
