"""Locks between processes that end with the process that holds them, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import sqlalchemy
from optuna.storages.journal import JournalFileOpenLock

from seedbed.errors import UserError

LOCK_SECONDS = 60.0
"""How long a process waits for a lock: the others hold it for milliseconds at a time."""

_PAUSE = 0.01  # seconds between attempts

_BEGIN = b'{"op_code":'  # of every journal

_TRY = {
    "postgresql": "SELECT pg_try_advisory_lock(732436215)",
    "mysql": "SELECT GET_LOCK('seedbed', 0)",
    "mariadb": "SELECT GET_LOCK('seedbed', 0)",
}
"""By database: takes a lock that the server drops with the connection, if it is free."""


class Lock(ABC):
    """A lock that its holder may take again. Raises UserError where others keep it for LOCK_SECONDS."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._held = contextlib.ExitStack()
        self._depth = 0

    def __enter__(self) -> Self:
        if not self._depth:
            self._held = self._wait()
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            self._held.close()

    @abstractmethod
    def _attempts(self) -> contextlib.AbstractContextManager[Callable[[], bool]]:
        """Yield a function that takes the lock if it is free. Leaving the `with` statement lets go of it."""

    def _wait(self) -> contextlib.ExitStack:
        """Return what lets go of the lock when it is closed."""
        with contextlib.ExitStack() as stack:
            attempt = stack.enter_context(self._attempts())
            until = time.monotonic() + LOCK_SECONDS
            while not attempt():
                if time.monotonic() > until:
                    raise locked(self._name)
                time.sleep(_PAUSE)
            return stack.pop_all()
        raise AssertionError("unreachable")


class FileLock(Lock):
    """The kernel's lock of a file. It makes the file, in its folder, where there is none.

    A `journal` is mended each time: a last line that a process did not live to write to its end is cut off.
    """

    def __init__(self, path: Path, journal: bool = False) -> None:
        super().__init__(str(path))
        self._path = path
        self._journal = journal

    @contextlib.contextmanager
    def _attempts(self) -> Iterator[Callable[[], bool]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+") as handle:
            yield lambda: self._attempt(handle)

    def _attempt(self, handle: BinaryIO) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if self._journal:
            _mend(handle, self._path)
        return True


class ServerLock(Lock):
    """A lock of a database server, held through a connection of its own."""

    def __init__(self, name: str, engine: sqlalchemy.Engine) -> None:
        super().__init__(name)
        self._engine = engine
        if engine.dialect.name not in _TRY:
            raise UserError(f"{name}: studies are kept in files, PostgreSQL, MySQL and SQLite only")

    @contextlib.contextmanager
    def _attempts(self) -> Iterator[Callable[[], bool]]:
        statement = sqlalchemy.text(_TRY[self._engine.dialect.name])
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield lambda: bool(connection.execute(statement).scalar())


class JournalLock(JournalFileOpenLock):
    """A `FileLock` as Optuna's journals take it. Optuna's own locks are files that a killed process leaves behind."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.__enter__()
        return True

    def release(self) -> None:
        """Let go of it."""
        self._lock.__exit__(None, None, None)


def locked(name: str) -> UserError:
    """Return the error for a storage that others do not let go of."""
    return UserError(f"{name} is locked by another process", "end that process, or wait for it")


def no_journal(path: Path) -> UserError:
    """Return the error for a file that is no journal."""
    return UserError(
        f"{path} is no journal of studies, or a corrupt one", f"name another file, or: mv {path} {path}.bad"
    )


def _mend(handle: BinaryIO, path: Path) -> None:
    """Cut off what stands behind the last line end of a journal, open for reading and appending.

    Raises UserError, and leaves the file alone, where it does not begin as a journal does.
    """
    handle.seek(0)
    begin = handle.read(len(_BEGIN))
    if begin != _BEGIN[: len(begin)]:
        raise no_journal(path)
    size = handle.seek(0, os.SEEK_END)
    if size and (handle.seek(size - 1), handle.read(1))[1] != b"\n":
        handle.seek(0)
        handle.truncate(handle.read().rfind(b"\n") + 1)
