"""Which backend solves a dense CRF, and the work on a batch of images that it is given."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from seedbed.crf.densecrf import PydensecrfSolver
from seedbed.crf.meanfield import CompiledEngine, TensorEngine, TorchSolver
from seedbed.crf.parallel import Item, Result
from seedbed.crf.unary import (
    Energies,
    GivenUnary,
    Image,
    LabelUnary,
    Mask,
    Probabilities,
    Problem,
    ScoreUnary,
    label_ids,
)
from seedbed.errors import UserError, unknown_name
from seedbed.params import CrfParams

BACKENDS = ("auto", "pydensecrf", "torch")


class Solver(Protocol):
    """Mean-field inference of one backend."""

    batch: int  # problems that it takes at a time

    def probabilities(self, problems: Sequence[Problem], params: CrfParams) -> list[Probabilities]:
        """Return the class probabilities [M,H,W] of each problem."""

    def strongest(self, problems: Sequence[Problem], params: CrfParams) -> list[Mask]:
        """Return the number uint8 [H,W] of each pixel's most probable class, the first of equal ones."""

    def map(self, work: Callable[[Item], Result], batches: Iterable[Item], jobs: int) -> Iterator[Result]:
        """Yield `work` of each of the `batches`, in their order, from `jobs` workers (0 = one per core)."""


def open_solver(backend: str, device: torch.device | None, cache_bytes: int) -> Solver:
    """Return the solver of a `backend`: auto (= torch), pydensecrf (CPU only, whatever the device), torch.

    `device`: None = CPU. `cache_bytes`: for lattices, of torch only. Raises UserError for an unknown backend and for
    CUDA where torch finds none.
    """
    if backend not in BACKENDS:
        raise unknown_name("CRF backend", backend, BACKENDS)
    if backend == "pydensecrf":
        return PydensecrfSolver()
    device = device or torch.device("cpu")
    if device.type == "cpu":
        return TorchSolver(CompiledEngine(), cache_bytes)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("the dense CRF is asked for on CUDA, but torch finds no GPU", "set device: auto in params.yaml")
    return TorchSolver(TensorEngine(device), cache_bytes)


class LabelItem(NamedTuple):
    """Labels uint8 [H,W] to refine and the ids that may occur; `key`: see `unary.Problem`."""

    image: Image
    labels: Mask
    candidates: Sequence[int]
    key: int | None = None


class ScoreItem(NamedTuple):
    """Class probabilities float32 [M,H,W] to refine; `key`: see `unary.Problem`."""

    image: Image
    probabilities: Probabilities
    key: int | None = None


def refine_batch(solver: Solver, params: CrfParams, batch: Sequence[LabelItem]) -> list[Mask]:
    """Return the refined labels of each item."""
    ids = [label_ids(item.labels, item.candidates) for item in batch]
    open_items = [(item, known) for item, known in zip(batch, ids, strict=True) if known.size > 1]
    problems = [
        Problem(item.image, LabelUnary(item.labels, known, params.confidence), item.key) for item, known in open_items
    ]
    numbers = iter(solver.strongest(problems, params) if problems else ())
    return [known[next(numbers)] if known.size > 1 else item.labels for item, known in zip(batch, ids, strict=True)]


def infer_batch(solver: Solver, params: CrfParams, batch: Sequence[ScoreItem]) -> list[Probabilities]:
    """Return the refined probabilities of each item."""
    solved = iter(_solve_scores(solver.probabilities, params, batch))
    return [np.ascontiguousarray(next(solved)) if len(item.probabilities) > 1 else item.probabilities for item in batch]


def label_batch(solver: Solver, params: CrfParams, batch: Sequence[ScoreItem]) -> list[Mask]:
    """Return the most probable class uint8 [H,W] after inference of each item."""
    solved = iter(_solve_scores(solver.strongest, params, batch))
    return [
        next(solved) if len(item.probabilities) > 1 else np.zeros(item.probabilities.shape[1:], np.uint8)
        for item in batch
    ]


def _solve_scores(solve: Callable[..., list[Any]], params: CrfParams, batch: Sequence[ScoreItem]) -> list[Any]:
    """Return `solve` of the items of more than one class."""
    problems = [
        Problem(item.image, ScoreUnary(item.probabilities, params.floor), item.key)
        for item in batch
        if len(item.probabilities) > 1
    ]
    return solve(problems, params) if problems else []


def solve_energies(solver: Solver, params: CrfParams, image: Image, energies: Energies) -> Probabilities:
    """Return the class probabilities [M,H,W] of one image from unary `energies` [M,H,W]."""
    if len(energies) == 1:
        return np.ones(energies.shape, np.float32)
    return np.ascontiguousarray(solver.probabilities([Problem(image, GivenUnary(energies))], params)[0])


def run(
    work: Callable[[Solver, CrfParams, Sequence[Any]], list[Result]],
    solver: Solver,
    params: CrfParams,
    items: Iterable[Any],
    jobs: int,
) -> Iterator[Result]:
    """Yield the result of each of the `items`, in their order: `work` is done on batches, by `jobs` workers."""
    for results in solver.map(functools.partial(work, solver, params), _batches(items, solver.batch), jobs):
        yield from results


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    stream = iter(items)
    while batch := list(islice(stream, size)):
        yield batch
