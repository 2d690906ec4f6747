from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from seedbed.errors import UserError
from seedbed.tracking.record import read_record
from seedbed.tracking.run import start_run
from seedbed.tracking.store import Store
from seedbed.tracking.sync import sync
from seedbed.tracking.uri import tracking_uri

STAGE = "study"


def work(project: Path) -> None:
    """Do one stage with a bit of everything."""
    (project / "weights").write_bytes(b"abc")
    with start_run(
        STAGE, method="eps", root=project, record=project / "runs" / "study-eps.json", params={"a": 1}
    ) as run:
        for step in range(3):
            run.metrics(step, {"loss": 1.0 / (step + 1), "gap": float("nan")})
        run.image("photo", np.zeros((8, 8), np.uint8))
        run.artifact(project / "weights", "model")
        run.dataset("sample", "d", "data")
        run.child("trial 0", {"t": 0.5}, {"miou": 0.25})
        run.child("trial 1", {"t": 0.6}, {"miou": 0.5})
        run.finish({"miou": 0.5}, {"fit": 1.0})


def content(project: Path) -> list[dict[str, Any]]:
    """Return everything in the store but its own ids, system metrics and traces of the process."""
    client = Store(tracking_uri(project), project).client
    experiment = client.get_experiment_by_name(f"seedbed/{STAGE}").experiment_id
    own = {"mlflow.parentRunId", "seedbed.process"}
    found = []
    for run in sorted(client.search_runs([experiment]), key=lambda run: str(run.info.run_name)):
        names = [name for name in run.data.metrics if not name.startswith("system/")]
        folders = [file.path for file in client.list_artifacts(run.info.run_id)]
        files = [file.path for folder in folders for file in client.list_artifacts(run.info.run_id, folder)]
        found.append(
            {
                "info": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time),
                "parameters": run.data.params,
                "tags": {name: value for name, value in run.data.tags.items() if name not in own},
                "curves": {
                    name: [
                        (point.step, repr(point.value), point.timestamp)
                        for point in client.get_metric_history(run.info.run_id, name)
                    ]
                    for name in names
                },
                "data": [(entry.dataset.name, entry.dataset.digest) for entry in run.inputs.dataset_inputs],
                "artifacts": sorted(folders + files),
            }
        )
    return found


def use_another_store(project: Path, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(empty, project / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")


def test_runs_of_this_store_are_present(project: Path) -> None:
    work(project)
    before = content(project)
    (synced,) = sync(project / "runs", project)
    assert (synced.outcome, synced.run_id) == ("present", read_record(synced.record).mlflow.run_id)
    assert content(project) == before


def test_an_empty_store_gets_the_same_run_once(
    project: Path, initialised_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(project)
    before = content(project)
    use_another_store(project, initialised_store, monkeypatch)
    first = sync(project / "runs", project)
    assert [(synced.outcome, synced.absent) for synced in first] == [("re-created", ())]
    assert content(project) == before
    second = sync(project / "runs", project)
    assert [(synced.outcome, synced.run_id) for synced in second] == [("present", first[0].run_id)]
    assert content(project) == before


def test_a_run_that_mlflow_lost_midway_is_completed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_batch, calls = MlflowClient.log_batch, []

    def failing(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) > 2:
            raise MlflowException("gone")
        return log_batch(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", failing)
        work(project)
    record = read_record(project / "runs" / "study-eps.json")
    assert not record.mlflow.logged
    (synced,) = sync(project / "runs", project)
    assert (synced.outcome, synced.run_id) == ("completed", record.mlflow.run_id)
    assert [run["info"][:2] for run in content(project)] == [
        ("study-eps", "FINISHED"),
        ("trial 0", "FINISHED"),
        ("trial 1", "FINISHED"),
    ]
    assert [point[0] for point in content(project)[0]["curves"]["loss"]] == [0, 1, 2]
    assert [synced.outcome for synced in sync(project / "runs", project)] == ["present"]


def test_an_interrupted_sync_is_completed_by_the_next(
    project: Path, initialised_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(project)
    before = content(project)
    use_another_store(project, initialised_store, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "end", lambda *_: (_ for _ in ()).throw(MlflowException("gone")))
        with pytest.raises(UserError, match="gone"):
            sync(project / "runs", project)
    assert [synced.outcome for synced in sync(project / "runs", project)] == ["completed"]
    assert content(project) == before


def test_an_artifact_that_has_changed_is_left_out_and_named(
    project: Path, initialised_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(project)
    (project / "weights").write_bytes(b"another")
    use_another_store(project, initialised_store, monkeypatch)
    (synced,) = sync(project / "runs", project)
    assert synced.absent == ("weights",)
    assert "model" not in content(project)[0]["artifacts"]


def test_an_experiment_deleted_by_hand_comes_back(project: Path) -> None:
    work(project)
    client = Store(tracking_uri(project), project).client
    client.delete_experiment(client.get_experiment_by_name(f"seedbed/{STAGE}").experiment_id)
    assert [synced.outcome for synced in sync(project / "runs", project)] == ["present"]


def test_no_records_are_no_error(project: Path) -> None:
    assert sync(project / "runs", project) == []


def test_an_unreachable_store_is_an_error_here(
    project: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{closed_port}")
    with pytest.raises(UserError, match=r"127\.0\.0\.1") as caught:
        sync(project / "runs", project)
    assert "secret" not in str(caught.value)
