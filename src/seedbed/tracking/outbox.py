"""What still has to reach the store: in order, patient with a store that is away, never in the way of the work."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from seedbed.tracking.store import STORE_ERRORS, reason, refused

_FIRST_WAIT, _LONGEST_WAIT = 30.0, 600.0
"""Seconds before a store that did not answer is asked again; doubled each time."""


class Item(NamedTuple):
    """One thing to send. `send` must be repeatable: it is called again when the store was away."""

    what: str
    send: Callable[[], None]
    artifact: bool = False


class Outbox:
    """A queue of items for the store, and the account of those that never arrived.

    An item that the store refuses is dropped. When the store does not answer, the queue stays as it is and is tried
    again later, at ever longer intervals. Artifacts have a storage of their own, which may be down alone: an artifact
    that cannot be stored is dropped, and all later ones with it.
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._lost: list[str] = []
        self._artifacts_down = False
        self._wait = _FIRST_WAIT
        self._not_before = float("-inf")
        self.reason: str | None = None
        """The first failure: later ones are mostly its consequences."""

    @property
    def missing(self) -> list[str]:
        """What has not reached the store (yet), each name once."""
        return list(dict.fromkeys([*self._lost, *(item.what for item in self._items)]))

    def add(self, what: str, send: Callable[[], None], artifact: bool = False) -> None:
        """Append an item; it is sent by the next `drain`."""
        self._items.append(Item(what, send, artifact))

    def drain(self, last: bool = False) -> None:
        """Send what waits, in order, until the store fails to answer. `last` tries even when it failed a moment ago."""
        if time.monotonic() < self._not_before and not last:
            return
        while self._items:
            item = self._items[0]
            if item.artifact and self._artifacts_down:
                self._lost.append(self._items.popleft().what)
                continue
            try:
                item.send()
            except STORE_ERRORS as error:
                self.reason = self.reason or reason(error)
                if not item.artifact and not refused(error):
                    self._not_before = time.monotonic() + self._wait
                    self._wait = min(2 * self._wait, _LONGEST_WAIT)
                    return
                self._artifacts_down |= item.artifact
                self._lost.append(item.what)
            self._items.popleft()
        self._wait = _FIRST_WAIT
