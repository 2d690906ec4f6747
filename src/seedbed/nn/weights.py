"""Weights on disk: safetensors beside a JSON config, and checks that a file fits a network."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
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
)
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
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
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
    Raises UserError when the file is missing or none of these.
    """
    path = file / WEIGHTS if file.is_dir() else file
    if not path.is_file():
        raise UserError(f"weight file {path} does not exist", "mend its path, or leave it out to start at random")
    try:
        if path.suffix == ".safetensors":
            content = safetensors.torch.load_file(path)
        elif path.suffix == ".params":
            content = read_params(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path} is not a readable weight file ({reason})",
            "give a complete .safetensors file, or a torch file of plain tensors",
        ) from error
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dict in the `content` of a weight file."""
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} holds no state dict (tensors by name)", "save `module.state_dict()` with torch.save")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def load_state(module: nn.Module, state: Mapping[str, Tensor], source: Path | str, allow_extra: bool = False) -> None:
    """Copy `state` into `module`, cast to the module's dtypes, once `check_state` finds that it fits."""
    check_state(module, state, source, allow_extra)
    module.load_state_dict({name: state[name] for name in module.state_dict() if name in state}, strict=False)


def check_state(module: nn.Module, state: Mapping[str, Tensor], source: Path | str, allow_extra: bool = False) -> None:
    """Raise UserError with a table of the `differences` unless `state` (read from `source`) fits `module`.

    `allow_extra` admits entries that the module lacks.
    """
    found = differences(module, state)
    if any(difference.kind != "unexpected" or not allow_extra for difference in found):
        rows = [(difference.name, shape_text(difference.network), shape_text(difference.file)) for difference in found]
        total = len(module.state_dict())
        message = f"{source} does not fit the network ({count(found)} of {total} tensors)\n{_table(rows)}"
        raise UserError(message, _MEND)


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


def _table(rows: list[tuple[str, str, str]]) -> str:
    """Lay out (name, shape in the network, shape in the file) in columns, the first dozen rows."""
    shown = [("tensor", "network", "file"), *rows[:_ROWS]]
    widths = [max(len(row[column]) for row in shown) for column in range(3)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in shown]
    if len(rows) > _ROWS:
        lines.append(f"... and {len(rows) - _ROWS} more")
    return "\n".join(f"  {line.rstrip()}" for line in lines)
