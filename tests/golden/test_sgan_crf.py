"""Parity with SGAN's dense CRF: as its segmentation stage trains and as it tests, and the test's fusion of scales."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden.conftest import Arrays, assert_all_used, load
from torch.nn import functional as F

from seedbed.crf.dense import infer, mean_field
from seedbed.crf.densecrf import PydensecrfSolver
from seedbed.crf.meanfield import CompiledEngine, TensorEngine, TorchSolver
from seedbed.crf.solver import Solver
from seedbed.crf.unary import GivenUnary, Problem
from seedbed.params import CrfParams

CASES = ("train_time", "test_time", "two_iterations")
OF_CASE = ("image", "probs", "unary_is_log", "scale_factor", "iterations", "out")
OF_FUSION = ("image_rgb", "scores0", "scores1", "scores2", "probs", "crf", "label", "tags", "label_train")
OF_INPUT = ("input_sizes", "input0_every32")
SOLVERS: dict[str, Solver] = {
    "pydensecrf": PydensecrfSolver(),
    "compiled": TorchSolver(CompiledEngine(), 0),
    "torch": TorchSolver(TensorEngine(torch.device("cpu")), 0),
}
MEAN_BGR = (104.0, 117.0, 123.0)
FLOOR = 1e-5
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return load("sgan/crf.npz")


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("case", CASES)
def test_inference(near, arrays: Arrays, case: str, solver: Solver) -> None:
    image, probabilities, is_log, factor, iterations, out = (arrays[f"{case}:{name}"] for name in OF_CASE)
    energies = -(np.log(probabilities) if is_log else probabilities).transpose(2, 0, 1)
    params = CrfParams(gaussian_xy=3 / float(factor), bilateral_xy=80 / float(factor), iterations=int(iterations))
    (found,) = solver.probabilities([Problem(image, GivenUnary(energies))], params)
    near(found.transpose(1, 2, 0), out, absolute=TOLERANCE)
    if solver is SOLVERS["compiled"]:
        near(mean_field(image, energies, params).transpose(1, 2, 0), out, absolute=TOLERANCE)


def enlarged(values: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """Return `values` [M,h,w] resized with the corners aligned."""
    return F.interpolate(torch.from_numpy(values)[None], size, mode="bilinear", align_corners=True)[0]


def test_fusion_of_scales(near, arrays: Arrays) -> None:
    image, *scores, probabilities, refined, label, tags, label_train = (arrays[f"multi_scale:{n}"] for n in OF_FUSION)
    size = image.shape[0], image.shape[1]
    total = torch.stack([enlarged(each, size) for each in scores]).sum(dim=0)
    fused = total.softmax(dim=0).clamp(FLOOR).numpy()
    near(fused.transpose(1, 2, 0), probabilities, absolute=TOLERANCE)
    found = infer(image, fused, CrfParams(floor=FLOOR))
    near(found.transpose(1, 2, 0), refined, absolute=TOLERANCE)
    near(found.argmax(axis=0).astype(np.uint8), label, absolute=0)
    found[[0, *tags]] += 1  # so that the image's labels win; what is far below one in all of them becomes background
    near(found.argmax(axis=0).astype(np.uint8), label_train, absolute=0)


def test_the_networks_input(near, arrays: Arrays) -> None:
    image = arrays["multi_scale:image_rgb"][..., ::-1].astype(np.float32).transpose(2, 0, 1)
    sizes, sparse = (arrays[f"multi_scale:{name}"] for name in OF_INPUT)
    near(sizes, np.int64([0.75, 1, 1.25] * np.array([[385]])).T.repeat(2, axis=1), absolute=0)
    smallest = enlarged(image.copy(), tuple(sizes[0])) - torch.tensor(MEAN_BGR)[:, None, None]
    near(smallest[:, ::32, ::32], sparse, absolute=TOLERANCE)


def test_every_array_is_compared(arrays: Arrays) -> None:
    used = [f"{case}:{name}" for case in CASES for name in OF_CASE]
    assert_all_used(arrays, [*used, *(f"multi_scale:{name}" for name in OF_FUSION + OF_INPUT)])
