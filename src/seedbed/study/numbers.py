"""Numbers as JSON can hold them: null where undefined."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

_ROUNDING = 1e-9


def number(value: Any) -> float | None:
    """Return `value` as a float, None for NaN."""
    return None if math.isnan(value) else float(value)


def shortfall(highest: float, reached: float) -> float:
    """Return by how much `reached` misses the `highest` value there is; what lies above by mere rounding misses by 0.

    Raises AssertionError for a value above the highest: then that is not what it claims to be.
    """
    missed = highest - reached
    if not missed >= -_ROUNDING:
        raise AssertionError(f"{reached} was reached where {highest} is the highest value")
    return max(missed, 0.0)


def nested(values: npt.NDArray[Any], digits: int) -> list[Any]:
    """Return an array as nested lists, rounded, with None for NaN."""
    holder = np.round(values, digits).astype(object)
    holder[np.isnan(values)] = None
    return list(holder.tolist())
