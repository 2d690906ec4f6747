"""Work on many images by several processes, in order, memory bounded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import joblib

from seedbed.progress import Meter

Item = TypeVar("Item")
Result = TypeVar("Result")

_WORTH_A_PROCESS = 512  # images; it takes seconds to start one


def work_through(
    title: str, work: Callable[[Sequence[Item]], Result], items: Sequence[Item], jobs: int, chunk: int = 128
) -> Iterator[Result]:
    """Yield `work` of every `chunk` of `items`, an item an image, in order, by `jobs` processes (0 = one per core).

    Two chunks a process are under way and no more, however slow the reader of the results is: memory stays flat.
    """
    processes = min(jobs or len(os.sched_getaffinity(0)), 1 + len(items) // _WORTH_A_PROCESS)
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    with Meter(title, len(items)) as meter, joblib.Parallel(n_jobs=processes) as pool:
        for start in range(0, len(chunks), 2 * processes):
            group = chunks[start : start + 2 * processes]
            for part, result in zip(group, pool(joblib.delayed(work)(part) for part in group), strict=True):
                yield result
                meter.advance(len(part))
