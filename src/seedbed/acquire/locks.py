"""One process at a time per folder."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from seedbed.errors import UserError
from seedbed.files import disk_errors


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold `folder` (made if need be) for this process, by a lock on `<folder>/.lock` that a dying process lets go.

    Raises UserError when another process holds it.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("ab")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process works in {folder}", "wait for it to end") from None
        yield
