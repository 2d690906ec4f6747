"""Writing files so that a reader never meets half of one: temporary name, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from seedbed.errors import UserError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder met while writing `path` into a `UserError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise UserError(
                f"the disk is full: could not write {path}; what was complete before is kept",
                f"free some space (df -h {path.parent}), then run the same command again",
            ) from error
        if isinstance(error, PermissionError):
            raise UserError(f"no permission to write {path}", f"ls -ld {path.parent}") from error
        raise


def write_atomic(path: Path, write: Callable[[BinaryIO], object], durable: bool = True) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`.

    The file appears whole or not at all. `durable=False` leaves out the fsync: for one of thousands of small files that
    the same command can make again. Raises UserError when the disk is full.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                write(stream)
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)  # mkstemp's 0600 would keep other users of a shared folder out
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Write `content` to `path` atomically."""
    write_atomic(path, lambda stream: stream.write(content), durable)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys and a final newline: equal values give equal bytes.

    NaN and infinity are refused (ValueError): they are no JSON; undefined numbers are None.
    """
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, fix: str | None = None) -> Any:
    """Read a JSON file. Raises UserError, with `fix` as its mend, when it is missing or is no JSON."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", fix) from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error})", fix) from None
