"""Reading the pickles that the field exchanges without running them.

A pickle may call any function. This reader knows numpy arrays, numpy scalars and plain containers, and builds the
arrays itself: of numpy's own unpickling code nothing runs either.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from seedbed.errors import UserError

_PLAIN = (str, bytes, int, float, bool, type(None))
_SIMPLE_KINDS = "biufcSU"
_DAMAGE = (
    pickle.UnpicklingError, ValueError, TypeError, EOFError, IndexError, KeyError, AttributeError,
    OverflowError, MemoryError, UnicodeDecodeError, ImportError, RecursionError,
)  # fmt: skip


class _Dtype:
    """A pickled dtype: a simple kind, or object; no fields, no subarrays."""

    def __init__(self, text: str, *_: Any) -> None:
        self.dtype = np.dtype(str(text))
        if self.dtype != object and self.dtype.kind not in _SIMPLE_KINDS:
            raise pickle.UnpicklingError(f"arrays of type {text!r} are not allowed")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if self.dtype != object:
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """A pickled array before `_plain` has turned it into a real one."""

    def __init__(self) -> None:
        self.values: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        self.values = _build(shape, dtype, fortran, content)


class _Ndarray:
    """Stands for the name numpy.ndarray: it may be mentioned, not called."""


def _build(shape: tuple[int, ...], dtype: _Dtype, fortran: bool, content: Any) -> NDArray[Any]:
    order: Literal["C", "F"] = "F" if fortran else "C"
    if dtype.dtype == object:
        if not isinstance(content, list) or len(content) != math.prod(shape):
            raise pickle.UnpicklingError("an object array does not hold as many items as its shape says")
        values = np.empty(len(content), object)
        for place, item in enumerate(content):  # one by one: assigning the whole list would look into nested lists
            values[place] = item
        return values.reshape(shape, order=order)
    raw = content.encode("latin1") if isinstance(content, str) else bytes(content)
    return np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)


def _reconstruct(kind: type, *_: Any) -> _Array:
    if kind is not _Ndarray:
        raise pickle.UnpicklingError("only plain numpy arrays are allowed")
    return _Array()


def _frombuffer(content: Any, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.values = _build(shape, dtype, order == "F", content)
    return array


def _scalar(dtype: _Dtype, content: Any) -> Any:
    if dtype.dtype == object:
        raise pickle.UnpicklingError("object scalars are not allowed")
    return _build((), dtype, False, content)[()]


def _encode(text: str, codec: str) -> bytes:
    if codec != "latin1":  # what pickle protocols 0 to 2 write bytes with
        raise pickle.UnpicklingError(f"codec {codec!r} is not allowed")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Ndarray,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}
for _core in ("numpy.core", "numpy._core"):  # the name before and since numpy 2
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _scalar
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _frombuffer


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not allowed") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def loads(content: bytes) -> Any:
    """Return what a pickle holds: str, bytes, int, float, bool, None, list, tuple, set, dict, numpy arrays and scalars.

    Raises pickle.UnpicklingError for everything else.
    """
    return _load(io.BytesIO(content))


def _load(stream: BinaryIO) -> Any:
    try:
        return _plain(_Unpickler(stream, encoding="latin1").load())
    except pickle.UnpicklingError:
        raise
    except _DAMAGE as error:
        raise pickle.UnpicklingError(f"damaged ({type(error).__name__}: {error})") from None


def _plain(value: Any) -> Any:
    """Return `value` with real arrays, having checked that it holds allowed types only."""
    if isinstance(value, _Array):
        values = value.values
        if values.dtype != object:
            return values
        result = np.empty(values.shape, object)
        for place in np.ndindex(values.shape):
            result[place] = _plain(values[place])
        return result
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, _PLAIN) or (isinstance(value, np.generic) and value.dtype != object):
        return value
    raise pickle.UnpicklingError(f"it holds a {type(value).__name__}, which is not allowed")


def load_npy(path: Path) -> Any:
    """Return the array in a .npy file, also one of pickled plain containers (`numpy.save` of a dict).

    Raises UserError when the file is missing, damaged, or refers to anything but arrays and plain containers.
    """
    fix = "convert the file to image_labels.json, {id: [class names]}, where you trust it"
    try:
        with path.open("rb") as stream:
            return _read_npy(stream)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", "seedbed data check") from None
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} was not read, because a pickle can run code: {error}", fix) from None
    except ValueError as error:
        raise UserError(f"{path} is not a .npy file ({error})", fix) from None


def _read_npy(stream: BinaryIO) -> Any:
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = read_header(stream)
    if dtype.kind == "O":
        return _load(stream)
    stream.seek(0)
    return np.load(stream, allow_pickle=False)
