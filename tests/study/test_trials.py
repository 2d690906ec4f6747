import contextlib
import math
import signal
import subprocess
import sys
import textwrap
import time
import types

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.pruners import SuccessiveHalvingPruner, WilcoxonPruner
from optuna.trial import TrialState

from seedbed.errors import UserError
from seedbed.study import trials as trials_module
from seedbed.study.places import PLACE
from seedbed.study.trials import Runner, Search, TrialRecord, best, pareto, prune

SEARCH = textwrap.dedent("""
    import os, signal, sys
    from optuna import TrialPruned
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.pruners import SuccessiveHalvingPruner
    from seedbed.study.trials import Runner, Search

    SPACE = {"x": FloatDistribution(0, 1, step=0.01), "y": IntDistribution(0, 9)}

    def search(die_at=None, pruner=None):
        started = []

        def objective(trial):
            started.append(trial)
            x, y = trial.params["x"], trial.params["y"]
            score = 1 - (x - 0.3) ** 2 - (y - 4) ** 2 / 50
            for step in range(1, 5):
                trial.report(score - 1 / step, step)
                hopeless = trial.should_prune()
                if len(started) == die_at and step == 2 - hopeless:
                    os.kill(os.getpid(), signal.SIGKILL)
                if hopeless:
                    raise TrialPruned
            return score

        values = lambda params: {"x": params["x"], "z": params["y"] / 10}
        return Search("test", "same", objective, {"x": 0.5, "y": 0}, values, startup=3, space=SPACE, pruner=pruner)

    def halving():
        return SuccessiveHalvingPruner(reduction_factor=2)
    """)


@pytest.fixture
def search():
    namespace = {}
    exec(SEARCH, namespace)
    return namespace["search"]


def killed(storage, die_at, sampler="tpe", pruner="None", seed=3):
    """Run the study in a process that kills itself amid a trial."""
    run = f"Runner(sys.argv[1], {seed}, {sampler!r}).run(search(die_at={die_at}, pruner={pruner}), 8)"
    process = subprocess.run([sys.executable, "-c", f"{SEARCH}\n{run}", storage], check=False)
    assert process.returncode == -signal.SIGKILL


def states(runner, search):
    with runner.opened(search) as study:
        return [trial.state for trial in study.trials]


@pytest.mark.parametrize(
    ("sampler", "die_at"),
    [("tpe", 1), ("tpe", 2), ("tpe", 6), ("gp", 6), ("cmaes", 7), ("random", 3), ("grid", 3)],
)
def test_a_killed_study_continues_to_the_trials_of_an_undisturbed_one(tmp_path, search, sampler, die_at):
    killed(tmp_path / "killed", die_at, sampler)
    runner = Runner(tmp_path / "killed", 3, sampler)
    resumed = runner.run(search(), 8)
    assert resumed == Runner(tmp_path / "whole", 3, sampler).run(search(), 8)
    assert resumed[0].values == {"x": 0.5, "z": 0.0}
    assert states(runner, search()).index(TrialState.FAIL) == die_at - 1
    assert states(runner, search()).count(TrialState.COMPLETE) == 8


def test_a_killed_study_prunes_as_an_undisturbed_one(tmp_path, search):
    killed(tmp_path / "killed", 4, pruner="halving()")
    runs = [
        Runner(tmp_path / name, 3).run(search(pruner=SuccessiveHalvingPruner(reduction_factor=2)), 8)
        for name in ("killed", "whole")
    ]
    assert runs[0] == runs[1]
    assert {record.state for record in runs[0]} == {"complete", "pruned"}


class NothingLeftError(Exception):
    """Another process is at work on all that is left."""


class Verdicts(optuna.pruners.BasePruner):
    """A pruner that notes what it says of the trial at place 0."""

    def __init__(self, pruner):
        self.pruner, self.noted = pruner, []

    def prune(self, study, trial):
        verdict = self.pruner.prune(study, trial)
        if trial.user_attrs[PLACE] == 0:
            self.noted.append(verdict)
        return verdict


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("pruner", ["wilcoxon", "halving"])
def test_the_published_trial_ends_however_good_those_are_that_others_finished_before(tmp_path, monkeypatch, pruner):
    def nothing_left(seconds):
        raise NothingLeftError

    def objective(trial):
        place, hopeless = trial._cached_frozen_trial.user_attrs[PLACE], False
        if place == 0:
            with contextlib.suppress(NothingLeftError):  # as another process would, at the same time
                Runner(tmp_path / "journal", 0).run(search, 6)
        for step in range(1, 9):
            trial.report(place / 6 + step / 100, step)
            hopeless = hopeless or trial.should_prune()
        if hopeless:
            raise optuna.TrialPruned
        return place / 6

    monkeypatch.setattr(trials_module, "time", types.SimpleNamespace(sleep=nothing_left))
    halving = SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    early = Verdicts(WilcoxonPruner(n_startup_steps=2) if pruner == "wilcoxon" else halving)
    search = Search("test", "f", objective, {"x": 0.5}, dict, space={"x": FloatDistribution(0, 1)}, pruner=early)
    records = Runner(tmp_path / "journal", 0).run(search, 6)
    with Runner(tmp_path / "journal", 0).opened(search) as study:
        last = max(study.trials, key=lambda trial: trial.datetime_complete)
    assert last.user_attrs[PLACE] == 0
    assert any(early.noted)
    assert ("completed_rung_1" in last.system_attrs) == (pruner == "halving")  # the others compete with it
    assert (records[0].state, records[0].miou) == ("complete", 0)


def test_a_killed_study_in_postgresql_continues_too(tmp_path, postgres, search):
    seed = time.time_ns() % 2**31  # a study of its own, whatever the database holds
    killed(postgres, 5, seed=seed)
    runner = Runner(postgres, seed)
    assert runner.run(search(), 8) == Runner(tmp_path / "whole", seed).run(search(), 8)
    assert states(runner, search()).count(TrialState.FAIL) == 1


def test_a_finished_study_is_not_run_again(tmp_path, search):
    first = Runner(tmp_path / "journal", 0).run(search(), 5)
    heard = []
    assert Runner(tmp_path / "journal", 0, on_trial=heard.append).run(search(die_at=1), 5) == first
    assert heard == first
    assert Runner(tmp_path / "journal", 0).run(search(die_at=1), 3) == first[:3]


def test_the_seed_and_nothing_else_decides_the_trials(tmp_path, search):
    runs = [Runner(tmp_path / name, seed).run(search(), 6) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert runs[0] == runs[1]
    assert runs[0][1:] != runs[2][1:]


def test_studies_of_other_samplers_seeds_and_fingerprints_share_a_storage(tmp_path, search):
    whole = [
        Runner(tmp_path / "journal", seed, sampler).run(search(), 3) for seed, sampler in ((0, "tpe"), (1, "random"))
    ]
    assert [len(records) for records in whole] == [3, 3]
    assert Runner(tmp_path / "journal", 0, "tpe").run(search(die_at=1), 3) == whole[0]


def test_a_grid_ends_with_its_last_setting(tmp_path):
    space = {"x": FloatDistribution(0, 1, step=0.25), "y": IntDistribution(0, 2)}

    def scored(published):
        return Search("test", "same", lambda trial: trial.params["x"], published, dict, space=space)

    on_grid = Runner(tmp_path / "on", 0, "grid").run(scored({"x": 0.5, "y": 1}), 100)
    off_grid = Runner(tmp_path / "off", 0, "grid").run(scored({"x": 0.5, "y": 1}), 4)
    assert on_grid[0].values == {"x": 0.5, "y": 1}
    assert len(on_grid) == len({tuple(record.values.values()) for record in on_grid}) == 15
    assert off_grid == on_grid[:4]


def test_a_pruned_trial_is_told_from_a_complete_one_and_never_the_best(tmp_path):
    def objective(trial):
        x = trial.suggest_int("x", 0, 3)
        trial.report(9, 1)
        if trial.number % 4 == 1:
            raise optuna.TrialPruned
        if trial.number % 4 == 3:
            prune(trial, 0.25)
        return x

    records = Runner(tmp_path / "journal", 0).run(Search("test", "f", objective, {"x": 1}, dict), 4)
    assert [record.state for record in records] == ["complete", "pruned", "complete", "pruned"]
    assert [record.miou for record in records[1::2]] == [9, 0.25]
    assert best(records).miou == max(record.miou for record in records if record.state == "complete")


def test_an_error_in_a_trial_fails_it_and_the_next_run_tries_the_same_setting_again(tmp_path, search):
    def broken(trial):
        raise UserError("no such map")

    runner = Runner(tmp_path / "journal", 0)
    with pytest.raises(UserError, match="no such map"):
        runner.run(Search("test", "same", broken, {"x": 0.5, "y": 0}, dict), 3)
    assert states(runner, search()) == [TrialState.FAIL]
    assert runner.run(search(), 3) == Runner(tmp_path / "whole", 0).run(search(), 3)


@pytest.mark.parametrize("score", [math.nan, -math.inf])
def test_a_score_that_is_no_number_is_an_error(tmp_path, score):
    scored = Search("test", "same", lambda trial: score, {}, dict)
    with pytest.raises(UserError, match="no number to compare"):
        Runner(tmp_path / "journal", 0).run(scored, 3)


def test_two_objectives_are_mean_iou_and_seconds(tmp_path):
    space = {"x": FloatDistribution(0, 1)}
    search = Search(
        "test",
        "f",
        lambda trial: (trial.params["x"], trial.params["x"] ** 2),
        {"x": 0.5},
        dict,
        space=space,
        timed=True,
    )
    for sampler in ("tpe", "random"):
        records = Runner(tmp_path / "journal", 0, sampler).run(search, 12)
        assert [record.cost for record in records] == [record.miou**2 for record in records]
        assert pareto(records) == sorted(records, key=lambda record: record.miou)
        assert best(records) == max(records, key=lambda record: record.miou)
    with pytest.raises(UserError, match="cmaes searches one objective"):
        Runner(tmp_path / "journal", 0, "cmaes").run(search, 2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_pareto_front_holds_what_nothing_beats(scores):
    records = [
        TrialRecord("test", number, "complete", miou, {}, cost=cost) for number, (miou, cost) in enumerate(scores)
    ]
    front = pareto(records)
    for record in records:
        beaten = any(
            other.miou >= record.miou
            and other.cost <= record.cost
            and (other.miou, other.cost) != (record.miou, record.cost)
            for other in records
        )
        assert ((record.miou, record.cost) in [(one.miou, one.cost) for one in front]) == (not beaten)
    assert [one.cost for one in front] == sorted({one.cost for one in front})
    assert len({one.miou for one in front}) == len(front)
    assert best(records).cost == min(one.cost for one in records if one.miou == max(other.miou for other in records))


def test_records_say_how_long_a_trial_took(tmp_path, search):
    records = Runner(tmp_path / "journal", 0).run(search(), 3)
    with Runner(tmp_path / "journal", 0).opened(search()) as study:
        assert [record.seconds for record in records] == [trial.duration.total_seconds() for trial in study.trials]
    assert np.all([record.seconds > 0 for record in records])


def test_optuna_is_quiet_only_while_it_runs(tmp_path, search, capfd):
    before = optuna.logging.get_verbosity()
    Runner(tmp_path / "journal", 0).run(search(), 2)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""
