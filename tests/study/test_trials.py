import fcntl
import os
import signal
import subprocess
import sys
import textwrap

import optuna
import pytest

from seedbed.errors import UserError
from seedbed.study.trials import Runner, Search, best

SEARCH = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from seedbed.study.trials import Runner, Search

    def search(die_at=None):
        started = []

        def objective(trial):
            started.append(trial)
            x, y = trial.suggest_float("x", 0, 1), trial.suggest_int("y", 0, 9)
            if len(started) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return 1 - (x - 0.3) ** 2 - (y - 4) ** 2 / 50

        return Search("test", "same", objective, {"x": 0.5, "y": 0}, dict, startup=3)
    """)


@pytest.fixture
def search():
    namespace = {}
    exec(SEARCH, namespace)
    return namespace["search"]


@pytest.mark.parametrize("die_at", [1, 2, 6])
def test_a_killed_study_continues_to_the_trials_of_an_undisturbed_one(tmp_path, search, die_at):
    code = SEARCH + f"Runner(Path(sys.argv[1]), 3).run(search(die_at={die_at}), 8)"
    killed = subprocess.run([sys.executable, "-c", code, tmp_path / "killed"], check=False)
    assert killed.returncode == -signal.SIGKILL
    resumed = Runner(tmp_path / "killed", 3).run(search(), 8)
    assert resumed == Runner(tmp_path / "whole", 3).run(search(), 8)
    assert resumed[0].values == {"x": 0.5, "y": 0}


def test_a_half_written_line_is_cut_off(tmp_path, search):
    whole = Runner(tmp_path / "journal", 0).run(search(), 5)
    with (tmp_path / "journal").open("ab") as journal:
        journal.write(b'{"op_code": 4, "wor')
    assert Runner(tmp_path / "journal", 0).run(search(), 7)[:5] == whole


def test_a_finished_study_is_not_run_again(tmp_path, search):
    first = Runner(tmp_path / "journal", 0).run(search(), 5)
    heard = []
    assert Runner(tmp_path / "journal", 0, heard.append).run(search(die_at=1), 5) == first
    assert heard == first
    assert Runner(tmp_path / "journal", 0).run(search(die_at=1), 3) == first[:3]


def test_the_seed_and_nothing_else_decides_the_trials(tmp_path, search):
    runs = [Runner(tmp_path / name, seed).run(search(), 6) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert runs[0] == runs[1]
    assert runs[0][1:] != runs[2][1:]


def test_a_pruned_trial_is_told_from_a_complete_one_and_never_the_best(tmp_path):
    def objective(trial):
        x = trial.suggest_int("x", 0, 3)
        trial.report(9, 1)
        if trial.number % 2:
            raise optuna.TrialPruned
        return x

    records = Runner(tmp_path / "journal", 0).run(Search("test", "f", objective, {"x": 1}, dict), 4)
    assert [record.state for record in records] == ["complete", "pruned", "complete", "pruned"]
    assert best(records).miou == max(record.miou for record in records if record.state == "complete")


def test_another_writer_is_refused(tmp_path, search):
    handle = os.open(tmp_path / "journal", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process"):
            Runner(tmp_path / "journal", 0).run(search(), 1)
    finally:
        os.close(handle)


def test_optuna_is_quiet_only_while_it_runs(tmp_path, search, capfd):
    before = optuna.logging.get_verbosity()
    Runner(tmp_path / "journal", 0).run(search(), 2)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""
