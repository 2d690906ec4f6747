import datetime
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from seedbed.study import places as places_module
from seedbed.study import storage as storage_module
from seedbed.study.places import PLACE, PROCESS, Places
from seedbed.study.storage import Location
from seedbed.study.trials import Runner, Search
from seedbed.tracking.process import this_process

TRIALS = 12
SHARED = textwrap.dedent("""
    import json, os, signal, sys, time
    from pathlib import Path
    from optuna.distributions import FloatDistribution, IntDistribution
    from seedbed.study.trials import Runner, Search

    SPACE = {"x": FloatDistribution(0, 1), "y": IntDistribution(0, 9)}

    def search(fingerprint, meeting=None, dies=False):
        def objective(trial):
            if meeting is not None:  # every process begins with a trial of its own, and waits for the others
                (meeting / str(os.getpid())).touch()
                while len(list(meeting.iterdir())) < 3:
                    time.sleep(0.01)
                if dies:
                    os.kill(os.getpid(), signal.SIGKILL)
            return 1 - (trial.params["x"] - 0.3) ** 2 - (trial.params["y"] - 4) ** 2 / 50

        return Search("test", fingerprint, objective, {"x": 0.5, "y": 0}, dict, startup=3, space=SPACE)

    if __name__ == "__main__":
        storage, fingerprint, meeting, dies = sys.argv[1:]
        heard = []
        records = Runner(storage, 3, on_trial=heard.append).run(search(fingerprint, Path(meeting), dies == "dies"), 12)
        assert heard == records
        print(json.dumps([[record.number, record.miou, record.values] for record in records]))
    """)


@pytest.fixture
def search():
    namespace = {"__name__": "shared"}
    exec(SHARED, namespace)
    return namespace["search"]


@pytest.fixture(params=["journal", "sqlite", "postgres"])
def storage(request, tmp_path):
    if request.param == "postgres":
        return request.getfixturevalue("postgres")
    return str(tmp_path / "journal") if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"


def run_three(storage, fingerprint, meeting, dies=()):
    """Run the same study in three processes at once; return their exit codes and what they print."""
    meeting.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED, storage, fingerprint, meeting, "dies" if index in dies else "lives"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    return [process.returncode for process in processes], outputs


@pytest.mark.parametrize("dies", [(), (1,)], ids=["all live", "one dies"])
def test_processes_share_a_study_and_lose_nothing(tmp_path, storage, search, dies):
    fingerprint = uuid.uuid4().hex
    codes, outputs = run_three(storage, fingerprint, tmp_path / "meeting", dies)
    assert codes == [-signal.SIGKILL if index in dies else 0 for index in range(3)]
    printed = [json.loads(output) for index, output in enumerate(outputs) if index not in dies]
    assert all(records == printed[0] for records in printed)
    assert [number for number, *_ in printed[0]] == list(range(TRIALS))
    with Runner(storage, 3).opened(search(fingerprint)) as study:
        trials = study.trials
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert sorted(trial.user_attrs[PLACE] for trial in finished) == list(range(TRIALS))
    assert [trial.state for trial in trials if trial not in finished] == [TrialState.FAIL] * len(dies)
    assert len({trial.user_attrs[PROCESS] for trial in trials}) == 3
    assert len({tuple(trial.params.values()) for trial in finished}) == TRIALS


@pytest.fixture
def study_of(request):
    """Return a function that opens the places of a study of two trials, and its study."""
    opened = []

    def open_study(url):
        location = Location.of(url)
        manager = location.opened()
        storage = manager.__enter__()
        opened.append(manager)
        study = optuna.create_study(storage=storage, study_name=uuid.uuid4().hex, direction="maximize")
        return study, Places(study, storage, location.lock, 2), storage

    yield open_study
    for manager in opened:
        manager.__exit__(None, None, None)


def of_another_host():
    return "elsewhere:" + this_process().split(":", 1)[1]


def states(study):
    return [trial.state for trial in study.trials]


def test_no_place_is_given_twice_while_its_process_lives(tmp_path, study_of):
    _, places, _ = study_of(tmp_path / "journal")
    assert [claim and claim.place for claim in (places.claim({}), places.claim({}), places.claim({}))] == [0, 1, None]
    assert places.finished() == {}


def test_what_others_put_into_the_study_is_left_alone(tmp_path, study_of):
    study, places, _ = study_of(tmp_path / "journal")
    study.enqueue_trial({"x": 1})
    study.add_trial(optuna.create_trial(value=3.0))
    assert places.claim({}).place == 0
    assert places.finished() == {}


def test_a_trial_of_another_machine_in_a_journal_is_dead_when_it_is_old(tmp_path, study_of, monkeypatch):
    monkeypatch.setattr(places_module, "this_process", of_another_host)
    study, places, _ = study_of(tmp_path / "journal")
    places.claim({})
    monkeypatch.undo()
    assert places.claim({}).place == 1
    assert places.claim({}) is None
    assert states(study) == [TrialState.RUNNING, TrialState.RUNNING]
    now = datetime.datetime.now() + datetime.timedelta(seconds=places_module.STALE_SECONDS + 60)
    monkeypatch.setattr(places_module, "datetime", FrozenClock(now))
    assert places.claim({}).place == 0
    assert states(study) == [TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING]


@pytest.mark.parametrize(("minutes", "dead"), [(295, False), (305, True)])
def test_a_trial_of_another_machine_may_take_ten_times_as_long_as_the_longest(
    tmp_path, study_of, monkeypatch, minutes, dead
):
    study, places, _ = study_of(tmp_path / "journal")
    for place, taken in ((0, 30), (5, 10)):  # minutes
        done = optuna.create_trial(value=1.0, user_attrs={PLACE: place, PROCESS: this_process()})
        done.datetime_start = done.datetime_complete - datetime.timedelta(minutes=taken)
        study.add_trial(done)
    monkeypatch.setattr(places_module, "this_process", of_another_host)
    assert places.claim({}).place == 1
    monkeypatch.undo()
    now = datetime.datetime.now() + datetime.timedelta(minutes=minutes)
    monkeypatch.setattr(places_module, "datetime", FrozenClock(now))
    assert (places.claim({}) is not None) == dead


class FrozenClock:
    def __init__(self, now):
        self.datetime = self
        self._now = now

    def now(self):
        return self._now


def test_a_trial_of_another_machine_in_a_database_is_dead_when_its_heart_stops(tmp_path, study_of, monkeypatch):
    monkeypatch.setattr(storage_module, "GRACE_SECONDS", 1)
    monkeypatch.setattr(places_module, "this_process", of_another_host)
    study, places, storage = study_of(f"sqlite:///{tmp_path}/study.db")
    silent, beating = places.claim({}), places.claim({})
    for _ in range(60):  # SQLite counts whole seconds
        storage.record_heartbeat(beating.trial_id)
        if (taken := places.claim({})) is not None:
            break
        time.sleep(0.1)
    assert taken.place == silent.place
    assert states(study) == [TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING]


def test_a_running_trial_beats(tmp_path, study_of, monkeypatch):
    monkeypatch.setattr(places_module, "HEARTBEAT_SECONDS", 0.01)
    _, places, storage = study_of(f"sqlite:///{tmp_path}/study.db")
    claim, beats = places.claim({}), []
    monkeypatch.setattr(storage, "record_heartbeat", beats.append)
    with places.beating(claim.trial_id):
        while len(beats) < 3:
            time.sleep(0.01)
    assert set(beats) == {claim.trial_id}


def test_a_trial_that_was_taken_over_changes_nothing_when_it_ends(tmp_path):
    storage = tmp_path / "journal"

    def objective(trial):
        if trial.number == 0:  # as if this process had been taken for dead
            trial.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        return 0.5 + trial.number

    search = Search("test", "f", objective, {}, dict)
    assert [record.miou for record in Runner(storage, 0).run(search, 2)] == [1.5, 2.5]
    with Runner(storage, 0).opened(search) as study:
        assert states(study) == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]


def test_a_zombie_counts_as_dead(tmp_path, study_of, monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    host, _, _ = this_process().rsplit(":", 2)
    tag = f"{host}:{child.pid}:{psutil.Process(child.pid).create_time():.2f}"
    monkeypatch.setattr(places_module, "this_process", lambda: tag)
    _, places, _ = study_of(tmp_path / "journal")
    places.claim({})
    monkeypatch.undo()
    assert places.claim({}).place == 1
    os.kill(child.pid, signal.SIGKILL)
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert places.claim({}).place == 0
    child.wait()
