"""One matrix of bytes out of a structure in a MATLAB 5 file, which is all that SBD needs.

SciPy's reader is written for intact files: a damaged one can end the process. This one looks at every length before it
follows it, and passes over whatever else is in the file. Format: MathWorks, "MAT-File Level 5 File Format".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 1 << 28
"""Most that one compressed variable may unpack to."""

_HEADER = 128
_LITTLE_ENDIAN_5 = b"\x00\x01IM"

_UINT8, _MATRIX, _COMPRESSED = 2, 14, 15  # types of data elements
_STRUCTURE = 2  # class of an array


def read_bytes_field(content: bytes, variable: str, field: str) -> NDArray[np.uint8]:
    """Return the matrix `variable`.`field` of a MATLAB 5 file with this `content`, uint8 [H,W].

    Raises ValueError, with the reason, for any other file, structure, shape or type, and for a damaged file.
    """
    if content[124:_HEADER] != _LITTLE_ENDIAN_5:
        raise ValueError("it is no MATLAB 5 file, as PCs write it")
    for array in _arrays(memoryview(content)[_HEADER:]):
        name, rest, kind = _open_array(array)
        if name == variable and kind == _STRUCTURE:
            return _matrix(_field(rest, field))
    raise ValueError(f"it holds no structure {variable}")


def _arrays(data: memoryview) -> Iterator[memoryview]:
    """Yield the arrays on the top level of a file, unpacked."""
    for kind, element in _elements(data):
        if kind == _COMPRESSED:
            yield from (array for kind, array in _elements(_unpacked(element)) if kind == _MATRIX)
        elif kind == _MATRIX:
            yield element


def _unpacked(data: memoryview) -> memoryview:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacker.eof:
        raise ValueError("its content is cut off, or too large")
    return memoryview(content)


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (type, content) of the data elements in `data`, one after the other."""
    position = 0
    while position < len(data):
        kind, size = _numbers(data[position : position + 8], 2)
        start, room = position + 8, len(data) - position - 8
        if kind >> 16:  # a small element: its size stands beside its type, its content in the same eight bytes
            kind, size, start, room = kind & 0xFFFF, kind >> 16, position + 4, 4
        if size > room:
            raise ValueError("it is cut off")
        yield kind, data[start : start + size]
        position = start + (size if kind == _COMPRESSED else size + (-(start + size - position) % 8))


def _open_array(array: memoryview) -> tuple[str, list[memoryview], int]:
    """Return the name of an array, its elements after the name (before them: its dimensions), and its class."""
    flags, dimensions, name, *rest = _at_least(3, [content for _, content in _elements(array)])
    kind = _numbers(flags, 2)[0] & 0xFF
    return bytes(name).decode("latin-1"), [dimensions, *rest], kind


def _field(structure: list[memoryview], field: str) -> memoryview:
    """Return the array that is the `field` of a structure of one element."""
    _, length, names, *values = _at_least(3, structure)
    width = _numbers(length, 1)[0]
    if width < 1:
        raise ValueError("its structure has no names of fields")
    fields = [bytes(names[start : start + width]).split(b"\0")[0] for start in range(0, len(names), width)]
    if len(values) != len(fields) or field.encode() not in fields:
        raise ValueError(f"its structure has no one field {field}")
    return values[fields.index(field.encode())]


def _matrix(array: memoryview) -> NDArray[np.uint8]:
    """Return the numbers of an array of bytes; MATLAB stores them column by column."""
    elements = _at_least(4, list(_elements(array)))
    kind, content = elements[3]
    if kind != _UINT8:
        raise ValueError("its numbers are no bytes")
    shape = _numbers(elements[1][1], 2)
    if shape[0] * shape[1] != len(content) or not len(content):
        raise ValueError(f"its shape {list(shape)} does not fit its {len(content)} numbers")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F")


def _at_least(count: int, elements: list) -> list:
    if len(elements) < count:
        raise ValueError("an array in it is incomplete")
    return elements


def _numbers(data: memoryview, count: int) -> tuple[int, ...]:
    """Return the first `count` unsigned numbers of 32 bits."""
    if len(data) < 4 * count:
        raise ValueError("it is cut off")
    return struct.unpack(f"<{count}I", data[: 4 * count])
