"""Work on a stream of items by many workers, results in order, memory bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

import joblib

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4  # items in flight per worker: enough to keep it busy, few enough for flat memory


def workers(jobs: int) -> int:
    """Return the number of workers that `jobs` asks for; 0 = one per core."""
    return jobs or joblib.cpu_count()


def in_order(submit: Callable[[Item], Future[Result]], items: Iterable[Item], jobs: int) -> Iterator[Result]:
    """Yield the result of each of the `items`, in their order; they are read only a few ahead.

    Whatever the source or a worker raises is raised here. Closing the iterator drops what has not been started.
    """
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(submit(item))
            if len(pending) == _AHEAD * jobs:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:  # the reader stopped early, as a pruned trial does
            future.cancel()
