"""MXNet's `.params` files, read without MXNet, and the names that the published ResNet-38 has in them."""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from seedbed.errors import UserError

_LIST = 0x112
_V1, _V2 = 0xF993FAC8, 0xF993FAC9
_DENSE = 0
_MAX_DIMS = 32
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.uint8, torch.int32, torch.int8, torch.int64)
"""Element types by MXNet's code."""

_NAME = re.compile(r"(arg|aux):(conv|res|bn)(\d[ab]?\d*)(?:_(branch\w+?))?_(weight|gamma|beta|moving_mean|moving_var)")
_PARTS = {
    ("arg", "conv", "weight"): "weight",
    ("arg", "res", "weight"): "weight",
    ("arg", "bn", "gamma"): "weight",
    ("arg", "bn", "beta"): "bias",
    ("aux", "bn", "moving_mean"): "running_mean",
    ("aux", "bn", "moving_var"): "running_var",
}
_CLASSIFIER = "arg:linear1000_"


def read_params(path: Path) -> dict[str, Tensor]:
    """Return the arrays of an MXNet `.params` file under MXNet's names (`arg:...`, `aux:...`), on the CPU.

    The format is MXNet's list of arrays, with all three array headers: the legacy one, 0xF993FAC8 and 0xF993FAC9
    (dense). Every size is checked against the length of the file before anything is read or allocated. Raises UserError
    for a file that is truncated, damaged or something else.
    """
    with path.open("rb") as stream:
        return _Reader(stream, path).arrays_by_name()


def state_name(mxnet_name: str) -> str | None:
    """Return the state-dict name of a parameter of the published ResNet-38 (halbielee/EPS network/resnet38d.py).

    None for the ImageNet classifier, which the networks here do not have. Any other name is returned as it is.
    """
    if mxnet_name.startswith(_CLASSIFIER):
        return None
    match = _NAME.fullmatch(mxnet_name)
    if match is None:
        return mxnet_name
    space, kind, unit, branch, mxnet_part = match.groups()
    part = _PARTS.get((space, kind, mxnet_part))
    if part is None:
        return mxnet_name
    if branch is None:
        return f"{kind}{unit}.{part}"
    stage, _, number = unit.partition("b")  # 4a is the first block of stage 4, 4b3 the third after it
    block = f"b{stage}_{number}" if number else f"b{stage.removesuffix('a')}"
    return f"{block}.{'bn' if kind == 'bn' else 'conv'}_{branch}.{part}"


def from_mxnet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the entries of the published ResNet-38 their state-dict names; the ImageNet classifier is left out."""
    names = {name: state_name(name) for name in state}
    return {own: state[name] for name, own in names.items() if own is not None}


class _Reader:
    """A cursor on a file that never reads past its end."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self.stream = stream
        self.path = path
        self.left = os.fstat(stream.fileno()).st_size

    def arrays_by_name(self) -> dict[str, Tensor]:
        if self.number("<Q") != _LIST:
            raise self.refused("it does not begin with MXNet's mark 0x112")
        self.number("<Q")  # reserved
        arrays = [self.array(index) for index in range(self.number("<Q"))]
        if self.number("<Q") != len(arrays):
            raise self.refused("it has not one name for each array")
        names = [self.name() for _ in arrays]
        if self.left:
            raise self.refused(f"{self.left} bytes follow its end")
        if len(set(names)) < len(names):
            raise self.refused("two arrays have one name")
        return dict(zip(names, arrays, strict=True))

    def array(self, index: int) -> Tensor:
        """Read one array with its header."""
        shape = self.shape(index)
        _device, _device_id, code = (self.number("<i") for _ in range(3))
        if not 0 <= code < len(_DTYPES):
            raise self.refused(f"array {index} is of the unknown element type {code}")
        dtype = _DTYPES[code]
        data = self.take(math.prod(shape) * dtype.itemsize)
        return torch.frombuffer(data, dtype=dtype).reshape(shape)

    def shape(self, index: int) -> list[int]:
        """Read the first part of an array's header, in any of its three forms."""
        dims, side = self.number("<I"), "<I"
        if dims in (_V1, _V2):
            if dims == _V2 and self.number("<i") != _DENSE:
                raise self.refused(f"array {index} is sparse")
            dims, side = self.number("<I"), "<q"
        if not 1 <= dims <= _MAX_DIMS:
            raise self.refused(f"array {index} has {dims} dimensions")
        shape = [self.number(side) for _ in range(dims)]
        if min(shape) < 1:
            raise self.refused(f"array {index} has the shape {shape}")
        return shape

    def name(self) -> str:
        try:
            return self.take(self.number("<Q")).decode()
        except UnicodeDecodeError:
            raise self.refused("a name is no text") from None

    def number(self, form: str) -> int:
        """Read one number of `form`, as in `struct`."""
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def take(self, length: int) -> bytearray:
        """Read `length` bytes."""
        if length > self.left:
            raise self.refused(f"it ends where {length} more bytes are due")
        data = bytearray(length)
        if self.stream.readinto(data) != length:  # type: ignore[attr-defined]
            raise self.refused("it shrinks while it is read")
        self.left -= length
        return data

    def refused(self, reason: str) -> UserError:
        return UserError(
            f"{self.path} is not a readable MXNet parameter file: {reason}",
            "give the complete .params file that MXNet saved (compare its size with the original's)",
        )
