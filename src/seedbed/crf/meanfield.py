"""The torch backend: mean-field inference on lattices that are kept for the next use.

Krähenbühl and Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NeurIPS 2011. On a
CPU the kernels of `compiled_*` do the work, one image per thread; on every other device plain torch does, images in
batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seedbed.crf import compiled_field, compiled_lattice, lattice
from seedbed.crf.cache import Cache
from seedbed.crf.lattice import Kernel, Lattice
from seedbed.crf.parallel import Item, Result, in_order, workers
from seedbed.crf.unary import Image, Mask, Probabilities, Problem, to_device
from seedbed.params import CrfParams

_BATCH = 4  # images at a time on a GPU
_UNROLLED = 8  # classes up to which code is compiled for their very number


class Engine(Protocol):
    """Builds lattices and runs the inference on one kind of device. Values are of the engine's own types."""

    batch: int  # images that it takes at a time
    threads: bool  # whether several threads make it faster

    def build(self, kernel: Kernel, image: Image) -> Any:
        """Return the lattice of an image."""

    def solve(self, problems: Sequence[Problem], lattices: Sequence[tuple[Any, Any]], params: CrfParams) -> list[Any]:
        """Return the class probabilities [H*W,M] of each problem, given its lattices (smoothness, appearance)."""

    def strongest(self, probabilities: Any) -> npt.NDArray[np.uint8]:
        """Return the number [H*W] of each pixel's most probable class."""

    def array(self, probabilities: Any) -> Probabilities:
        """Return them float32 [H*W,M] in ordinary memory."""


class TorchSolver:
    """Solves problems on lattices of which it keeps the last `cache_bytes`; see `solver.Solver`.

    The smoothness lattice is shared by all images of a size, the appearance lattice by problems of the same key.
    """

    def __init__(self, engine: Engine, cache_bytes: int) -> None:
        self._engine = engine
        self.cache: Cache[Any] = Cache(cache_bytes)
        self.batch = engine.batch

    def probabilities(self, problems: Sequence[Problem], params: CrfParams) -> list[Probabilities]:
        """Return the class probabilities [M,H,W] of each problem."""
        solved = self._solve(problems, params)
        return [
            self._engine.array(one).T.reshape(problem.unary.shape)
            for one, problem in zip(solved, problems, strict=True)
        ]

    def strongest(self, problems: Sequence[Problem], params: CrfParams) -> list[Mask]:
        """Return the number uint8 [H,W] of each pixel's most probable class."""
        solved = self._solve(problems, params)
        return [
            self._engine.strongest(one).reshape(problem.unary.shape[1:])
            for one, problem in zip(solved, problems, strict=True)
        ]

    def map(self, work: Callable[[Item], Result], batches: Iterable[Item], jobs: int) -> Iterator[Result]:
        """Yield `work` of each of the `batches`, in their order, from `jobs` threads where they help."""
        jobs = workers(jobs)
        if jobs == 1 or not self._engine.threads:
            yield from map(work, batches)
            return
        with ThreadPoolExecutor(jobs) as pool:
            yield from in_order(lambda batch: pool.submit(work, batch), batches, jobs)

    def _solve(self, problems: Sequence[Problem], params: CrfParams) -> list[Any]:
        return self._engine.solve(problems, [self._lattices(problem, params) for problem in problems], params)

    def _lattices(self, problem: Problem, params: CrfParams) -> tuple[Any, Any]:
        """Return the smoothness and the appearance lattice."""
        near, alike = Kernel(params.gaussian_xy), Kernel(params.bilateral_xy, params.bilateral_rgb)
        smooth = self.cache.get((problem.image.shape, near), lambda: self._engine.build(near, problem.image))
        if problem.key is None:
            return smooth, self._engine.build(alike, problem.image)
        return smooth, self.cache.get((problem.key, alike), lambda: self._engine.build(alike, problem.image))


class CompiledEngine:
    """One image at a time on one core, by `compiled_lattice` and `compiled_field`."""

    batch, threads = 1, True

    def build(self, kernel: Kernel, image: Image) -> compiled_lattice.Lattice:
        """Return the lattice of an image."""
        height, width, _ = image.shape
        pixels = np.ascontiguousarray(image).reshape(-1, 3)
        widths = np.float32(kernel.xy), np.float32(kernel.rgb or 1)
        built = compiled_lattice.build(pixels, width, widths, kernel.scale(), kernel.strides(height, width))
        compiled_field.normalise(built, (np.float32(0),))
        return built

    def solve(
        self,
        problems: Sequence[Problem],
        lattices: Sequence[tuple[compiled_lattice.Lattice, compiled_lattice.Lattice]],
        params: CrfParams,
    ) -> list[npt.NDArray[np.float32]]:
        """Return the class probabilities [H*W,M] of each problem."""
        factors = np.float32(params.gaussian_weight), np.float32(params.bilateral_weight)
        solved = []
        for problem, (smooth, appearance) in zip(problems, lattices, strict=True):
            energies = np.ascontiguousarray(np.moveaxis(problem.unary.energies(), 0, -1), np.float32)
            classes = energies.shape[-1]
            blank = (np.float32(0),) * classes if classes <= _UNROLLED else None
            pixels = energies.reshape(-1, classes)
            solved.append(compiled_field.mean_field(pixels, smooth, appearance, factors, params.iterations, blank))
        return solved

    def strongest(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return the number [H*W] of each pixel's most probable class."""
        return compiled_field.strongest(probabilities)

    def array(self, probabilities: npt.NDArray[np.float32]) -> Probabilities:
        """Return them."""
        return probabilities


class TensorEngine:
    """Images in batches on any device, by plain torch."""

    threads = False

    def __init__(self, device: torch.device, batch: int = _BATCH) -> None:
        self._device, self.batch = device, batch

    def build(self, kernel: Kernel, image: Image) -> Lattice:
        """Return the lattice of an image."""
        return lattice.build(kernel, [to_device(image, self._device)])

    def solve(
        self, problems: Sequence[Problem], lattices: Sequence[tuple[Lattice, Lattice]], params: CrfParams
    ) -> list[Tensor]:
        """Return the class probabilities [H*W,M] of each problem."""
        unary = [problem.unary.tensor(self._device) for problem in problems]
        pixels, classes = [len(energies) for energies in unary], [energies.shape[1] for energies in unary]
        # a class that an image does not have has infinite energy: probability zero, without influence
        energies = torch.full((sum(pixels), max(classes)), torch.inf, device=self._device)
        for rows, given in zip(energies.split(pixels), unary, strict=True):
            rows[:, : given.shape[1]] = given
        smooth, appearance = (lattice.join(each) for each in zip(*lattices, strict=True))
        solved = mean_field(energies, smooth, appearance, params).split(pixels)
        return [one[:, :count] for one, count in zip(solved, classes, strict=True)]

    def strongest(self, probabilities: Tensor) -> npt.NDArray[np.uint8]:
        """Return the number [H*W] of each pixel's most probable class."""
        return probabilities.argmax(dim=1).to(torch.uint8).numpy(force=True)

    def array(self, probabilities: Tensor) -> Probabilities:
        """Return them in ordinary memory."""
        return probabilities.numpy(force=True)


def mean_field(energies: Tensor, smooth: Lattice, appearance: Lattice, params: CrfParams) -> Tensor:
    """Return the class probabilities float32 [P,M] after mean-field inference from unary `energies` [P,M].

    Potts compatibility: a label's message is the filtered probability of the same label. Only iterations and weights of
    `params` count, the widths are the lattices'. Without gradient.
    """
    with torch.inference_mode():
        probabilities = _softmax(-energies)
        for _ in range(params.iterations):
            near = smooth.filter(probabilities).mul_(params.gaussian_weight)
            alike = appearance.filter(probabilities).mul_(params.bilateral_weight)
            probabilities = _softmax((near - energies).add_(alike))
        return probabilities


def _softmax(logits: Tensor) -> Tensor:
    """Return probabilities float32 [P,M], rounded only where pydensecrf rounds."""
    powers = (logits - logits.amax(dim=1, keepdim=True)).double().exp_().float()
    return powers / powers.sum(dim=1, keepdim=True)
