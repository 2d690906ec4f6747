"""A writer of MXNet's `.params` files, for files like the published ones."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

HEADERS = ("legacy", "v1", "v2")
CODES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}


def params(arrays: Mapping[str, np.ndarray], header: str | None = None) -> bytes:
    """Return the file with `arrays`; without `header` the three headers take turns."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for index, array in enumerate(arrays.values()):
        parts += [array_header(array.shape, header or HEADERS[index % 3])]
        parts += [struct.pack("<iii", 1, 0, CODES[array.dtype.name]), array.tobytes()]
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        parts += [struct.pack("<Q", len(name.encode())), name.encode()]
    return b"".join(parts)


def array_header(shape: tuple[int, ...], header: str) -> bytes:
    """Return what comes before the device of an array."""
    if header == "legacy":
        return struct.pack(f"<I{len(shape)}I", len(shape), *shape)
    mark = struct.pack("<I", 0xF993FAC8) if header == "v1" else struct.pack("<Ii", 0xF993FAC9, 0)
    return mark + struct.pack(f"<I{len(shape)}q", len(shape), *shape)
