"""Random numbers as functions of keys: nothing depends on what was drawn before, so no state need be saved."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

Key = int | str


def _seed(keys: tuple[Key, ...]) -> int:
    """Return a 64-bit seed that depends on every key and on their order."""
    digest = hashlib.blake2b("/".join(map(str, keys)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def rng(*keys: Key) -> np.random.Generator:
    """Return the generator that belongs to `keys`, such as (seed, epoch): equal keys, equal draws."""
    return np.random.default_rng(_seed(keys))


def seed_torch(*keys: Key) -> None:
    """Set torch's global generators (CPU and CUDA) to the state that belongs to `keys`."""
    torch.manual_seed(_seed(keys))


def seed_modules(seed: int) -> None:
    """Seed the initial weights of the networks built next; a stream apart from that of the training steps."""
    seed_torch(seed, "weights")
