"""A tiny copy of the embedded sample, and its parameters."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seedbed.data.sample import SAMPLE_CLASSES, Counts, write_sample
from seedbed.data.voc import VocData
from seedbed.params import DataParams

COUNTS = Counts(train=10, val=5, saliency_train=6, saliency_test=4)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """A tiny sample that no test changes."""
    root = tmp_path_factory.mktemp("pristine") / "data"
    write_sample(root, COUNTS)
    return root


@pytest.fixture
def root(pristine, tmp_path) -> Path:
    """A tiny sample to change at will."""
    return shutil.copytree(pristine, tmp_path / "data")


@pytest.fixture
def params() -> DataParams:
    return DataParams(classes=list(SAMPLE_CLASSES))


@pytest.fixture
def data(root, params) -> VocData:
    return VocData(root, params)
