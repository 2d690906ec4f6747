"""Mean-field inference by pydensecrf, one process per core."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool

import numpy as np
from joblib.externals.loky import ProcessPoolExecutor
from pydensecrf.densecrf import DenseCRF2D

from seedbed.crf.parallel import Item, Result, in_order, workers
from seedbed.crf.unary import Mask, Probabilities, Problem
from seedbed.errors import UserError
from seedbed.params import CrfParams

_IDLE = 60  # seconds after which an idle process ends
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class PydensecrfSolver:
    """Solves problems by pydensecrf; see `solver.Solver`."""

    batch = 1

    def probabilities(self, problems: Sequence[Problem], params: CrfParams) -> list[Probabilities]:
        """Return the class probabilities [M,H,W] of each problem."""
        return [_mean_field(problem, params) for problem in problems]

    def strongest(self, problems: Sequence[Problem], params: CrfParams) -> list[Mask]:
        """Return the number uint8 [H,W] of each pixel's most probable class."""
        return [_mean_field(problem, params).argmax(axis=0).astype(np.uint8) for problem in problems]

    def map(self, work: Callable[[Item], Result], batches: Iterable[Item], jobs: int) -> Iterator[Result]:
        """Yield `work` of each of the `batches`, in their order, from `jobs` processes."""
        jobs = workers(jobs)
        if jobs == 1:
            yield from map(work, batches)
            return
        try:
            yield from in_order(lambda batch: _pool(jobs).submit(work, batch), batches, jobs)
        except BrokenProcessPool as error:
            _pool.cache_clear()
            raise UserError(
                f"one of {jobs} CRF processes was killed, most likely for lack of memory", "lower `jobs` in params.yaml"
            ) from error


@functools.cache
def _pool(jobs: int) -> ProcessPoolExecutor:
    """Return processes of one thread each, kept for the next call: a study makes many, and starting takes a second."""
    return ProcessPoolExecutor(jobs, timeout=_IDLE, env=dict.fromkeys(_THREADS, "1"))


def _mean_field(problem: Problem, params: CrfParams) -> Probabilities:
    """Return the class probabilities [M,H,W] after mean-field inference."""
    classes, height, width = problem.unary.shape
    # pydensecrf reads raw memory: C order, exact types, writable even though it writes nothing
    energies = np.require(problem.unary.energies().reshape(classes, -1), np.float32, ["C", "W"])
    image = np.require(problem.image, np.uint8, ["C", "W"])
    crf = DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(energies)
    crf.addPairwiseGaussian(sxy=params.gaussian_xy, compat=params.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=params.bilateral_xy, srgb=params.bilateral_rgb, rgbim=image, compat=params.bilateral_weight
    )
    return np.array(crf.inference(params.iterations), np.float32).reshape(classes, height, width)
