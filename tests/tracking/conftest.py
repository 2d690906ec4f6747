"""A project with an MLflow store of its own, a copy of one initialised once: creating one takes MLflow a second."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from seedbed.tracking.store import Store


@pytest.fixture(scope="session")
def initialised_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty, initialised SQLite store."""
    root = tmp_path_factory.mktemp("store")
    _ = Store(f"sqlite:///{root}/mlflow.db", root).client
    return root / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, initialised_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a project without git, its MLflow store initialised and empty; visited at every call."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("seedbed.tracking.run.FLUSH_SECONDS", 0.0)
    root = tmp_path / "project"
    root.mkdir()
    shutil.copy(initialised_store, root / "mlflow.db")
    return root


@pytest.fixture
def closed_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
