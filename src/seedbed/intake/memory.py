"""What earlier checks saw: facts by file, valid as long as size, times and inode of the file are the same."""

from __future__ import annotations

import hashlib
import inspect
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Self

import PIL

from seedbed.data import images, masks, saliency_sets
from seedbed.errors import UserError
from seedbed.intake import facts as looking
from seedbed.intake.facts import Facts, Kind
from seedbed.intake.inventory import Stamp

_READERS: tuple[ModuleType, ...] = (looking, images, masks, saliency_sets)
_TABLE = (
    "CREATE TABLE IF NOT EXISTS facts "
    "(name TEXT PRIMARY KEY, kind TEXT, size INT, written INT, changed INT, inode INT, said TEXT)"
)


class Memory:
    """Facts in one SQLite file, or nowhere (`path` None). A context manager.

    Every `keep` is complete at once, so a check that is killed goes on where it was. A file that is no database, or was
    written by other code than this, is replaced.
    """

    def __init__(self, path: Path | None, fresh: bool = False) -> None:
        self._path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if fresh:
                path.unlink(missing_ok=True)
        try:
            self._base = self._open()
        except sqlite3.OperationalError as error:
            raise UserError(f"{path} cannot be opened ({error})", f"rm {path}") from None
        except sqlite3.DatabaseError:
            assert path is not None
            path.unlink()
            self._base = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

    def recall(self, files: Mapping[str, Stamp], kinds: Mapping[str, Kind]) -> dict[str, Facts]:
        """Return the facts of those `files` that are as they were; forget those of files that are gone or changed."""
        known, stale = {}, []
        with closing(self._base.execute("SELECT * FROM facts")) as rows:
            for name, kind, *stamp, said in rows:
                if files.get(name) == tuple(stamp) and kinds.get(name, "other") == kind:
                    known[name] = _parse(said)
                else:
                    stale.append((name,))
        with self._base:
            self._base.executemany("DELETE FROM facts WHERE name = ?", stale)
        return known

    def keep(self, seen: Iterable[tuple[str, Kind, Stamp, Facts]]) -> None:
        """Remember facts. A file that could not be read is no fact."""
        rows = [(name, kind, *stamp, _text(facts)) for name, kind, stamp, facts in seen if facts.md5]
        with self._base:
            self._base.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        base = sqlite3.connect(self._path or ":memory:", timeout=60)
        try:
            base.execute("PRAGMA synchronous = OFF")
            if base.execute("PRAGMA user_version").fetchone()[0] != _version():
                base.execute("DROP TABLE IF EXISTS facts")
                base.execute(f"PRAGMA user_version = {_version()}")
            base.execute(_TABLE)
            base.commit()
        except BaseException:
            base.close()
            raise
        return base


def _version() -> int:
    """Return a number that changes with the table, the code that opens files, and Pillow; positive, of 31 bits."""
    text = _TABLE + "".join(map(inspect.getsource, _READERS)) + PIL.__version__
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def _text(facts: Facts) -> str:
    return json.dumps([facts.md5, facts.size, facts.ids, facts.ignored, facts.fault])


def _parse(said: str) -> Facts:
    md5, size, ids, ignored, fault = json.loads(said)
    return Facts(md5, (size[0], size[1]) if size else None, tuple(ids), ignored, fault)
