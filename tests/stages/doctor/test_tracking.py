from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seedbed.paths import Paths
from seedbed.stages.doctor.tracking import knock, probe_mlflow
from seedbed.tracking.record import Logged, Record
from seedbed.tracking.sync import sync

DEAD = "127.0.0.1:9"


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A project with the record of one run."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    paths = Paths(tmp_path)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    logged = Logged(uri="sqlite:///mlflow.db", experiment="seedbed/seeds")
    Record(id="a1", stage="seeds", method="eps", started=moment, ended=moment, mlflow=logged).write(
        paths.record("seeds", "eps")
    )
    return paths


def test_a_store_that_is_not_made_yet(paths: Paths) -> None:
    (line,) = probe_mlflow(paths)
    assert (line.state, line.fix) == ("note", "seedbed track")
    paths.record("seeds", "eps").unlink()
    (line,) = probe_mlflow(paths)
    assert line.state == "ok"
    assert not list(paths.root.glob("mlflow.db*")), "looking must not make it"


def test_runs_that_the_store_lacks_are_named(paths: Paths) -> None:
    sync(paths.root / "empty", paths.root)
    sync(paths.records, paths.root)
    (line,) = probe_mlflow(paths)
    assert line.what == "sqlite:///mlflow.db, with all 1 runs whose records are here"
    record = Record.model_validate_json(paths.record("seeds", "eps").read_text())
    record.model_copy(update={"id": "a2", "method": "cam"}).write(paths.record("seeds", "cam"))
    fine, missing = probe_mlflow(paths)
    assert fine.state == "ok"
    assert missing.state == "note"
    assert missing.what == "1 of 2 runs are not there: seeds-cam"


def test_a_file_that_is_no_record_is_named_beside_the_others(paths: Paths) -> None:
    sync(paths.records, paths.root)
    paths.record("study", "eps").write_text("{")
    wrong, fine = probe_mlflow(paths)
    assert wrong.state == "problem"
    assert "study-eps.json is not valid JSON" in wrong.what
    assert fine.state == "ok"


def test_a_damaged_file_is_a_problem(paths: Paths) -> None:
    (paths.root / "mlflow.db").write_bytes(b"no database, and longer than its header" * 10)
    (line,) = probe_mlflow(paths)
    assert line.state == "problem"
    assert "file is not a database" in line.what
    assert line.fix.endswith("seedbed track")


@pytest.mark.parametrize("uri", [f"http://{DEAD}", f"postgresql+pg8000://me:secret@{DEAD}/runs", "http://127.0.0.1:x"])
def test_a_server_that_is_not_there_is_a_note(uri: str, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (line,) = probe_mlflow(paths)
    assert line.state == "note"
    assert line.fix.endswith("; then seedbed track")
    assert "does not answer" in line.what
    assert "secret" not in line.what


def test_a_server_that_never_answers_is_not_waited_for(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    monkeypatch.setattr("seedbed.stages.doctor.tracking._PATIENCE", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        (line,) = probe_mlflow(paths)
    assert line.state == "note"
    assert "cannot be used" in line.what
    assert os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES") == before


def test_a_store_without_a_host_cannot_be_knocked_at() -> None:
    assert knock("databricks") is None
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert knock(f"http://127.0.0.1:{server.getsockname()[1]}") is None
