"""Which device computes, and which of several processes writes."""

from __future__ import annotations

import os

import torch

from seedbed.errors import UserError, unknown_name


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`: auto (CUDA where there is one, else the CPU), cpu or cuda.

    Raises UserError when CUDA is asked for and torch finds none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise unknown_name("device", name, ("auto", "cpu", "cuda"))
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        why = "finds no GPU" if torch.backends.cuda.is_built() else "was built without CUDA"
        raise UserError(
            f"device 'cuda' is asked for, but torch {torch.__version__} {why}", "set device: auto in params.yaml"
        )
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def is_main_process() -> bool:
    """Return whether this process writes files: the only one, or rank 0 under `torchrun` or `accelerate launch`."""
    return int(os.environ.get("RANK", "0")) == 0
