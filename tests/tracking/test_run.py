from __future__ import annotations

import http.server
import json
import logging
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as StoredRun
from mlflow.exceptions import MlflowException

from seedbed.errors import UserError
from seedbed.tracking.process import this_host
from seedbed.tracking.record import CURVE_POINTS, read_record
from seedbed.tracking.run import start_run
from seedbed.tracking.store import COMPLETE_TAG, ERROR_TAG, PROCESS_TAG, Store
from seedbed.tracking.uri import tracking_uri


def client(project: Path) -> MlflowClient:
    return Store(tracking_uri(project), project).client


def runs(project: Path, experiment: str) -> list[StoredRun]:
    found = client(project).get_experiment_by_name(experiment)
    return list(client(project).search_runs([found.experiment_id], order_by=["start_time ASC"]))


def test_a_run_lands_in_the_store(project: Path) -> None:
    (project / "data.dvc").write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n")
    (project / "models").mkdir()
    (project / "models" / "weights.bin").write_bytes(b"abc")
    record = project / "reports" / "runs" / "train-localiser-eps.json"
    params = {"train": {"lr": 0.1, "steps": 3}, "scales": [0.5, 1.0], "weights": None}
    tags = {"data set": "sample"}
    with start_run("train-localiser", method="eps", root=project, record=record, params=params, tags=tags) as run:
        for step in range(3):
            run.metrics(step, {"loss": 1.0 / (step + 1), "lr": np.float32(0.5), "odd*name": 1})
        run.image("photo", np.zeros((600, 400, 3), np.uint8))
        run.artifact(project / "models", "model")
        run.dataset("sample", "0123456789abcdef0123456789abcdef.dir", "data/VOC")
        run.finish({"miou": 0.5, "per_class": {"cat": None}}, {"training": 2.0})

    (stored,) = runs(project, "seedbed/train-localiser")
    run_id = stored.info.run_id
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == "train-localiser-eps"
    assert stored.data.params == {"train.lr": "0.1", "train.steps": "3", "scales": "[0.5, 1.0]", "weights": "null"}
    wanted = {
        "stage": "train-localiser",
        "method": "eps",
        "data set": "sample",
        "data.hash": "0123456789abcdef0123456789abcdef.dir",
        COMPLETE_TAG: "true",
    }
    assert wanted.items() <= stored.data.tags.items()
    history = client(project).get_metric_history(run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert {"miou": 0.5, "timing.training": 2.0, "odd_name": 1.0}.items() <= stored.data.metrics.items()
    assert math.isnan(stored.data.metrics["per_class.cat"])
    assert any(name.startswith("system/") for name in stored.data.metrics)
    assert stored.inputs.dataset_inputs[0].dataset.name == "sample"
    listed = {
        file.path for folder in ("", "model", "images") for file in client(project).list_artifacts(run_id, folder)
    }
    assert {"environment.json", "model/weights.bin", "images/photo.jpg"} <= listed
    assert (project / "mlartifacts" / run_id / "artifacts" / "model" / "weights.bin").read_bytes() == b"abc"

    written = read_record(record)
    assert (written.mlflow.run_id, written.mlflow.logged, written.mlflow.missing) == (run_id, True, [])
    assert written.mlflow.uri == "sqlite:///mlflow.db"
    assert written.curves["loss"].value == [1.0, 0.5, 1 / 3]
    assert (written.metrics["miou"], written.metrics["per_class.cat"]) == (0.5, None)
    assert [(file.path, file.folder, file.bytes) for file in written.artifacts] == [("models/weights.bin", "model", 3)]


def test_trials_are_child_runs(project: Path) -> None:
    with start_run("study", root=project, record=project / "r.json") as run:
        run.child("trial 0", {"threshold": 0.2}, {"miou": 0.25}, seconds=2.0)
        run.child("trial 1", {"threshold": 0.3}, {}, status="KILLED")
    by_name = {stored.info.run_name: stored for stored in runs(project, "seedbed/study")}
    parent = by_name["study"].info.run_id
    assert {stored.data.tags.get("mlflow.parentRunId") for stored in by_name.values()} == {None, parent}
    first = by_name["trial 0"]
    assert (first.data.params, first.data.metrics) == ({"threshold": "0.2"}, {"miou": 0.25})
    assert first.info.end_time - first.info.start_time == 2000
    assert by_name["trial 1"].info.status == "KILLED"
    assert [child.name for child in read_record(project / "r.json").children] == ["trial 0", "trial 1"]


def test_values_that_mlflow_would_refuse(project: Path) -> None:
    params = {"long": "x" * 7000, "bad*name": 1, **{f"p{index}": index for index in range(150)}}
    with start_run("pseudo", root=project, record=project / "r.json", params=params, tags={"t": "y" * 9000}) as run:
        run.metrics(0, {"a//b/../c": math.nan, "n" * 300: math.inf})
    (stored,) = runs(project, "seedbed/pseudo")
    assert len(stored.data.params) == 152
    assert len(stored.data.params["long"]) == 6000
    assert stored.data.params["bad_name"] == "1"
    assert math.isnan(stored.data.metrics["a/b/c"])
    written = read_record(project / "r.json")
    assert written.mlflow.logged
    assert written.parameters["long"] == "x" * 7000
    assert written.curves["a//b/../c"].value == [None]


def test_a_record_keeps_curves_short(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.tracking.run.FLUSH_SECONDS", 3600.0)
    with start_run("train-saliency", root=project, record=project / "r.json") as run:
        for step in range(3000):
            run.metrics(step, {"loss": step})
    (stored,) = runs(project, "seedbed/train-saliency")
    assert len(client(project).get_metric_history(stored.info.run_id, "loss")) == 3000
    assert len(read_record(project / "r.json").curves["loss"].step) == CURVE_POINTS


@pytest.mark.parametrize(
    ("error", "status"), [(UserError("no such image\nline two"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_failed_stage_is_marked_and_keeps_the_old_record(project: Path, error: BaseException, status: str) -> None:
    (project / "r.json").write_text("the record of what is on disk")

    def fail() -> None:
        with start_run("seeds", root=project, record=project / "r.json") as run:
            run.metrics(0, {"loss": 1.0})
            raise error

    with pytest.raises(type(error)):
        fail()
    (stored,) = runs(project, "seedbed/seeds")
    assert stored.info.status == status
    assert stored.data.metrics["loss"] == 1.0
    assert stored.data.tags[ERROR_TAG] == (str(error).splitlines() or ["KeyboardInterrupt"])[0]
    assert COMPLETE_TAG not in stored.data.tags
    assert (project / "r.json").read_text() == "the record of what is on disk"


def test_an_unreachable_server_stops_nothing(
    project: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{closed_port}")
    (project / "w").write_bytes(b"1")
    with start_run("compare", root=project, record=project / "r.json", params={"a": 1}) as run:
        run.metrics(0, {"loss": 1.0})
        run.artifact(project / "w")
        run.child("t", {}, {"m": 1})
        run.finish({"miou": 0.5})
    written = read_record(project / "r.json")
    assert not written.mlflow.logged
    assert written.mlflow.run_id is None
    assert {"run", "parameters", "metrics", "artifact w", "child runs", "status"} <= set(written.mlflow.missing)
    assert (written.metrics, written.curves["loss"].value) == ({"miou": 0.5}, [1.0])
    (warning,) = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert "seedbed track" in warning.getMessage()
    assert "artifact w" in warning.getMessage()
    assert "secret" not in warning.getMessage() + (project / "r.json").read_text()


@pytest.mark.parametrize("uri", ["nosuch://x", "postgresql+nosuchdriver://db/x", "sqlite:////proc/no/mlflow.db"])
def test_an_unusable_store_stops_nothing(project: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with start_run("compare", root=project, record=project / "r.json") as run:
        run.metrics(0, {"loss": 1.0})
    state = read_record(project / "r.json").mlflow
    assert (state.logged, state.missing[0]) == (False, "run")
    assert state.reason


def test_mlflow_dying_midway(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with start_run("compare", root=project, record=project / "r.json") as run:
        run.metrics(0, {"loss": 1.0})

        def gone(*_: object, **__: object) -> None:
            raise MlflowException("the server went away")

        monkeypatch.setattr(MlflowClient, "log_batch", gone)
        run.metrics(1, {"loss": 0.5})
    state = read_record(project / "r.json").mlflow
    assert state.run_id is not None
    assert (state.logged, state.reason) == (False, "the server went away")
    assert state.missing == ["metrics", "system metrics", "status"]
    assert read_record(project / "r.json").curves["loss"].value == [1.0, 0.5]


def test_mlflow_coming_back_gets_everything(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    created = MlflowClient.create_run
    monkeypatch.setattr(MlflowClient, "create_run", lambda *_, **__: (_ for _ in ()).throw(MlflowException("booting")))
    with start_run("compare", root=project, record=project / "r.json") as run:
        run.metrics(0, {"loss": 1.0})
        monkeypatch.setattr(MlflowClient, "create_run", created)
        run.child("t", {"a": 1}, {"m": 1})
    assert read_record(project / "r.json").mlflow.logged
    by_name = {stored.info.run_name: stored for stored in runs(project, "seedbed/compare")}
    assert by_name["compare"].info.status == "FINISHED"
    assert by_name["compare"].data.metrics["loss"] == 1.0
    assert set(by_name) == {"compare", "t"}


def test_a_child_half_made_is_continued_not_doubled(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_batch = MlflowClient.log_batch
    with start_run("study", root=project, record=project / "r.json") as run:
        monkeypatch.setattr(MlflowClient, "log_batch", lambda *_, **__: (_ for _ in ()).throw(MlflowException("down")))
        run.child("t", {"a": 1}, {"m": 1})
        monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    assert sorted(stored.info.run_name for stored in runs(project, "seedbed/study")) == ["study", "t"]


def test_the_run_of_a_process_that_was_killed_is_closed_by_the_next(project: Path) -> None:
    store = Store(tracking_uri(project), project)
    experiment = store.experiment("seedbed/seeds")
    host = this_host()
    me = psutil.Process()
    marks = {
        "dead": f"{host}:{me.pid}:1.00",  # an earlier process of our number
        "alive": f"{host}:{me.pid}:{me.create_time():.2f}",
        "elsewhere": "another-host:1:1.00",
    }
    for name, mark in marks.items():
        store.create(experiment, name, datetime.now(UTC), {PROCESS_TAG: mark})
    with start_run("seeds", root=project, record=project / "r.json"):
        pass
    statuses = {stored.info.run_name: stored.info.status for stored in runs(project, "seedbed/seeds")}
    assert statuses == {"dead": "KILLED", "alive": "RUNNING", "elsewhere": "RUNNING", "seeds": "FINISHED"}


def test_only_the_first_of_many_processes_logs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with start_run("train-segmenter", root=project, record=project / "r.json") as run:
        run.metrics(0, {"loss": 1.0})
        run.image("x", np.zeros((4, 4), np.uint8))
        run.finish({"miou": 1.0})
    assert not (project / "r.json").exists()
    assert client(project).get_experiment_by_name("seedbed/train-segmenter") is None


class _Page(http.server.BaseHTTPRequestHandler):
    """A web server that is no MLflow."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web_server() -> Iterator[int]:
    """The port of a web server that is no MLflow."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_server_that_is_no_mlflow(project: Path, web_server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{web_server}")
    with start_run("compare", root=project, record=project / "r.json") as run:
        run.metrics(0, {"loss": 1.0})
    assert "run" in read_record(project / "r.json").mlflow.missing


_ONE_RUN = """
import sys
from pathlib import Path
from seedbed.tracking.run import start_run
root = Path(sys.argv[1])
with start_run("seeds", method=sys.argv[2], root=root, record=root / f"{sys.argv[2]}.json") as run:
    run.metrics(0, {"loss": 1.0})
"""


def test_two_processes_create_the_store_at_once_in_silence(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "DVC_ROOT")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _ONE_RUN, str(tmp_path), method],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for method in ("cam", "eps")
    ]
    printed = [process.communicate()[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    assert printed == ["", ""]
    states = [json.loads((tmp_path / f"{method}.json").read_text())["mlflow"] for method in ("cam", "eps")]
    assert [state["missing"] for state in states] == [[], []]
    assert {stored.info.run_id for stored in runs(tmp_path, "seedbed/seeds")} == {state["run_id"] for state in states}
