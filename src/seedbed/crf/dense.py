"""Dense CRF on one image, or on many: one interface, two backends, equal results.

Krähenbühl and Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NeurIPS 2011: Potts
compatibility, a smoothness kernel over positions and an appearance kernel over positions and colours, both normalised
symmetrically, filtered on the permutohedral lattice. Only the classes that can occur in the image take part: time and
memory grow with their number.

Every function takes `backend`: "pydensecrf" (a process per core), "torch" (on a CPU compiled kernels and a thread per
core, on other devices plain torch), "auto" (= torch, which is faster everywhere), and `device`, None for the CPU.
Raises UserError for an unknown backend, for CUDA where there is none, for an image that is not RGB uint8 [H,W,3] or has
another size than its labels or probabilities, and for kernels too narrow for the lattice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from seedbed.crf.solver import (
    LabelItem,
    ScoreItem,
    infer_batch,
    label_batch,
    open_solver,
    refine_batch,
    run,
    solve_energies,
)
from seedbed.crf.unary import Energies, Image, Mask, Probabilities
from seedbed.params import CrfParams

__all__ = ["Image", "Mask", "Probabilities", "infer", "label_many", "mean_field", "refine", "refine_many"]

_SMOOTHNESS_CACHE = 64 << 20  # bytes; images of one size share the lattice of positions


def refine(
    image: Image,
    labels: Mask,
    candidates: Sequence[int],
    params: CrfParams,
    backend: str = "auto",
    device: torch.device | None = None,
) -> Mask:
    """Return the `labels` [H,W] moved to the edges of the `image` (RGB [H,W,3]).

    `candidates`: the ids that may occur, those of the image's labels and 0 for background; every id in `labels` is one
    of them (else ValueError) or 255. A labelled pixel keeps its id with probability `params.confidence`; an ignored one
    starts out undecided between all candidates. Every pixel of the result has one of the candidates.
    With a single candidate there is nothing to decide and the labels come back unchanged.
    """
    return refine_batch(open_solver(backend, device, 0), params, [LabelItem(image, labels, candidates)])[0]


def infer(
    image: Image,
    probabilities: Probabilities,
    params: CrfParams,
    backend: str = "auto",
    device: torch.device | None = None,
) -> Probabilities:
    """Return class `probabilities` [M,H,W] (sum 1 over M) refined along the edges of the `image` (RGB [H,W,3]).

    `params.confidence` plays no part. A single class comes back unchanged.
    """
    return infer_batch(open_solver(backend, device, 0), params, [ScoreItem(image, probabilities)])[0]


def mean_field(
    image: Image,
    energies: Energies,
    params: CrfParams,
    backend: str = "auto",
    device: torch.device | None = None,
) -> Probabilities:
    """Return the class probabilities [M,H,W] after mean-field inference from any unary `energies` float32 [M,H,W].

    `params.confidence` and `params.floor` play no part.
    """
    return solve_energies(open_solver(backend, device, 0), params, image, energies)


def refine_many(
    items: Iterable[tuple[Image, Mask, Sequence[int]]],
    params: CrfParams,
    jobs: int = 0,
    backend: str = "auto",
    device: torch.device | None = None,
) -> Iterator[Mask]:
    """Yield `refine` of each of the `items` (image, labels, candidates), in their order, computed by `jobs` workers.

    `jobs`: 0 = one per core, 1 = in this thread; it never changes a result. `items` is read only a few images ahead, so
    it may be a generator of any length. Whatever it or a worker raises is raised here.
    """
    solver = open_solver(backend, device, _SMOOTHNESS_CACHE)
    return run(refine_batch, solver, params, (LabelItem(*item) for item in items), jobs)


def label_many(
    items: Iterable[tuple[Image, Probabilities]],
    params: CrfParams,
    jobs: int = 0,
    backend: str = "auto",
    device: torch.device | None = None,
) -> Iterator[Mask]:
    """Yield the strongest class after `infer` of each of the `items` (image, probabilities); else as `refine_many`."""
    solver = open_solver(backend, device, _SMOOTHNESS_CACHE)
    return run(label_batch, solver, params, (ScoreItem(*item) for item in items), jobs)
