"""Weights on disk: safetensors beside a JSON config, and checks that a file fits a network."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from seedbed.errors import UserError
from seedbed.files import read_json, write_bytes, write_json

WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
_ROWS = 12
_ABSENT = "-"
# What the two readers raise for files that are damaged or something else altogether.
_UNREADABLE = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
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
    """Return the tensors of `file` by name, on the CPU: safetensors, or a torch file (read without running its code).

    A state dict nested under `state_dict` or `model` is unpacked, and the prefix `module.` of DataParallel removed.
    Raises UserError when the file is missing or is none of both.
    """
    path = file / WEIGHTS if file.is_dir() else file
    if not path.is_file():
        raise UserError(f"weight file {path} does not exist", "mend its path, or leave it out to start at random")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path} is not a readable weight file ({reason})",
            "give a complete .safetensors file, or a torch file of plain tensors",
        ) from error
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dict in the `content` of a torch file."""
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
    """Raise UserError with a table of the differences unless `state` (read from `source`) fits `module`.

    `allow_extra` admits entries that the module lacks. `num_batches_tracked` counters may be missing: old files do not
    have them and nothing here reads them.
    """
    own = module.state_dict()
    rows = [
        (name, _shape(value), _shape(state.get(name)))
        for name, value in own.items()
        if (state[name].shape != value.shape if name in state else not name.endswith("num_batches_tracked"))
    ]
    if rows or not allow_extra:
        rows += [(name, _shape(None), _shape(value)) for name, value in state.items() if name not in own]
    if rows:
        missing = sum(in_file == _ABSENT for _, _, in_file in rows)
        unexpected = sum(in_network == _ABSENT for _, in_network, _ in rows)
        counts = f"{missing} missing, {unexpected} unexpected, {len(rows) - missing - unexpected} of another shape"
        raise UserError(f"{source} does not fit the network ({counts} of {len(own)} tensors)\n{_table(rows)}", _MEND)


def _shape(value: Tensor | None) -> str:
    return _ABSENT if value is None else "x".join(map(str, value.shape)) or "scalar"


def _table(rows: list[tuple[str, str, str]]) -> str:
    """Lay out (name, shape in the network, shape in the file) in columns, the first dozen rows."""
    shown = [("tensor", "network", "file"), *rows[:_ROWS]]
    widths = [max(len(row[column]) for row in shown) for column in range(3)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in shown]
    if len(rows) > _ROWS:
        lines.append(f"... and {len(rows) - _ROWS} more")
    return "\n".join(f"  {line.rstrip()}" for line in lines)
