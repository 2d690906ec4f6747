"""The dense CRF on a fixed set of images, again and again: what a study of CRF parameters does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from seedbed.crf.solver import LabelItem, ScoreItem, infer_batch, open_solver, refine_batch, run
from seedbed.crf.unary import Image, Mask, Probabilities
from seedbed.params import CrfParams


class Refiner:
    """Refines the same `images` (RGB uint8 [H,W,3], sizes may differ) under many settings.

    With the torch backend the lattice of an image at given kernel widths is built once and then reused over
    iterations, weights and trials, as long as the lattices fit into `cache_bytes`; beyond that the least recently used
    one goes. The smoothness kernel's lattice depends on size and width alone: images of one size share it. Choose
    widths from a grid, else nothing is reused. pydensecrf builds its lattices anew each time.

    `backend`, `device` and `jobs` as in `seedbed.crf.dense`; `jobs` never changes a result. Safe to use from threads.
    Raises UserError for an unknown backend or a device that is not there.
    """

    def __init__(
        self,
        images: Sequence[Image],
        backend: str = "auto",
        jobs: int = 0,
        device: torch.device | None = None,
        cache_bytes: int = 1 << 30,
    ) -> None:
        self._images, self._jobs = images, jobs
        self._solver = open_solver(backend, device, cache_bytes)

    def refine(
        self, indices: Iterable[int], labels: Iterable[Mask], candidates: Iterable[Sequence[int]], params: CrfParams
    ) -> Iterator[Mask]:
        """Yield `dense.refine` of images[i] with its labels uint8 [H,W] and the ids that may occur, for i in `indices`.

        The three are read in step and only a few images ahead; results come in their order. Closing the iterator early
        (a pruned trial) drops what has not been started.
        """
        triples = zip(indices, labels, candidates, strict=True)
        items = (LabelItem(self._images[index], mask, ids, index) for index, mask, ids in triples)
        return run(refine_batch, self._solver, params, items, self._jobs)

    def infer(
        self, indices: Iterable[int], probabilities: Iterable[Probabilities], params: CrfParams
    ) -> Iterator[Probabilities]:
        """Yield `dense.infer` of images[i] with its class probabilities float32 [M,H,W], for i in `indices`."""
        pairs = zip(indices, probabilities, strict=True)
        items = (ScoreItem(self._images[index], scores, index) for index, scores in pairs)
        return run(infer_batch, self._solver, params, items, self._jobs)
