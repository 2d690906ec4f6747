"""Progress of long work: a bar in a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

QUIET_SECONDS = 30.0
"""Time between two log lines where there is no terminal."""


class Meter:
    """Counts `total` items of work, of which `done` were done by an earlier run. A context manager.

    Shows the rate (items/s of this run), the time left and a note. `enabled=False` shows nothing.
    """

    def __init__(self, title: str, total: int, *, unit: str = "images", done: int = 0, enabled: bool = True) -> None:
        self.title, self.total, self.unit, self.done = title, total, unit, done
        self._first, self._began, self._told = done, time.monotonic(), time.monotonic()
        console = Console(stderr=True)
        self._quiet = enabled and not console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not enabled or self._quiet,
            transient=True,
        )
        self._task = self._bar.add_task(title, total=total, completed=done, rate="", note="")

    def __enter__(self) -> Self:
        self._began = self._told = time.monotonic()
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the work began."""
        return time.monotonic() - self._began

    @property
    def rate(self) -> float:
        """Items per second of this run."""
        return (self.done - self._first) / max(self.seconds, 1e-9)

    def advance(self, count: int, note: str = "") -> None:
        """Count `count` more items; `note` is shown beside them."""
        self.done += count
        rate = f"{self.rate:.1f} {self.unit}/s"
        self._bar.update(self._task, completed=self.done, rate=rate, note=note)
        if self._quiet and time.monotonic() - self._told >= QUIET_SECONDS:
            self._told = time.monotonic()
            left = timedelta(seconds=round((self.total - self.done) / max(self.rate, 1e-9)))
            logger.info("%s: %d/%d, %s, %s left %s", self.title, self.done, self.total, rate, left, note)
