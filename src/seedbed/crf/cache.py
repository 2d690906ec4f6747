"""What has been built last, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Anything that says how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes."""


Value = TypeVar("Value", bound=Sized)


class Cache(Generic[Value]):
    """The values used last; together they never take more than `limit` bytes. Safe to use from threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that the values take now."""
        return sum(value.nbytes for value in self._values.values())

    def get(self, key: Hashable, build: Callable[[], Value]) -> Value:
        """Return the value of `key`, which `build` makes where there is none.

        Two threads may both do so, to the same end. A value that is larger than the limit is not kept.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = build()
        if value.nbytes <= self._limit:
            with self._lock:
                self._values[key] = value
                self._values.move_to_end(key)
                while self.nbytes > self._limit:
                    self._values.popitem(last=False)
        return value
