"""Weights on disk: safetensors beside a JSON config, and checks that a file fits a network."""

from __future__ import annotations

import hashlib
import pickle
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from seedbed.errors import UserError
from seedbed.files import read_json, write_bytes, write_json
from seedbed.nn.mxnet import read_params

WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
_ROWS = 12
# What the two readers raise for files that are damaged or something else altogether.
_UNREADABLE = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
)
_TORCH_MARKS = (b"PK", b"\x80\x02")
"""How torch files begin: the zip archives of today, and the older format."""
_DTYPES = {
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
}
_ANEW = "get the file anew, and compare its size with that of the original"
_MEND = "give a file made with the same architecture, or set the backbone, head and classes that it was made with"


def save_weights(folder: Path, module: nn.Module, config: dict[str, Any]) -> None:
    """Write parameters and buffers of `module` to `folder`/weights.safetensors, and `config` to config.json.

    Both atomically, the config last; dtypes are kept. Equal weights give equal bytes. Raises UserError on a full disk.
    """
    state = {name: value.cpu().contiguous() for name, value in module.state_dict().items()}
    write_bytes(folder / WEIGHTS, safetensors.torch.save(state))
    write_json(folder / CONFIG, config)


def save_state(folder: Path, state: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Write tensors as `save_weights` does; the config also gets the SHA-256 of their file, for `is_intact`.

    The tensors are contiguous, on the CPU, and share no memory.
    """
    content = safetensors.torch.save(state)
    write_bytes(folder / WEIGHTS, content)
    write_json(folder / CONFIG, {**config, "sha256": hashlib.sha256(content).hexdigest()})


def is_intact(folder: Path) -> bool:
    """Say whether the weights in `folder` are those that `save_state` wrote there."""
    return (folder / WEIGHTS).is_file() and file_hash(folder / WEIGHTS) == read_config(folder).get("sha256")


def file_hash(file: Path) -> str:
    """Return the SHA-256 of `file` in hexadecimal. Raises UserError when it cannot be read."""
    with _opened(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _opened(file: Path) -> Iterator[BufferedReader]:
    """Open `file` for reading. Raises UserError when it cannot be read."""
    try:
        with file.open("rb") as stream:
            yield stream
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror})", f"ls -l {file}") from error


def read_config(folder: Path, fix: str | None = None) -> dict[str, Any]:
    """Return the config that `save_weights` wrote to `folder`. Raises UserError (mend: `fix`) if there is none."""
    config: dict[str, Any] = read_json(folder / CONFIG, fix)
    return config


def load_weights(module: nn.Module, file: Path) -> None:
    """Load `file` into `module`; a folder stands for the weights that `save_weights` wrote to it.

    Raises UserError when the file cannot be read, or, with a table, when its tensors are not those of `module`.
    """
    load_state(module, read_state(file), source=file)


def read_state(file: Path) -> dict[str, Tensor]:
    """Return the tensors of `file` by name, on the CPU; a folder stands for the weights in it.

    `.safetensors`, MXNet's `.params` (under MXNet's names), or else a torch file, read without running its code: a
    state dict nested under `state_dict` or `model` is unpacked. The prefix `module.` of DataParallel is removed.
    Raises UserError when the file is missing or none of these, and for tensors that are not dense or not of real
    numbers.
    """
    path = file / WEIGHTS if file.is_dir() else file
    if not path.is_file():
        raise UserError(f"weight file {path} does not exist", "mend its path, or leave it out to start at random")
    check_format(path)
    with _opened(path) as stream:
        mark = stream.read(2)
    try:
        content = _content(path)
    except _UNREADABLE as error:
        reason, mend = _reason(path, mark, error)
        raise UserError(f"{path} is not a readable weight file: {reason}", mend) from error
    return _tensors(content, path)


def check_format(path: Path) -> None:
    """Raise UserError, with what to do, for a file of a kind that is not read here: Caffe's."""
    if path.suffix.lower() == ".caffemodel":
        raise UserError(
            f"{path} is a Caffe model, and those are not read here",
            "convert it to a torch or safetensors file, as docs/methods.md says under 'What to bring', then: "
            "seedbed weights import FILE --as deeplab-resnet101",
        )


def _content(path: Path) -> Any:
    """Return what lies in a weight file. Raises UserError or one of `_UNREADABLE`."""
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    if path.suffix == ".params":
        return read_params(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, on kinds of tensors and files that are refused anyway
        return torch.load(path, map_location="cpu", weights_only=True)


def _reason(path: Path, mark: bytes, error: Exception) -> tuple[str, str]:
    """Say why `path`, which begins with `mark`, cannot be read, and what mends it.

    In our own words: PyTorch's advise to load the file without its safeguard.
    """
    if not mark:
        return "it is empty", _ANEW
    if path.suffix == ".safetensors":
        return "it is cut off, damaged, or no safetensors file", _ANEW
    if mark not in _TORCH_MARKS:
        return "it does not begin as torch files do; it may be a web page, or a pointer instead of the file", _ANEW
    # "Unsupported operand" is what PyTorch says of bytes that are no pickle.
    if isinstance(error, pickle.UnpicklingError) and "operand" not in str(error):
        return (
            "it holds Python objects besides tensors, and those are never loaded",
            "save its state_dict alone, by the program that made it: torch.save(model.state_dict(), 'weights.pth')",
        )
    return "it is cut off, damaged, or an archive that torch.save did not write", _ANEW


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dict in the `content` of a weight file, every tensor of a kind that weights are."""
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} holds no state dict (tensors by name)", "save `module.state_dict()` with torch.save")
    state: dict[str, Tensor] = {}
    for name, value in content.items():
        own, oddity = str(name).removeprefix("module."), _oddity(value)
        if own in state:
            raise UserError(f"{path} holds {own} twice, with and without the prefix `module.`", "save it once")
        if oddity:
            raise UserError(
                f"{own} of {path} is {oddity}; weights are dense tensors of real numbers",
                "save it as one: value.dequantize() makes one of a quantised tensor, value.to_dense() of a sparse one",
            )
        state[own] = value
    return state


def _oddity(value: Tensor) -> str:
    """Say what keeps `value` from being a dense tensor of real numbers; empty when it is one."""
    if value.is_meta:
        return "a tensor without values (of the meta device)"
    if value.is_quantized:
        return "a quantised tensor"
    if value.is_nested or value.layout != torch.strided:
        return "a sparse or nested tensor"
    if value.is_complex():
        return "a complex tensor"
    return "" if value.dtype in _DTYPES else f"a tensor of {type_text(value.dtype)}"


def load_state(module: nn.Module, state: Mapping[str, Tensor], source: Path | str, allow_extra: bool = False) -> None:
    """Copy `state` into `module`, cast to the module's dtypes, once `check_state` finds that it fits."""
    check_state(module, state, source, allow_extra)
    module.load_state_dict({name: state[name] for name in module.state_dict() if name in state}, strict=False)


def check_state(module: nn.Module, state: Mapping[str, Tensor], source: Path | str, allow_extra: bool = False) -> None:
    """Raise UserError with a table of the `differences` unless `state` (read from `source`) fits `module`.

    `allow_extra` admits entries that the module lacks. Types are compared as in `check_numbers`.
    """
    found = differences(module, state)
    if any(difference.kind != "unexpected" or not allow_extra for difference in found):
        rows = [(difference.name, shape_text(difference.network), shape_text(difference.file)) for difference in found]
        total = len(module.state_dict())
        message = f"{source} does not fit the network ({count(found)} of {total} tensors)\n{_table(rows)}"
        raise UserError(message, _MEND)
    check_numbers(module, state, source)


def check_numbers(module: nn.Module, state: Mapping[str, Tensor], source: Path | str) -> None:
    """Raise UserError when an entry of `state` (read from `source`) holds whole numbers where `module` has real ones.

    Casting would give them a meaning that nobody stated: they are levels, of a scale that the file does not tell.
    """
    for name, own in module.state_dict().items():
        given = state.get(name)
        if given is not None and own.is_floating_point() and not given.is_floating_point():
            raise UserError(
                f"{name} of {source} is of {type_text(given.dtype)}, where the network has {type_text(own.dtype)}",
                "give a file with the weights as floating-point numbers",
            )


@dataclass(frozen=True)
class Difference:
    """A tensor on which network and file differ; the shape is None on the side that has no such tensor."""

    name: str
    network: torch.Size | None
    file: torch.Size | None

    @property
    def kind(self) -> str:
        """What is wrong with the file: `missing`, `unexpected` or `of another shape`."""
        if self.file is None:
            return "missing"
        return "unexpected" if self.network is None else "of another shape"


def differences(module: nn.Module, state: Mapping[str, Tensor]) -> list[Difference]:
    """Return where `state` differs from what `module` needs, in the module's order, then what is unexpected.

    `num_batches_tracked` counters may be missing: old files do not have them and nothing here reads them.
    """
    own = {name: value.shape for name, value in module.state_dict().items()}
    given = {name: value.shape for name, value in state.items()}
    optional = {name for name in own if is_counter(name)} - given.keys()
    needed = [
        Difference(name, shape, given.get(name))
        for name, shape in own.items()
        if name not in optional and given.get(name) != shape
    ]
    return needed + [Difference(name, None, shape) for name, shape in given.items() if name not in own]


def count(found: list[Difference]) -> str:
    """Say how many of the differences are of each kind."""
    kinds = [difference.kind for difference in found]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("missing", "unexpected", "of another shape"))


def is_counter(name: str) -> bool:
    """Say whether the tensor `name` is a batch normalisation's count of batches."""
    return name.endswith("num_batches_tracked")


def shape_text(shape: torch.Size | None) -> str:
    """Return a shape as `64x3x3x3`, `scalar`, or `-` for None."""
    return "-" if shape is None else "x".join(map(str, shape)) or "scalar"


def type_text(dtype: torch.dtype) -> str:
    """Return a type as `int8`."""
    return str(dtype).removeprefix("torch.")


def _table(rows: list[tuple[str, str, str]]) -> str:
    """Lay out (name, shape in the network, shape in the file) in columns, the first dozen rows."""
    shown = [("tensor", "network", "file"), *rows[:_ROWS]]
    widths = [max(len(row[column]) for row in shown) for column in range(3)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in shown]
    if len(rows) > _ROWS:
        lines.append(f"... and {len(rows) - _ROWS} more")
    return "\n".join(f"  {line.rstrip()}" for line in lines)
