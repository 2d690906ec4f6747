from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.tracking.uri import artifact_folder, public_uri, tracking_uri


def test_the_store_lies_at_the_root_of_the_repository(project: Path) -> None:
    assert tracking_uri(project) == f"sqlite:///{project}/mlflow.db"
    assert artifact_folder(project) == project / "mlartifacts"


def test_a_queued_experiment_logs_to_the_repository_it_came_from(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(project))
    assert tracking_uri(project / ".dvc/tmp/exps/one") == f"sqlite:///{project}/mlflow.db"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////srv/runs.db", "sqlite:////srv/runs.db"),
        ("sqlite:///runs.db?timeout=3", "sqlite:///{root}/runs.db?timeout=3"),
    ],
)
def test_the_environment_decides(project: Path, monkeypatch: pytest.MonkeyPatch, given: str, used: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking_uri(project) == used.format(root=project)


@pytest.mark.parametrize(
    ("uri", "written"),
    [
        ("https://user:secret@tracking.example/x", "https://tracking.example/x"),
        ("postgresql://user:secret@db:5432/mlflow", "postgresql://db:5432/mlflow"),
        ("sqlite:///{root}/mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite:////srv/runs.db", "sqlite:////srv/runs.db"),
    ],
)
def test_what_is_written_down_holds_no_credentials_and_no_machine_path(project: Path, uri: str, written: str) -> None:
    assert public_uri(uri.format(root=project), project) == written
