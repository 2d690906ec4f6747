"""Building a permutohedral lattice on one core, compiled by numba; see `lattice` for the method.

What makes it fast: pixels in blocks that fit the first cache and that the compiler turns into vector code, and vertices
found by a hash table. They are numbered in the order in which pixels touch them, so that pixels next to each other read
memory next to each other later. Everything runs without the interpreter's lock.

No compiled function may call one of another file: numba's cache on disk looks at a function's own file only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]

_BLOCK = 256  # pixels worked on at a time
_EMPTY = np.int32(-1)

_compiled = njit(nogil=True, cache=True, error_model="numpy")


class Lattice(NamedTuple):
    """The lattice of P pixels with V vertices and its symmetric normalisation.

    `vertices` uint32 and `weights` float32 [P,d+1]: the corners of each pixel's simplex and their barycentric weights.
    `neighbours` uint32 [d+1,V,2]: both neighbours of a vertex along each axis, V where there is none.
    `norm` float32 [P]: the factor before and after filtering.
    `strides`: as in `lattice.Kernel`, d + 1 of them.
    """

    vertices: Array
    weights: Array
    neighbours: Array
    norm: Array
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return sum(array.nbytes for array in self[:4])


@_compiled
def build(image: Array, width: int, widths: Any, scale: Array, strides: Any) -> Lattice:
    """Return the lattice of an `image` (uint8 [P,3], `width` pixels a row), not yet normalised.

    `widths`: of positions and colours, float32; `scale`, `strides`: as in `lattice.Kernel`. There are as many features
    as `strides` has axes but one: with two, the image only says how many pixels there are.
    """
    pixels, axes = len(image), len(strides)
    # pydensecrf takes pixels by four and fills up with zeros, whose vertices take part in the blur.
    rows = pixels + (pixels % 4 != 0)
    vertices = np.empty((rows, axes), np.uint32)
    weights = np.empty((rows, axes), np.float32)
    block = np.empty((3, axes, _BLOCK), np.float32)
    elevated, rounded, rank = block[0], block[1], block[2]
    codes, numbers = _empty_table(1 << 14)
    count = 0
    for start in range(0, rows, _BLOCK):
        stop = min(start + _BLOCK, rows)
        if 2 * (count + _BLOCK * axes) > len(codes):
            codes, numbers = _enlarged(codes, numbers)
        _elevate(image, width, widths, scale, start, stop, elevated, rank[0])
        _find_simplex(elevated, rounded, rank, stop - start)
        count = _add_corners(block, strides, codes, numbers, count, vertices[start:stop], weights[start:stop])
    neighbours = _find_neighbours(codes, numbers, count, strides)
    return Lattice(vertices[:pixels], weights[:pixels], neighbours, np.ones(pixels, np.float32), strides)


@_compiled
def _feature(image: Array, width: int, widths: Any, start: int, stop: int, axis: int, out: Array) -> None:
    """Write one feature of the pixels from `start` to `stop`: x, y or a colour over its width. Padding pixels: 0."""
    last = min(stop, len(image))
    if axis >= 2:
        for i in range(last - start):
            out[i] = np.float32(image[start + i, axis - 2]) / widths[1]
    else:
        y, x = divmod(start, width)
        for i in range(last - start):
            out[i] = np.float32(y if axis else x) / widths[0]
            x += 1
            if x == width:
                x, y = 0, y + 1
    out[last - start : stop - start] = 0


@_compiled
def _elevate(
    image: Array, width: int, widths: Any, scale: Array, start: int, stop: int, elevated: Array, spare: Array
) -> None:
    """Write the features embedded into the hyperplane of coordinates that sum to zero, `elevated` [d+1,pixels].

    The order of the operations is pydensecrf's: ties between simplices fall as there.
    """
    total = elevated[0]
    total[:] = 0
    for axis in range(len(elevated) - 1, 0, -1):
        _feature(image, width, widths, start, stop, axis - 1, spare)
        row, factor, steps = elevated[axis], scale[axis - 1], np.float32(axis)
        for i in range(stop - start):
            scaled = spare[i] * factor
            row[i] = total[i] - steps * scaled
            total[i] += scaled


@_compiled
def _find_simplex(elevated: Array, rounded: Array, rank: Array, pixels: int) -> None:
    """Write each pixel's nearest lattice point of colour 0, in steps of d + 1, and the ranks of what is left over.

    `elevated` becomes the rest, in the same steps; rank 0 is the largest.
    """
    axes = len(elevated)
    size, step = np.float32(axes), np.float32(1) / np.float32(axes)
    off = rank[axes - 1]  # how far the point lies off the hyperplane
    off[:] = 0
    for axis in range(axes):
        for i in range(pixels):
            nearest = np.rint(elevated[axis, i] * step)
            off[i] += nearest
            rounded[axis, i] = nearest
            elevated[axis, i] -= nearest * size
    for axis in range(axes - 1):
        rank[axis] = off
    _rank(elevated, rank, pixels)
    for axis in range(axes):
        for i in range(pixels):
            shift = np.float32(rank[axis, i] < 0) - np.float32(rank[axis, i] >= size)
            rank[axis, i] += shift * size
            rounded[axis, i] += shift
            elevated[axis, i] = (elevated[axis, i] - shift * size) * step


@_compiled
def _rank(rest: Array, rank: Array, pixels: int) -> None:
    """Add to `rank` of every axis how many axes have more `rest` than it."""
    for first in range(len(rest)):
        for second in range(first + 1, len(rest)):
            for i in range(pixels):
                smaller = np.float32(rest[first, i] < rest[second, i])
                rank[first, i] += smaller
                rank[second, i] += np.float32(1) - smaller


@_compiled
def _add_corners(
    block: Array, strides: Any, codes: Array, numbers: Array, count: int, vertices: Array, weights: Array
) -> int:
    """Write the vertices and barycentric weights of a block of pixels; return `count`, of vertices, with new ones."""
    rest, rounded, rank = block[0], block[1], block[2]
    axes = len(strides)
    descending = np.zeros(axes, np.float32)  # the rests
    steps = np.zeros(axes, np.int64)  # and the strides of their axes: the way from corner to corner
    for pixel in range(len(vertices)):
        code = np.int64(0)
        for axis in range(axes):
            place = axes - 1 - np.int64(rank[axis, pixel])
            descending[place] = rest[axis, pixel]
            steps[place] = strides[axis]
            code += np.int64(rounded[axis, pixel]) * strides[axis]
        weights[pixel, 0] = descending[0] + (np.float32(1) - descending[axes - 1])
        for corner in range(axes):
            if corner > 0:
                weights[pixel, corner] = descending[corner] - descending[corner - 1]
                code -= steps[corner - 1]
            slot = _slot(codes, numbers, code)
            if numbers[slot] == _EMPTY:
                codes[slot] = code
                numbers[slot] = count
                count += 1
            vertices[pixel, corner] = numbers[slot]
    return count


@_compiled
def _find_neighbours(codes: Array, numbers: Array, count: int, strides: Any) -> Array:
    """Return `neighbours` as in `Lattice` of the vertices in the hash table."""
    neighbours = np.full((len(strides), count, 2), count, np.uint32)
    by_number = np.empty(count, np.int64)
    for slot in range(len(codes)):
        if numbers[slot] != _EMPTY:
            by_number[numbers[slot]] = codes[slot]
    for axis in range(len(strides)):
        for vertex in range(count):
            other = numbers[_slot(codes, numbers, by_number[vertex] + strides[axis])]
            if other != _EMPTY:
                neighbours[axis, vertex, 0] = other
                neighbours[axis, other, 1] = vertex
    return neighbours


@_compiled
def _slot(codes: Array, numbers: Array, code: Any) -> Any:
    """Return where the hash table has `code`, or where there is room for it."""
    mask = len(codes) - 1
    mixed = code * np.int64(-7046029254386353131)  # 2^64 over the golden ratio
    slot = (mixed ^ (mixed >> np.int64(32))) & mask
    while codes[slot] != code and numbers[slot] != _EMPTY:
        slot = (slot + 1) & mask
    return slot


@_compiled
def _empty_table(size: int) -> Any:
    """Return the codes and numbers of vertices of a hash table, `size` a power of two."""
    return np.empty(size, np.int64), np.full(size, _EMPTY)


@_compiled
def _enlarged(codes: Array, numbers: Array) -> Any:
    """Return the hash table with four times the room."""
    more_codes, more_numbers = _empty_table(4 * len(codes))
    for slot in range(len(codes)):
        if numbers[slot] != _EMPTY:
            free = _slot(more_codes, more_numbers, codes[slot])
            more_codes[free] = codes[slot]
            more_numbers[free] = numbers[slot]
    return more_codes, more_numbers
