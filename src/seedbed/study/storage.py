"""Where studies are kept: a journal file, or any database that Optuna speaks to, shared by many processes at once."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalStorage

from seedbed.errors import UserError
from seedbed.files import disk_errors
from seedbed.study.locks import FileLock, JournalLock, Lock, ServerLock, locked, no_journal

HEARTBEAT_SECONDS = 10
"""A running trial in a database says so this often."""

GRACE_SECONDS = 60
"""A trial of another machine that was silent for so long counts as dead."""

_TIMEOUT = 30  # seconds until a database that does not answer is out of reach
_TIMEOUT_NAMES = {
    "pysqlite": "timeout",
    "pg8000": "timeout",
    "psycopg": "connect_timeout",
    "psycopg2": "connect_timeout",
    "pymysql": "connect_timeout",
    "mysqldb": "connect_timeout",
}
"""What each driver calls the timeout of its connections."""


def open_storage(url: str | Path) -> BaseStorage:
    """Open the studies at `url`: a path or `journal:///path` is a journal file, anything else a database.

    Databases by SQLAlchemy's URLs (postgresql+pg8000://..., mysql+pymysql://..., sqlite:///file). Raises UserError,
    without the password, where the storage is out of reach, locked, corrupt or no storage, or its driver missing.
    """
    return Location.of(url).open()


@dataclass(frozen=True)
class Location:
    """A storage that is not open yet: a journal file or the URL of a database."""

    journal: Path | None = None
    database: sqlalchemy.URL | None = None

    @classmethod
    def of(cls, url: str | Path) -> Location:
        """Read a path or URL. Raises UserError for a URL that is none, and for a database in memory."""
        text = str(url)
        if text.startswith("journal://"):
            return cls(journal=Path(text.removeprefix("journal://")))
        if "://" not in text:
            return cls(journal=Path(url))
        try:
            database = sqlalchemy.make_url(text)
        except (sqlalchemy.exc.ArgumentError, ValueError):
            raise UserError(
                f"the storage {text.partition('://')[0]}://... is no URL of a database",
                "give a path, or a URL as postgresql+pg8000://user:password@host/database",
            ) from None
        if database.get_backend_name() == "sqlite" and database.database in (None, "", ":memory:"):
            raise UserError("a study in memory ends with its process", "name a file: sqlite:///study.db")
        return cls(database=database)

    def __str__(self) -> str:
        """Return the path, or the URL without password and query."""
        if self.database is None:
            return str(self.journal)
        return self.database.set(query={}).render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The file that holds everything, None for a database server."""
        if self.database is None or self.database.get_backend_name() != "sqlite":
            return self.journal
        return Path(str(self.database.database))

    @cached_property
    def lock(self) -> Lock:
        """Keeps all other processes out for a moment: they cannot come between what is read and what is written.

        A journal is its own lock, as for earlier versions: `<journal>.lock` is where Optuna's tools put theirs. SQLite
        loses its locks when any handle of the file is closed, so it has a file beside it.
        """
        if self.database is None:
            assert self.journal is not None
            return FileLock(self.journal, journal=True)
        if self.file is not None:
            return FileLock(self.file.with_name(f"{self.file.name}.lock"))
        engine = sqlalchemy.create_engine(self.database, poolclass=sqlalchemy.NullPool, connect_args=self._timeout)
        return ServerLock(str(self), engine)

    def open(self) -> BaseStorage:
        """Open the storage, made where there is none. Raises UserError as `open_storage` does."""
        try:
            with self.errors(), self.lock:
                return self._open_journal() if self.database is None else self._open_database()
        except ImportError as error:
            raise UserError(
                f"{self}: the driver of this database is not installed", f"pip install {error.name}"
            ) from None
        except OSError as error:
            raise UserError(
                f"the storage {self} cannot be opened: {error.filename}: {error.strerror}", "name another file"
            ) from None

    @contextlib.contextmanager
    def opened(self) -> Iterator[BaseStorage]:
        """Open the storage for the body of a `with` statement, then disconnect. Errors as of `open`, also later."""
        storage = self.open()
        try:
            with self.errors():
                yield storage
        finally:
            if isinstance(backend := getattr(storage, "_backend", None), RDBStorage):
                backend.remove_session()
                backend.engine.dispose()

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what goes wrong with the storage in the body into a UserError."""
        try:
            with disk_errors(self.file or Path(str(self))):
                yield
        except sqlalchemy.exc.NoSuchModuleError:
            raise UserError(
                f"{self}: no such kind of database", "try postgresql+pg8000://, mysql+pymysql:// or sqlite:///"
            ) from None
        except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
            raise self._error(error) from None

    def _open_journal(self) -> BaseStorage:
        assert self.journal is not None
        assert isinstance(self.lock, FileLock)
        last = self.journal.read_bytes().rstrip(b"\n").rpartition(b"\n")[-1]
        try:
            if last:
                json.loads(last)  # Optuna lets a strange last line pass
            return JournalStorage(JournalFileBackend(str(self.journal), JournalLock(self.lock)))
        except (ValueError, KeyError, TypeError, AssertionError):  # all that Optuna raises on meeting a strange line
            raise no_journal(self.journal) from None

    def _open_database(self) -> BaseStorage:
        assert self.database is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of heartbeat_interval
            return get_storage(
                RDBStorage(
                    self.database.render_as_string(hide_password=False),
                    {"connect_args": self._timeout, "pool_pre_ping": True},
                    heartbeat_interval=HEARTBEAT_SECONDS,
                    grace_period=GRACE_SECONDS,
                )
            )

    @property
    def _timeout(self) -> dict[str, Any]:
        assert self.database is not None
        name = _TIMEOUT_NAMES.get(self.database.get_driver_name())
        return {name: _TIMEOUT} if name else {}

    def _error(self, error: Exception) -> UserError:
        """Return what to tell the user of a database's error."""
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = self._reason(getattr(cause, "orig", None) or cause)
        if "database is locked" in reason:
            return locked(str(self))
        return UserError(
            f"the storage {self} failed: {reason}",
            "see that the database runs and lets this user in, then run the same command again: it continues",
        )

    def _reason(self, error: BaseException) -> str:
        """Return what a driver says, in one line and without the password."""
        said = error.args[0] if error.args else error
        text = str(said.get("M", said) if isinstance(said, dict) else said).strip() or type(error).__name__
        password = self.database.password if self.database is not None else None
        return text.splitlines()[0].replace(str(password) if password else "\0", "***")
