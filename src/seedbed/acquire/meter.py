"""Progress in bytes: a bar in a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from seedbed.progress import QUIET_SECONDS

logger = logging.getLogger(__name__)


class ByteMeter:
    """Shows how many bytes of one file have been dealt with. A context manager; `enabled=False` shows nothing.

    Apart from `seedbed.progress.Meter` because bytes have their own columns, the total may become known late, and a
    download that starts anew goes backwards.
    """

    def __init__(self, title: str, total: int | None = None, *, enabled: bool = True) -> None:
        self.title, self.total = title, total
        console = Console(stderr=True)
        self._quiet = enabled and not console.is_terminal
        self._told = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not enabled or self._quiet,
            transient=True,
        )
        self._task = self._bar.add_task(title, total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, done: int, total: int | None) -> None:
        """Go on from `done` bytes of `total` (None: unknown); the rate counts from here."""
        self.total = total
        self._bar.reset(self._task, total=total, completed=done)

    def at(self, done: int) -> None:
        """Say that `done` bytes are dealt with."""
        self._bar.update(self._task, completed=done)
        if self._quiet and time.monotonic() - self._told >= QUIET_SECONDS:
            self._told = time.monotonic()
            whole = f" of {decimal(self.total)}" if self.total else ""
            logger.info("%s: %s%s", self.title, decimal(done), whole)
