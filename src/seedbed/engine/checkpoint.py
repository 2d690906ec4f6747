"""The state a killed training continues from.

`<folder>/step-<n>/` holds `weights.safetensors`, `optimizer.pt` (read with weights_only) and `state.json`. It is filled
under a hidden name and renamed, and only then the one before it is removed: a SIGKILL at any moment leaves one to
continue from. A folder that lacks one of the three files was being removed and counts for nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

from seedbed.files import disk_errors, write_atomic, write_bytes, write_json

logger = logging.getLogger(__name__)

Identity = dict[str, Any]
"""JSON-like description of all that the result depends on: only a checkpoint of the same identity is continued."""

Point = dict[str, float]
"""A point of the loss curve: step, lr and the losses by name."""


@dataclass
class State:
    """Where a training stands, besides its weights and its optimiser."""

    step: int = 0
    """Steps done."""
    curve: list[Point] = field(default_factory=list)
    window: list[list[float]] = field(default_factory=list)
    """Losses of each step since the last point of the curve."""


def digest(network: nn.Module) -> str:
    """Return a hash of the names, shapes and values of all weights and buffers of `network`."""
    total = hashlib.blake2b(digest_size=16)
    for name, tensor in network.state_dict().items():
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def save(folder: Path, identity: Identity, state: State, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint, then remove the others in `folder`. Raises UserError when the disk is full: they stay."""
    target, part = folder / f"step-{state.step:08d}", folder / ".part"
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    optimizer_state = io.BytesIO()
    torch.save(optimizer.state_dict(), optimizer_state)
    with disk_errors(target):
        shutil.rmtree(part, ignore_errors=True)
        try:
            write_bytes(part / "weights.safetensors", to_bytes(weights))
            write_atomic(part / "optimizer.pt", lambda stream: stream.write(optimizer_state.getbuffer()))
            write_json(part / "state.json", {"identity": identity, **asdict(state)})
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        shutil.rmtree(target, ignore_errors=True)  # another training's, stopped at the same step
        part.rename(target)
    for other in folder.glob("step-*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)


def load(folder: Path, identity: Identity, network: nn.Module, optimizer: torch.optim.Optimizer) -> State | None:
    """Load the newest checkpoint of this `identity` into `network` and `optimizer`; without one return None.

    A checkpoint of another training is left alone until a new one takes its place; a log line says what differs.
    """
    differing: set[str] = set()
    for path in sorted(folder.glob("step-*"), reverse=True):
        weights, optimizer_state, state = path / "weights.safetensors", path / "optimizer.pt", path / "state.json"
        if not (weights.exists() and optimizer_state.exists() and state.exists()):
            continue
        content = json.loads(state.read_text())
        found = content.pop("identity")
        if found == identity:
            network.load_state_dict(load_file(weights))
            optimizer.load_state_dict(torch.load(optimizer_state, map_location="cpu", weights_only=True))
            logger.info("continuing after step %d from %s", content["step"], path)
            return State(**content)
        differing |= {key for key in identity.keys() | found.keys() if identity.get(key) != found.get(key)}
    if differing:
        logger.warning("%s is of another training (%s differ): starting anew", folder, ", ".join(sorted(differing)))
    return None


def discard(folder: Path) -> None:
    """Remove the checkpoints in `folder`: to be called once the trained weights lie safely elsewhere."""
    shutil.rmtree(folder, ignore_errors=True)
