"""Mean field by every solver: against pydensecrf, in batches of unequal images, and with lattices reused."""

import numpy as np
import pytest

from seedbed.crf.densecrf import PydensecrfSolver
from seedbed.crf.meanfield import CompiledEngine, TorchSolver
from seedbed.crf.unary import GivenUnary, LabelUnary, Problem, ScoreUnary
from seedbed.params import CrfParams

SETTINGS = [
    CrfParams(),
    CrfParams(gaussian_xy=1, bilateral_xy=67, bilateral_rgb=3, bilateral_weight=4),
    CrfParams(bilateral_xy=64, bilateral_rgb=5, bilateral_weight=4),
    CrfParams(gaussian_xy=3 / 12, bilateral_xy=80 / 12),
]
CLASSES = [2, 3, 9, 21]  # few classes have code of their own


def problem(height, width, classes, key=None, kind="scores"):
    """Random colours and probabilities, in blocks so that there is something to smooth."""
    rng = np.random.default_rng((height, width, classes))
    coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3))
    image = np.kron(coarse, np.ones((4, 4, 1)))[:height, :width] + rng.integers(-9, 10, (height, width, 3))
    image = np.clip(image, 0, 255).astype(np.uint8)
    scores = rng.dirichlet(np.full(classes, 0.5), (height, width)).transpose(2, 0, 1).astype(np.float32)
    if kind == "labels":
        labels = np.where(scores.max(axis=0) < 0.4, 255, scores.argmax(axis=0)).astype(np.uint8)
        return Problem(image, LabelUnary(labels, np.arange(classes, dtype=np.uint8), 0.7), key)
    return Problem(image, GivenUnary(-8 * scores) if kind == "given" else ScoreUnary(scores, 1e-5), key)


@pytest.mark.parametrize("params", SETTINGS)
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("kind", ["labels", "scores", "given"])
def test_all_solvers_agree_with_pydensecrf(own_solver, params, classes, kind):
    given = problem(23, 31, classes, kind=kind)  # 713 pixels: pydensecrf fills up to a multiple of four
    (expected,) = PydensecrfSolver().probabilities([given], params)
    (found,) = own_solver.probabilities([given], params)
    assert found.dtype == np.float32
    compiled = own_solver.batch == 1  # these kernels round as pydensecrf does
    np.testing.assert_allclose(found, expected, atol=5e-6 if compiled else 1e-4)
    (labels,) = own_solver.strongest([given], params)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, found.argmax(axis=0))


def test_a_batch_of_unequal_images_and_classes_is_solved_as_one_by_one(solver):
    problems = [problem(8, 11, 3), problem(13, 5, 21), problem(8, 11, 2, kind="labels"), problem(1, 1, 4)]
    together = solver.probabilities(problems, CrfParams())
    for given, found in zip(problems, together, strict=True):
        (alone,) = solver.probabilities([given], CrfParams())
        assert found.shape == given.unary.shape
        np.testing.assert_allclose(found, alone, atol=1e-6)
    masks = solver.strongest(problems, CrfParams())
    assert [mask.shape for mask in masks] == [given.image.shape[:2] for given in problems]


def test_an_image_of_any_one_pixel_keeps_its_probabilities(solver):
    given = problem(1, 1, 3)
    weightless = CrfParams(gaussian_weight=0, bilateral_weight=0)
    (found,) = solver.probabilities([given], weightless)
    np.testing.assert_allclose(found, given.unary.probabilities, atol=1e-4)


class Counting(CompiledEngine):
    """Counts the lattices that it builds."""

    def __init__(self):
        self.built = []

    def build(self, kernel, image):
        self.built.append(kernel.dimensions)
        return super().build(kernel, image)


def test_lattices_are_reused_over_iterations_weights_and_trials():
    engine = Counting()
    solver = TorchSolver(engine, 1 << 30)
    problems = [problem(12, 16, 3, key) for key in range(3)]
    for params in (CrfParams(), CrfParams(iterations=2, gaussian_weight=1, bilateral_weight=2, confidence=0.9)):
        for given in problems:
            solver.probabilities([given], params)
    assert sorted(engine.built) == [2, 5, 5, 5]
    solver.probabilities(problems[:1], CrfParams(bilateral_rgb=7))
    assert sorted(engine.built) == [2, 5, 5, 5, 5]
    solver.probabilities([problem(12, 16, 4)], CrfParams())  # an image without a key shares the smoothness lattice only
    solver.probabilities([problem(12, 16, 4)], CrfParams())
    assert engine.built.count(5) == 6
    assert engine.built.count(2) == 1


def test_the_cache_keeps_to_its_limit_and_results_do_not_depend_on_it():
    free, tight = TorchSolver(CompiledEngine(), 1 << 30), TorchSolver(CompiledEngine(), 40_000)
    problems = [problem(20, 20, 3, key) for key in range(4)]
    for rgb in (13, 5, 13):
        params = CrfParams(bilateral_rgb=rgb)
        for given in problems:
            np.testing.assert_array_equal(free.probabilities([given], params), tight.probabilities([given], params))
            assert 0 < tight.cache.nbytes <= 40_000
    assert free.cache.nbytes > 40_000
