"""The map store: class maps of many images in few files.

A store is a folder of `shard-<n>.safetensors` and one `index.json`. A shard holds, for a few hundred images, `<id>`
float16 [K,H,W] in 0..1 at image size and `<id>.classes` int64 [K], the 0-based classes in ascending order. The index
names the shard of every image; it is written after its shards, so a killed writer leaves a store that is complete as
far as it goes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from seedbed.errors import UserError
from seedbed.files import read_json, write_bytes, write_json

_INDEX = "index.json"
_CLASSES = ".classes"


class MapWriter:
    """Adds maps to a store, a shard at a time; a context manager.

    A store of the same `fingerprint` (of everything that the maps depend on) is continued: `done` holds its ids. Any
    other store in `folder` is emptied first.
    """

    def __init__(self, folder: Path, fingerprint: str, shard: int = 256) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.shard = shard
        self._images: dict[str, str] = {}
        self._pending: dict[str, np.ndarray] = {}
        self._waiting: list[str] = []
        if (folder / _INDEX).is_file():
            index = read_json(folder / _INDEX)
            if index.get("fingerprint") == fingerprint:
                self._images = dict(index["images"])
        for leftover in folder.glob("shard-*.safetensors"):
            if leftover.name not in set(self._images.values()):
                leftover.unlink()

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
            shard = f"shard-{len(set(self._images.values())):05d}.safetensors"
            write_bytes(self.folder / shard, save(self._pending))
            self._images.update(dict.fromkeys(self._waiting, shard))
            self._pending, self._waiting = {}, []
        write_json(self.folder / _INDEX, {"fingerprint": self.fingerprint, "images": self._images})

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
        self._shard_of: dict[str, str] = dict(read_json(folder / _INDEX, fix)["images"])

    def __len__(self) -> int:
        return len(self._shard_of)

    def __contains__(self, name: str) -> bool:
        return name in self._shard_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._shard_of)

    def maps(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return maps float32 [K,H,W] in 0..1 and their classes int64 [K] (0-based) of image `name`."""
        if name not in self._shard_of:
            raise UserError(f"no seeds of image {name} in {self.folder}", "seedbed seeds --method METHOD")
        shard = _open_shard(self.folder / self._shard_of[name])
        return shard.get_tensor(name).astype(np.float32), shard.get_tensor(name + _CLASSES)


@functools.lru_cache(maxsize=4)
def _open_shard(path: Path) -> Any:
    """Open a shard, memory-mapped; the last few stay open because images of one shard are read together."""
    try:
        return safe_open(path, framework="numpy")
    except FileNotFoundError:
        raise UserError(f"shard {path} is missing", "dvc checkout, or seedbed seeds --method METHOD") from None
    except SafetensorError as error:
        raise UserError(f"shard {path} is damaged ({error})", "rm it, then seedbed seeds --method METHOD") from None
