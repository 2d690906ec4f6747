"""Dense CRF on one image, or on many with one process per core; mean-field inference by pydensecrf.

Krähenbühl and Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NeurIPS 2011: Potts
compatibility, a smoothness kernel over positions and an appearance kernel over positions and colours, both normalised
symmetrically. Only the classes that can occur in the image take part: time and memory grow with their number.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
from joblib.externals.loky import ProcessPoolExecutor
from pydensecrf.densecrf import DenseCRF2D

from seedbed import IGNORE
from seedbed.errors import UserError
from seedbed.params import CrfParams

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]

_AHEAD = 4  # images in flight per process: enough to keep it busy, few enough for flat memory
_IDLE = 60  # seconds after which an idle process ends
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def refine(image: Image, labels: Mask, candidates: Sequence[int], params: CrfParams) -> Mask:
    """Return the `labels` [H,W] moved to the edges of the `image` (RGB [H,W,3]).

    `candidates`: the ids that may occur, those of the image's labels and 0 for background; every id in `labels` is one
    of them (else ValueError) or 255. A labelled pixel keeps its id with probability `params.confidence`; an ignored one
    starts out undecided between all candidates. Every pixel of the result has one of the candidates.
    With a single candidate there is nothing to decide and the labels come back unchanged.
    """
    ids = np.unique(np.asarray(candidates, np.uint8))
    unknown = np.setdiff1d(labels, [*ids, IGNORE])
    if unknown.size:
        raise ValueError(f"labels hold ids {unknown.tolist()} that are not among the candidates {ids.tolist()}")
    if ids.size == 1:
        return labels
    return ids[_mean_field(image, _label_energies(labels, ids, params.confidence), params).argmax(axis=0)]


def infer(image: Image, probabilities: Probabilities, params: CrfParams) -> Probabilities:
    """Return class `probabilities` [M,H,W] (sum 1 over M) refined along the edges of the `image` (RGB [H,W,3]).

    `params.confidence` plays no part. A single class comes back unchanged.
    """
    if len(probabilities) == 1:
        return probabilities
    return _mean_field(image, -np.log(np.clip(probabilities, params.floor, 1)), params)


def refine_many(items: Iterable[tuple[Image, Mask, Sequence[int]]], params: CrfParams, jobs: int = 0) -> Iterator[Mask]:
    """Yield `refine` of each of the `items` (image, labels, candidates), in their order, computed in `jobs` processes.

    `jobs`: 0 = one per core, 1 = in this process. `items` is read only a few images ahead, so it may be a generator of
    any length. Whatever it or a process raises is raised here.
    """
    return _many(refine, items, params, jobs)


def label_many(items: Iterable[tuple[Image, Probabilities]], params: CrfParams, jobs: int = 0) -> Iterator[Mask]:
    """Yield the strongest class after `infer` of each of the `items` (image, probabilities); else as `refine_many`."""
    return _many(_label, items, params, jobs)


def _label(image: Image, probabilities: Probabilities, params: CrfParams) -> Mask:
    """Return the strongest class uint8 [H,W] after `infer`."""
    return infer(image, probabilities, params).argmax(axis=0).astype(np.uint8)


def _many(work: Callable[..., Mask], items: Iterable[tuple[Any, ...]], params: CrfParams, jobs: int) -> Iterator[Mask]:
    """Yield `work(*item, params)` of each of the `items`, in their order; see `refine_many`."""
    jobs = jobs or joblib.cpu_count()
    if jobs == 1:
        for item in items:
            yield work(*item, params)
        return
    pending: deque[Future[Mask]] = deque()
    try:
        for item in items:
            pending.append(_pool(jobs).submit(work, *item, params))
            if len(pending) == _AHEAD * jobs:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        _pool.cache_clear()
        raise UserError(
            f"one of {jobs} CRF processes was killed, most likely for lack of memory", "lower `jobs` in params.yaml"
        ) from error
    finally:
        for future in pending:  # the reader stopped early, as a pruned trial does
            future.cancel()


@functools.cache
def _pool(jobs: int) -> ProcessPoolExecutor:
    """Return processes of one thread each, kept for the next call: a study makes many, and starting takes a second."""
    return ProcessPoolExecutor(jobs, timeout=_IDLE, env=dict.fromkeys(_THREADS, "1"))


def _label_energies(labels: Mask, ids: Mask, confidence: float) -> Probabilities:
    """Return the energies [M,H,W] of the classes `ids` [M]: minus the log of their probability given the label."""
    probability = np.full((ids.size, 256), (1 - confidence) / (ids.size - 1))
    probability[np.arange(ids.size), ids] = confidence
    probability[:, IGNORE] = 1 / ids.size
    return np.take(-np.log(probability).astype(np.float32), labels, axis=1)


def _mean_field(image: Image, energies: Probabilities, params: CrfParams) -> Probabilities:
    """Return the class probabilities [M,H,W] after mean-field inference from unary `energies` [M,H,W]."""
    classes, height, width = energies.shape
    if image.shape != (height, width, 3):
        raise ValueError(f"image {image.shape} does not fit labels of height {height} and width {width}")
    # pydensecrf reads raw memory: C order, exact types, writable even though it writes nothing
    energies = np.require(energies.reshape(classes, -1), np.float32, ["C", "W"])
    image = np.require(image, np.uint8, ["C", "W"])
    crf = DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(energies)
    crf.addPairwiseGaussian(sxy=params.gaussian_xy, compat=params.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=params.bilateral_xy, srgb=params.bilateral_rgb, rgbim=image, compat=params.bilateral_weight
    )
    return np.array(crf.inference(params.iterations), np.float32).reshape(classes, height, width)
