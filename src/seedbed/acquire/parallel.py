"""Many pieces of work on all cores, with a bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from joblib import Parallel, delayed

from seedbed.progress import Meter

Piece = TypeVar("Piece")


def work_off(
    work: Callable[[Piece], Any], pieces: Sequence[Piece], title: str, unit: str, done: int, jobs: int
) -> None:
    """Call `work` on each of `pieces` in `jobs` processes (0 = one per core); `done` more are done already.

    A UserError of any ends it; what the others have written by then stays.
    """
    pool = Parallel(n_jobs=jobs or len(os.sched_getaffinity(0)), return_as="generator_unordered")
    with Meter(title, done + len(pieces), unit=unit, done=done) as meter:
        for _ in pool(delayed(work)(piece) for piece in pieces):
            meter.advance(1)
