from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from seedbed.tracking.environment import data_hash, dvc_state, environment, git_state


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one commit."""
    (tmp_path / "code.py").write_text("1\n")
    (tmp_path / "dvc.lock").write_text("a\n")
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.com"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_environment_is_json_and_names_versions() -> None:
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert {"seedbed", "torch", "mlflow"} <= set(found["packages"])
    assert found["cores"] >= 1


def test_git_commit_and_dirt(repository: Path) -> None:
    commit, dirty = git_state(repository)
    assert commit is not None
    assert (len(commit), dirty) == (40, False)
    (repository / "code.py").write_text("2\n")
    assert git_state(repository) == (commit, True)


def test_what_the_pipeline_rewrites_is_no_dirt(repository: Path) -> None:
    (repository / "dvc.lock").write_text("b\n")
    (repository / "reports").mkdir()
    (repository / "reports" / "new.json").write_text("{}")
    assert git_state(repository)[1] is False


def test_outside_a_repository(tmp_path: Path) -> None:
    assert git_state(tmp_path) == (None, None)


def test_data_hash(tmp_path: Path) -> None:
    assert data_hash(tmp_path) is None
    (tmp_path / "data.dvc").write_text("outs:\n- md5: abc.dir\n  path: data\n")
    assert data_hash(tmp_path) == "abc.dir"
    (tmp_path / "data.dvc").write_text("outs: []\n")
    assert data_hash(tmp_path) is None


def test_dvc_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "seeds@cam")
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    assert dvc_state() == {"stage": "seeds@cam", "experiment": None}
