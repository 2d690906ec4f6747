"""Names beside a stream of results: workers see images, the stages need to know whose they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np


def keep_names(
    items: Iterable[tuple[Any, ...]], work: Callable[[Iterator[tuple[Any, ...]]], Iterator[np.ndarray]]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, result) for `items` (name, ...); `work` turns a stream of the rest into results in their order."""
    names: deque[str] = deque()

    def nameless() -> Iterator[tuple[Any, ...]]:
        for name, *rest in items:
            names.append(name)
            yield tuple(rest)

    for result in work(nameless()):
        yield names.popleft(), result
