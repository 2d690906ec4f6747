from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pipeline import tiny

from seedbed.params import Params, load_params


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of data and parameters, without git and DVC, that no test changes."""
    return tiny.make(tmp_path_factory.mktemp("doctor") / "project")


@pytest.fixture
def project(pristine: Path, tmp_path: Path) -> Path:
    """A project to change at will."""
    return Path(shutil.copytree(pristine, tmp_path / "project"))


@pytest.fixture
def params(project: Path) -> Params:
    return load_params(project / "params.yaml")
