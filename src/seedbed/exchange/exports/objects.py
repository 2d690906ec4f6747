"""Python objects as .npy files that every numpy reads."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np

_PROTOCOL = 3
"""The newest that names functions in plain text and counts no bytes, so that a name can be exchanged in it."""
_NEW, _OLD = "numpy._core.", "numpy.core."


def object_npy(value: Any) -> bytes:
    """Return the .npy file of `value` in a 0-d object array, as `numpy.load(FILE, allow_pickle=True).item()` reads it.

    numpy 2 writes names into pickles that numpy 1 does not know; those of numpy 1 are known to both.
    """
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    content, written = pickle.dumps(np.array(value, dtype=object), _PROTOCOL), 0
    for opcode, argument, place in pickletools.genops(content):
        if place is not None and opcode.name == "GLOBAL" and str(argument).startswith(_NEW):
            name = place + len(opcode.code)
            stream.write(content[written:name] + _OLD.encode())
            written = name + len(_NEW)
    stream.write(content[written:])
    return stream.getvalue()
