"""A tiny copy of the embedded sample, as the tests of readers have it, and repositories with DVC."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from data.conftest import data, params, pristine, root  # noqa: F401

CONFIG = '[core]\n    no_scm = True\n[cache]\n    type = "reflink,hardlink,copy"\n'


@pytest.fixture(scope="session")
def empty_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with DVC and no data; not to be changed."""
    folder = tmp_path_factory.mktemp("empty") / "repo"
    folder.mkdir()
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=folder, env=environment, check=True)
    (folder / ".dvc" / "config").write_text(CONFIG)
    return folder


@pytest.fixture
def repo(empty_repo: Path, tmp_path: Path) -> Path:
    """Return a repository with DVC and no data."""
    return Path(shutil.copytree(empty_repo, tmp_path / "repo"))
