"""The map store: class maps of many images in few files.

A store is a folder of `shard-<n>.safetensors` and one `index.json`. A shard holds, for a few hundred images, `<id>`
float16 [K,H,W] in 0..1 at image size and `<id>.classes` int64 [K], the 0-based classes in ascending order. The index
names the shard of every image; it is written after its shards, so a killed writer leaves a store that is complete as
far as it goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from seedbed.errors import UserError
from seedbed.files import read_json, write_bytes, write_json

INDEX = "index.json"
_CLASSES = ".classes"
_PREFIX, _SUFFIX = "shard-", ".safetensors"
_SHARDS = f"{_PREFIX}*{_SUFFIX}"
_OPEN = 4  # shards that stay open: images of one shard are read together


class MapWriter:
    """Adds maps to a store, a shard at a time; a context manager.

    A store of the same `fingerprint` (of everything that the maps depend on) is continued: `done` holds its ids, less
    those of shards that are gone. Any other store in `folder` is emptied first.
    """

    def __init__(self, folder: Path, fingerprint: str, shard: int = 256) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.shard = shard
        self._images: dict[str, str] = {}
        self._pending: dict[str, np.ndarray] = {}
        self._waiting: list[str] = []
        if (folder / INDEX).is_file():
            index = read_json(folder / INDEX)
            if index.get("fingerprint") == fingerprint:
                here = {shard.name for shard in folder.glob(_SHARDS)}
                self._images = {name: shard for name, shard in index["images"].items() if shard in here}
        known = set(self._images.values())
        for leftover in folder.glob(_SHARDS):
            if leftover.name not in known:
                leftover.unlink()
        self._next = max((int(shard.removesuffix(_SUFFIX).removeprefix(_PREFIX)) for shard in known), default=-1) + 1

    @property
    def done(self) -> frozenset[str]:
        """Ids whose maps are in the store already."""
        return frozenset(self._images)

    def add(self, name: str, maps: np.ndarray, classes: np.ndarray) -> None:
        """Add maps [K,H,W] in 0..1 of the 0-based `classes` [K] of image `name`."""
        self._pending[name] = np.ascontiguousarray(maps, dtype=np.float16)
        self._pending[name + _CLASSES] = np.ascontiguousarray(classes, dtype=np.int64)
        self._waiting.append(name)
        if len(self._waiting) >= self.shard:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting as one shard, then the index."""
        if self._waiting:
            shard = f"{_PREFIX}{self._next:05d}{_SUFFIX}"
            write_bytes(self.folder / shard, save(self._pending))
            self._next += 1
            self._images.update(dict.fromkeys(self._waiting, shard))
            self._pending, self._waiting = {}, []
        write_json(self.folder / INDEX, {"fingerprint": self.fingerprint, "images": self._images})

    def __enter__(self) -> MapWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()  # on an error too: finished images are kept


class MapStore:
    """Reads a store that `MapWriter` made. Raises UserError when the folder is no store, with `fix` as the mend."""

    def __init__(self, folder: Path, fix: str | None = None) -> None:
        self.folder = folder
        self._fix = fix or "seedbed seeds --method METHOD"
        self._shard_of: dict[str, str] = dict(read_json(folder / INDEX, self._fix)["images"])
        self._opened: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._shard_of)

    def __contains__(self, name: str) -> bool:
        return name in self._shard_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._shard_of)

    def maps(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return what `stored` does, the maps as float32."""
        maps, classes = self.stored(name)
        return maps.astype(np.float32), classes

    def stored(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return maps float16 [K,H,W] in 0..1 and their classes int64 [K] (0-based) of image `name`.

        Raises UserError when the store lacks the image, and when its shard is missing or damaged.
        """
        if name not in self._shard_of:
            raise UserError(f"no seeds of image {name} in {self.folder}", self._fix)
        path = self.folder / self._shard_of[name]
        try:
            shard = self._open(path)
            return shard.get_tensor(name), shard.get_tensor(name + _CLASSES)
        except FileNotFoundError:
            raise UserError(f"shard {path} is missing", f"dvc checkout, or {self._fix}") from None
        except SafetensorError as error:
            raise UserError(f"shard {path} is damaged ({error})", f"rm {path} && {self._fix}") from None

    def _open(self, path: Path) -> Any:
        """Return the shard in `path`, memory-mapped; the shard opened longest ago is closed for it."""
        if path.name not in self._opened:
            if len(self._opened) == _OPEN:
                del self._opened[next(iter(self._opened))]
            self._opened[path.name] = safe_open(path, framework="numpy")
        return self._opened[path.name]
