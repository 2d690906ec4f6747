"""The weights behind the golden cases: drawn anew from each tensor's name, so that no case has to store them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


def fill(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Return the golden state dict for {name: shape}."""
    return {name: tensor(name, tuple(shape)) for name, shape in shapes.items()}


def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return the golden tensor `name`: a function of name and shape, drawn by NumPy in float64 and rounded to float32.

    The CRC-32 of the name seeds PCG64. Variances are uniform in [0.5, 1.5); scales of norms 1 + 0.1 n, all other
    vectors 0.1 n, filters sqrt(2 / fan-in) n with n standard normal; counters are zero.
    """
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    draw = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith("running_var"):
        values = draw.uniform(0.5, 1.5, shape)
    elif len(shape) > 1:
        values = draw.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    else:
        centre = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
        values = centre + 0.1 * draw.standard_normal(shape)
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
