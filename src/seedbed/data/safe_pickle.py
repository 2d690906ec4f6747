"""Reading the pickles that the field exchanges without running them.

A pickle may call any function. This reader knows numpy arrays and scalars, PyTorch tensors on the CPU and plain
containers, and builds them itself: of Python's, numpy's and PyTorch's own unpickling code nothing runs. What it builds,
every container and number included, takes no more memory than the file's size allows for, whatever the file claims.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seedbed.data.pickle_machine import Machine, Symbols, key, mapping
from seedbed.errors import UserError

MOST_BYTES = 2**30
"""The largest file that is read, bytes."""

_PER_BYTE = 40
"""Bytes of memory that a byte of a pickle may take; small containers, as in files of image labels, take up to 33."""
_AT_LEAST = 2**25
"""Bytes of memory that any pickle may take."""
_PLAIN = (str, bytes, int, float, bool, type(None))
_NUMBERS = (bool, int, float, np.bool_, np.number)
_SIMPLE = re.compile(r"[<>=|]?(\?|[biufcSU][0-9]{0,9}|O8?)")  # types: numbers, texts and objects
_DEEPEST = 100
_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    rb"\{ *'descr': *'(?P<dtype>[^']{1,32})', *'fortran_order': *(?P<fortran>True|False), *"
    rb"'shape': *\((?P<shape>[0-9L, ]*)\),? *\}\s*"
)
_TENSORS = {
    "Float": "f4", "Double": "f8", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1", "Byte": "u1",
    "Bool": "?",
}  # fmt: skip
_FIX = "convert the file, where you trust it, to one of plain arrays, or to JSON"


@dataclass(frozen=True)
class _Named:
    """Stands for a name of the file that may be mentioned, not called."""

    name: str


class _Dtype:
    """A pickled dtype: a simple kind, or object; no fields, no subarrays."""

    def __init__(self, text: str, *_: Any) -> None:
        self.dtype = _dtype(text)

    def build(self, state: tuple[Any, ...]) -> None:
        """Take the byte order from the state."""
        if self.dtype != object:
            self.dtype = self.dtype.newbyteorder(state[1])


def _dtype(text: str) -> np.dtype[Any]:
    if not (isinstance(text, str) and _SIMPLE.fullmatch(text)):
        raise pickle.UnpicklingError(f"arrays of type {str(text)[:32]!r} are not allowed")
    try:
        return np.dtype(text)
    except (TypeError, ValueError) as error:
        raise pickle.UnpicklingError(str(error)) from None


class _Array:
    """A pickled array before `_Plain` has put the real one in its place."""

    def __init__(self, builder: _Builder, values: NDArray[Any] | None = None) -> None:
        self._builder = builder
        self.values: NDArray[Any] = np.empty(0) if values is None else values

    def build(self, state: tuple[Any, ...]) -> None:
        """Take shape, type and content from the state."""
        _, shape, dtype, fortran, content = state
        self.values = self._builder.array(shape, dtype, fortran, content)


@dataclass(frozen=True)
class _Storage:
    """The numbers behind a tensor, and the key under which they stand in the file."""

    dtype: np.dtype[Any]
    key: Any
    values: NDArray[Any]


class _Builder:
    """The functions that a pickle may call; together they reserve no more than `budget` bytes."""

    def __init__(self, budget: int) -> None:
        self._left = budget

    def symbols(self) -> Symbols:
        """Return what may be named in a file, with what stands for it."""
        table: dict[tuple[str, str], Any] = {
            ("numpy", "dtype"): _Dtype,
            ("numpy", "ndarray"): _NDARRAY,
            ("_codecs", "encode"): self.encode,
            ("collections", "OrderedDict"): lambda pairs=(): mapping(pairs),
            ("builtins", "set"): lambda items=(): set(map(key, items)),
            ("__builtin__", "set"): lambda items=(): set(map(key, items)),
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
            ("torch.storage", "_load_from_bytes"): self.storage,
        }
        for core in ("numpy.core", "numpy._core"):  # the name before and since numpy 2
            table[f"{core}.multiarray", "_reconstruct"] = self.reconstruct
            table[f"{core}.multiarray", "scalar"] = self.scalar
            table[f"{core}.numeric", "_frombuffer"] = self.frombuffer
        return table

    def spend(self, count: int) -> None:
        """Take `count` bytes from the budget."""
        self._left -= count
        if self._left < 0:
            raise pickle.UnpicklingError("it asks for far more memory than its size explains")

    def array(self, shape: tuple[int, ...], dtype: _Dtype, fortran: bool, content: Any) -> NDArray[Any]:
        """Return the array [shape] of `content`: bytes, or text of one byte per character, or a list of objects."""
        order: Literal["C", "F"] = "F" if fortran else "C"
        if dtype.dtype == object:
            if not isinstance(content, list) or len(content) != math.prod(shape):
                raise pickle.UnpicklingError("an object array does not hold as many items as its shape says")
            self.spend(8 * len(content))
            values = np.empty(len(content), object)
            for place, item in enumerate(content):  # one by one: the whole list would be looked into, lists and all
                values[place] = item
            return values.reshape(shape, order=order)
        if not isinstance(content, str | bytes | bytearray):  # bytes(n) would reserve n of them
            raise pickle.UnpicklingError("an array has no bytes as its content")
        self.spend(len(content))
        raw = content.encode("latin1") if isinstance(content, str) else content
        return np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)

    def reconstruct(self, kind: object, *_: Any) -> _Array:
        """Stand for numpy's _reconstruct: an array without content."""
        if kind is not _NDARRAY:
            raise pickle.UnpicklingError("only plain numpy arrays are allowed")
        return _Array(self)

    def frombuffer(self, content: Any, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
        """Stand for numpy's _frombuffer (protocol 5)."""
        return _Array(self, self.array(shape, dtype, order == "F", content))

    def scalar(self, dtype: _Dtype, content: Any) -> Any:
        """Stand for numpy's scalar."""
        if dtype.dtype == object:
            raise pickle.UnpicklingError("object scalars are not allowed")
        return self.array((), dtype, False, content)[()]

    def encode(self, text: str, codec: str) -> bytes:
        """Stand for _codecs.encode, with which protocols 0 to 2 write bytes."""
        if codec != "latin1":
            raise pickle.UnpicklingError(f"codec {codec!r} is not allowed")
        self.spend(len(text))
        return text.encode("latin1")

    def storage(self, content: bytes) -> _Storage:
        """Read the storage of a tensor, in PyTorch's format before zips, which tensors inside a pickle have."""
        if not isinstance(content, bytes):
            raise pickle.UnpicklingError("a tensor has no bytes as its content")
        self.spend(len(content))
        stream = io.BytesIO(content)
        for _ in ("magic number", "version", "system"):
            Machine(stream, {}, self.spend).run()
        kinds: Symbols = {("torch", f"{name}Storage"): _Named(name) for name in _TENSORS}
        reference = Machine(stream, kinds, self.spend, persistent=lambda parts: parts).run()
        _, kind, name, _, count, *_ = reference
        if Machine(stream, {}, self.spend).run() != [name] or not isinstance(kind, _Named):
            raise pickle.UnpicklingError("a tensor's storage is not in the file")
        dtype = np.dtype(_TENSORS[kind.name]).newbyteorder("<")
        if int.from_bytes(stream.read(8), "little") != count:
            raise pickle.UnpicklingError("a tensor's storage is not as long as the file says")
        return _Storage(dtype, name, np.frombuffer(stream.read(), dtype, count))

    def tensor(self, storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> _Array:
        """Return the tensor of `size` in a storage, as an array; a tensor that repeats its numbers is refused."""
        values = storage.values
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        count = math.prod(size)
        if min((*size, *stride, offset), default=0) < 0 or count > len(values) or (count and last >= len(values)):
            raise pickle.UnpicklingError("a tensor reaches beyond its storage")
        self.spend(count * values.itemsize)
        steps = [step * values.itemsize for step in stride]
        view = np.lib.stride_tricks.as_strided(values[offset:] if count else values, size, steps)
        return _Array(self, view.astype(values.dtype.newbyteorder("=")))


_NDARRAY = _Named("numpy.ndarray")


class _Plain:
    """Puts real arrays into what a machine returned, having checked that it holds allowed types only."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}  # by identity: what a file refers to a million times is looked at once
        self._within: set[int] = set()

    def __call__(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, _PLAIN) or (isinstance(value, np.generic) and value.dtype != object):
            return value
        if id(value) not in self._done:
            if depth > _DEEPEST or id(value) in self._within:
                raise pickle.UnpicklingError("it holds itself, or is nested too deeply")
            self._within.add(id(value))
            self._done[id(value)] = self._container(value, depth + 1)
        return self._done[id(value)]

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, _Array):
            if value.values.dtype != object:
                return value.values
            result = np.empty(value.values.shape, object)
            for place in np.ndindex(value.values.shape):
                result[place] = self(value.values[place], depth)
            return result
        if isinstance(value, dict):
            return {name: self(item, depth) for name, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return type(value)([self(item, depth) for item in value])
        raise pickle.UnpicklingError(f"it holds a {type(value).__name__}, which is not allowed")


def loads(content: bytes) -> Any:
    """Return what a pickle holds: str, bytes, int, float, bool, None, list, tuple, set, dict, numpy arrays and scalars.

    Tensors become arrays; str and bytes of Python 2 become str. Raises pickle.UnpicklingError for everything else, and
    for a file that asks for more memory than its size explains.
    """
    builder = _Builder(_PER_BYTE * len(content) + _AT_LEAST)
    machine = Machine(io.BytesIO(content), builder.symbols(), builder.spend)
    return _Plain()(machine.run())


def read_npy(content: bytes) -> Any:
    """Return the array that the bytes of a .npy file hold, a pickled one (`numpy.save` of a dict) included.

    Raises pickle.UnpicklingError as `loads` does, and ValueError when `content` is no .npy file.
    """
    width = 2 if content[6:7] == b"\x01" else 4
    start = 8 + width
    end = start + int.from_bytes(content[8:start], "little")
    header = _HEADER.fullmatch(content[start:end])
    if not content.startswith(_MAGIC) or header is None:
        raise ValueError("it has no header of numpy's")
    dtype = _dtype(header["dtype"].decode("latin1"))
    if dtype.kind == "O":
        return loads(content[end:])
    shape = tuple(int(side.strip(b"L")) for side in header["shape"].replace(b" ", b"").split(b",") if side)
    if len(content) - end != math.prod(shape) * dtype.itemsize:
        raise ValueError("its content is not as long as its header says")
    order: Literal["C", "F"] = "F" if header["fortran"] == b"True" else "C"
    return np.frombuffer(content, dtype, offset=end).reshape(shape, order=order)


def is_npy(content: bytes) -> bool:
    """Whether `content` begins as a .npy file does."""
    return content.startswith(_MAGIC)


def parse(content: bytes, name: str) -> Any:
    """Return what `content`, read from the file `name`, holds: a .npy file or a whole pickle, as its first bytes tell.

    A 0-d array of one object, as `numpy.save` makes of a dict, comes as that object. Raises UserError when it is
    damaged, or refers to anything but arrays, tensors and plain containers.
    """
    try:
        value = read_npy(content) if is_npy(content) else loads(content)
    except pickle.UnpicklingError as error:
        raise UserError(f"{name} was not read: {error}", _FIX) from None
    except (ValueError, OverflowError) as error:
        raise UserError(f"{name} is not a .npy file ({error})", _FIX) from None
    return value.item() if isinstance(value, np.ndarray) and value.dtype == object and value.shape == () else value


def flat_array(value: Any, most: int) -> NDArray[Any] | None:
    """Return an array of at most `most` items, or a flat list of as many numbers as an array; None for anything else.

    Lists within lists, of which a file may use one a thousand times, would take any amount of memory as an array.
    """
    if isinstance(value, np.ndarray):
        return value if value.size <= most else None
    flat = isinstance(value, list | tuple) and len(value) <= most and all(isinstance(item, _NUMBERS) for item in value)
    return np.asarray(value) if flat else None


def load_npy(path: Path) -> Any:
    """Return the array in a .npy file, or the dict or other object that `numpy.save` pickled into it.

    Raises UserError when the file is missing, damaged, or refers to anything but arrays and plain containers.
    """
    content = read_limited(path)
    if not is_npy(content):
        raise UserError(f"{path} is not a .npy file", _FIX)
    return parse(content, str(path))


def read_limited(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a file. Raises UserError when it is missing, or larger than `most` bytes."""
    try:
        size = path.stat().st_size
        if size > most:
            raise UserError(f"{path} has {size} bytes; more than {most} are not read into memory", _FIX)
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, not a file") from None
