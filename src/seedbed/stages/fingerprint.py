"""The hash of everything that a result depends on: interrupted work is continued only where it is the same work."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import seedbed

_PACKAGE = Path(seedbed.__file__).parent


def fingerprint(*parts: BaseModel | Path | str | None) -> str:
    """Return the hash of parameter blocks, files and folders by content, texts, and this package's own code."""
    described = [_describe(part) for part in parts]
    described += [(path.relative_to(_PACKAGE).as_posix(), _digest(path)) for path in sorted(_PACKAGE.rglob("*.py"))]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def listing(folder: Path) -> str:
    """Return names, sizes and times of all files in `folder`: what is cheap to know of data that DVC does not track."""
    stats = [(path.relative_to(folder).as_posix(), path.stat()) for path in sorted(folder.rglob("*"))]
    return json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def _describe(part: BaseModel | Path | str | None) -> Any:
    if isinstance(part, BaseModel):
        return part.model_dump()
    if isinstance(part, Path):
        files = sorted(part.rglob("*")) if part.is_dir() else [part]
        return [(file.relative_to(part).as_posix(), _digest(file)) for file in files if file.is_file()]
    return part


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()
