"""The tiny project, once as data and parameters, once with every stage run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from pipeline import tiny

from seedbed.stages import compare, data, localise, pseudo, saliency, segment, study
from seedbed.stages.context import Context


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with data and parameters only; not to be changed."""
    return tiny.make(tmp_path_factory.mktemp("fresh"))


@pytest.fixture
def project(fresh: Path, tmp_path: Path) -> Path:
    """Return a project with data and parameters only, to be changed."""
    return Path(shutil.copytree(fresh, tmp_path / "project"))


@pytest.fixture(scope="session")
def finished(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project whose stages have all run; not to be changed."""
    torch.set_num_threads(1)  # as the commands of `tiny`: sums in another order are not the same bytes
    root = Path(shutil.copytree(fresh, tmp_path_factory.mktemp("finished") / "project"))
    context = Context.load(root / "params.yaml", root)
    data.check(context)
    saliency.train(context)
    saliency.evaluate(context)
    saliency.predict(context)
    for method in context.params.methods:
        for stage in (localise.train, localise.seeds, study.study, pseudo.pseudo, segment.train, segment.evaluate):
            stage(context, method)
    compare.compare(context)
    return root


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished project, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "project"))
