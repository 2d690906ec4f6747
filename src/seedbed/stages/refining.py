"""Dense CRF over a stream of masks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from seedbed import IGNORE
from seedbed.crf.dense import refine_many
from seedbed.params import CrfParams
from seedbed.stages.context import Context

Named = tuple[str, np.ndarray]


def refine_masks(
    context: Context, masks: Iterable[Named], params: CrfParams, candidates: Callable[[str, np.ndarray], Sequence[int]]
) -> Iterator[Named]:
    """Yield (id, refined mask uint8 [H,W]) for (id, mask) pairs, in their order, on one process per core.

    candidates(id, mask) returns the mask ids that may occur in the image.
    """
    names: deque[str] = deque()

    def items() -> Iterator[tuple[np.ndarray, np.ndarray, Sequence[int]]]:
        for name, mask in masks:
            names.append(name)
            yield np.asarray(context.voc.image(name)), mask, candidates(name, mask)

    for refined in refine_many(items(), params, context.params.jobs):
        yield names.popleft(), refined


def predicted_ids(name: str, mask: np.ndarray) -> list[int]:
    """Return the ids that occur in `mask`, and background: the candidates where image labels are not known."""
    return sorted({0, *(int(value) for value in np.unique(mask) if value != IGNORE)})
