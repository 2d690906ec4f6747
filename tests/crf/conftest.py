"""A square on noise, its labels, and every way to solve a dense CRF."""

import numpy as np
import pytest
import torch

from seedbed.crf.densecrf import PydensecrfSolver
from seedbed.crf.meanfield import CompiledEngine, TensorEngine, TorchSolver

SOLVERS = {
    "pydensecrf": PydensecrfSolver,
    "compiled": lambda: TorchSolver(CompiledEngine(), 0),
    "torch": lambda: TorchSolver(TensorEngine(torch.device("cpu")), 0),
}


@pytest.fixture(scope="session")
def image():
    """A red square on blue, with noise: the true edge runs at 10 and 30."""
    image = np.full((40, 50, 3), (40, 60, 160), np.uint8)
    image[10:30, 10:30] = (180, 50, 40)
    return image + np.random.default_rng(0).integers(0, 9, image.shape, dtype=np.uint8)


@pytest.fixture(scope="session")
def labels():
    """Labels of the square, shifted by 3 pixels, with an ignored stripe."""
    labels = np.zeros((40, 50), np.uint8)
    labels[13:33, 13:33] = 7
    labels[:, 20:24] = 255
    return labels


@pytest.fixture(params=SOLVERS)
def solver(request):
    """Each solver in turn, without a cache."""
    return SOLVERS[request.param]()


@pytest.fixture(params=["compiled", "torch"])
def own_solver(request):
    """Both of our own."""
    return SOLVERS[request.param]()
