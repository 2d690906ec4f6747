"""Filtering on a permutohedral lattice and mean-field inference on one core, compiled by numba; see `lattice`.

What makes it fast: unrolled loops over corners and labels, which are held in tuples: their lengths are known to the
compiler, and their values stay in registers. Everything runs without the interpreter's lock: threads scale as processes
do, and share lattices. All operations round in pydensecrf's order, as mean field amplifies rounding where labels are
undecided: results are pydensecrf's, mostly to the bit.

No compiled function may call one of another file: numba's cache on disk looks at a function's own file only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from numba.cpython.unsafe import tuple as tuples

from seedbed.crf.compiled_lattice import Lattice

Array = npt.NDArray[Any]
Row = tuple[np.float32, ...] | None  # zeros, one per label; None where there are too many labels to unroll loops over

_BLOCK = 256  # pixels worked on at a time

_compiled = njit(nogil=True, cache=True, error_model="numpy")
_with: Any = tuples.tuple_setitem  # the tuple with another value at a place


@_compiled
def normalise(lattice: Lattice, blank: Row) -> None:
    """Write `norm`, so that the filter is D^-1/2 K D^-1/2, where D holds the row sums of K; `blank` of length one."""
    sums = np.zeros((len(lattice.norm), 1), np.float32)
    values, spare = _tables(lattice, 1)
    _splat(lattice, blank, np.ones_like(sums), values)
    values, _ = _blur(lattice, blank, values, spare)
    _slice(lattice, blank, values, np.float32(1), sums)
    lattice.norm[:] = 1 / np.sqrt((sums[:, 0] + np.float32(1e-20)).astype(np.float64))


@_compiled
def _tables(lattice: Lattice, labels: int) -> Any:
    """Return room for values of every label at every vertex, twice; the last row stays zero."""
    vertices = lattice.neighbours.shape[1] + 1
    return np.zeros((vertices, labels), np.float32), np.zeros((vertices, labels), np.float32)


@_compiled
def _splat(lattice: Lattice, blank: Row, inputs: Array, values: Array) -> None:
    """Spread the columns of `inputs` [P,M] over the vertices: `values` [V+1,M]."""
    values[:] = 0
    if blank is None:
        _splat_arrays(lattice, inputs, values)
    else:
        _splat_rows(lattice, blank, inputs, values)


@_compiled
def _splat_rows(lattice: Lattice, blank: Any, inputs: Array, values: Array) -> None:
    for pixel in range(len(inputs)):
        given = _scaled(_row(blank, inputs, pixel), lattice.norm[pixel])
        for corner in range(len(lattice.strides)):
            vertex, weight = lattice.vertices[pixel, corner], lattice.weights[pixel, corner]
            before = _row(blank, values, vertex)
            for label in range(len(blank)):
                values[vertex, label] = before[label] + weight * given[label]


@_compiled
def _splat_arrays(lattice: Lattice, inputs: Array, values: Array) -> None:
    given = np.empty(inputs.shape[1], np.float32)
    for pixel in range(len(inputs)):
        for label in range(len(given)):
            given[label] = inputs[pixel, label] * lattice.norm[pixel]
        for corner in range(len(lattice.strides)):
            vertex, weight = lattice.vertices[pixel, corner], lattice.weights[pixel, corner]
            for label in range(len(given)):
                values[vertex, label] += weight * given[label]


@_compiled
def _blur(lattice: Lattice, blank: Row, values: Array, spare: Array) -> Any:
    """Return `values` blurred along every axis, and the other of the two arrays."""
    for axis in range(len(lattice.strides)):
        neighbours = lattice.neighbours[axis]
        for vertex in range(len(neighbours)):
            before, after = neighbours[vertex, 0], neighbours[vertex, 1]
            for label in range(_width(blank, values)):
                beside = values[before, label] + values[after, label]
                spare[vertex, label] = values[vertex, label] + np.float32(0.5) * beside
        values, spare = spare, values
    return values, spare


@_compiled
def _slice(lattice: Lattice, blank: Row, values: Array, factor: Any, outputs: Array) -> None:
    """Add to `outputs` [P,M] what the pixels read at their corners, times `factor`."""
    # A constant of pydensecrf's that the normalisation takes out again; it counts for rounding alone.
    share = np.float32(1) / (np.float32(1) + np.float32(2) ** np.float32(1 - len(lattice.strides)))
    if blank is None:
        _slice_arrays(lattice, values, share, factor, outputs)
    else:
        _slice_rows(lattice, blank, values, share, factor, outputs)


@_compiled
def _slice_rows(lattice: Lattice, blank: Any, values: Array, share: Any, factor: Any, outputs: Array) -> None:
    # With one or two labels pydensecrf scales what has been read, with more the weight.
    before, after = (np.float32(1), share) if len(blank) <= 2 else (share, np.float32(1))
    for pixel in range(len(outputs)):
        found = blank
        for corner in range(len(lattice.strides)):
            read = _row(blank, values, lattice.vertices[pixel, corner])
            read = _scaled(_scaled(read, lattice.weights[pixel, corner] * before), after)
            for label in range(len(blank)):
                found = _with(found, label, found[label] + read[label])
        found = _scaled(found, lattice.norm[pixel])
        for label in range(len(blank)):
            outputs[pixel, label] += factor * found[label]


@_compiled
def _slice_arrays(lattice: Lattice, values: Array, share: Any, factor: Any, outputs: Array) -> None:
    found = np.empty(values.shape[1], np.float32)
    for pixel in range(len(outputs)):
        found[:] = 0
        for corner in range(len(lattice.strides)):
            vertex, weight = lattice.vertices[pixel, corner], lattice.weights[pixel, corner] * share
            for label in range(len(found)):
                found[label] += weight * values[vertex, label]
        for label in range(len(found)):
            outputs[pixel, label] += factor * (found[label] * lattice.norm[pixel])


@_compiled
def _row(blank: Any, table: Array, index: Any) -> Any:
    """Return a row of `table` as a tuple like `blank`."""
    row = blank
    for label in range(len(blank)):
        row = _with(row, label, table[index, label])
    return row


@_compiled
def _scaled(row: Any, factor: Any) -> Any:
    """Return the tuple `row` times `factor`."""
    for label in range(len(row)):
        row = _with(row, label, row[label] * factor)
    return row


@_compiled
def _width(blank: Row, table: Array) -> int:
    """Return the number of labels, known to the compiler where `blank` is a tuple."""
    if blank is None:
        return table.shape[1]
    return len(blank)


@_compiled
def mean_field(
    energies: Array, smooth: Lattice, appearance: Lattice, factors: Any, iterations: int, blank: Row
) -> Array:
    """Return the class probabilities float32 [P,M] after mean-field inference from unary `energies` float32 [P,M].

    `factors` float32: the weights of the kernels `smooth` and `appearance`.
    """
    probabilities = -energies
    _softmax(probabilities, blank)
    near, near_spare = _tables(smooth, energies.shape[1])
    alike, alike_spare = _tables(appearance, energies.shape[1])
    for _ in range(iterations):
        _splat(smooth, blank, probabilities, near)
        near, near_spare = _blur(smooth, blank, near, near_spare)
        _splat(appearance, blank, probabilities, alike)
        alike, alike_spare = _blur(appearance, blank, alike, alike_spare)
        np.negative(energies, probabilities)
        _slice(smooth, blank, near, factors[0], probabilities)
        _slice(appearance, blank, alike, factors[1], probabilities)
        _softmax(probabilities, blank)
    return probabilities


@_compiled
def _softmax(logits: Array, blank: Row) -> None:
    """Turn `logits` [P,M] into probabilities, rounded as Eigen rounds: four labels at a time, then what is left."""
    labels = _width(blank, logits)
    fours = labels // 4 * 4
    left = np.empty((_BLOCK, labels - fours), np.float32)
    for start in range(0, len(logits), _BLOCK):
        block = logits[start : start + _BLOCK]
        for pixel in range(len(block)):
            top = block[pixel, 0]
            for label in range(1, labels):
                top = max(top, block[pixel, label])
            for label in range(labels):
                block[pixel, label] -= top
            for label in range(fours, labels):
                left[pixel, label - fours] = block[pixel, label]
        if fours > 0:
            _exponential(block.reshape(block.size))
        _exact_exponential(left.reshape(left.size))
        for pixel in range(len(block)):
            for label in range(fours, labels):
                block[pixel, label] = left[pixel, label - fours]
            total = _sum(block, pixel, labels)
            for label in range(labels):
                block[pixel, label] /= total


@_compiled
def _sum(table: Array, row: int, labels: int) -> Any:
    """Return the sum of a row in Eigen's order: in four lanes, of two numbers each at a time, then what is left."""
    total, pairs = np.float32(0), labels // 8 * 8
    if labels >= 4:
        lanes = (table[row, 0], table[row, 1], table[row, 2], table[row, 3])
        if labels >= 8:
            odd = (table[row, 4], table[row, 5], table[row, 6], table[row, 7])
            for label in range(8, pairs, 8):
                lanes, odd = _plus_four(lanes, table, row, label), _plus_four(odd, table, row, label + 4)
            lanes = (lanes[0] + odd[0], lanes[1] + odd[1], lanes[2] + odd[2], lanes[3] + odd[3])
            if labels - pairs >= 4:
                lanes = _plus_four(lanes, table, row, pairs)
        total = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
    for label in range(labels // 4 * 4, labels):
        total += table[row, label]
    return total


@_compiled
def _plus_four(lanes: Any, table: Array, row: int, label: int) -> Any:
    """Return `lanes` plus four numbers of a row."""
    return (
        lanes[0] + table[row, label],
        lanes[1] + table[row, label + 1],
        lanes[2] + table[row, label + 2],
        lanes[3] + table[row, label + 3],
    )


@_compiled
def _exponential(values: Array) -> None:
    """Replace each of the `values` (at most 0) by its exponential, to 1e-7 of it: Cephes' expf, as Eigen has it."""
    for i in range(len(values)):
        value = max(values[i], np.float32(-87))
        power = np.floor(value * np.float32(1.44269504) + np.float32(0.5))  # e^value = 2^power e^rest
        rest = value - power * np.float32(0.693359375) - power * np.float32(-2.12194440e-4)
        series = np.float32(1.9875691500e-4)
        series = series * rest + np.float32(1.3981999507e-3)
        series = series * rest + np.float32(8.3334519073e-3)
        series = series * rest + np.float32(4.1665795894e-2)
        series = series * rest + np.float32(1.6666665459e-1)
        series = series * rest + np.float32(5.0000001201e-1)
        series = series * (rest * rest) + rest + np.float32(1)
        bits = np.int32((np.int32(power) + np.int32(127)) << np.int32(23))  # 2^power
        values[i] = series * bits.view(np.float32)


@_compiled
def _exact_exponential(values: Array) -> None:
    """Replace each of the `values` (at most 0) by its exponential, rounded correctly: a Taylor series in float64."""
    for i in range(len(values)):
        value = np.float64(max(values[i], np.float32(-87)))
        power = np.rint(value / math.log(2))
        rest = value - power * math.log(2)
        series = 1.0
        for term in range(10, 0, -1):
            series = series * (rest * (1 / term)) + 1
        bits = np.int64((np.int64(power) + np.int64(1023)) << np.int64(52))  # 2^power
        values[i] = series * bits.view(np.float64)


@_compiled
def strongest(probabilities: Array) -> Array:
    """Return the number uint8 [P] of the largest of each pixel's `probabilities` [P,M], the first of equal ones."""
    winners = np.zeros(len(probabilities), np.uint8)
    for pixel in range(len(probabilities)):
        top = probabilities[pixel, 0]
        for label in range(1, probabilities.shape[1]):
            if probabilities[pixel, label] > top:
                top = probabilities[pixel, label]
                winners[pixel] = label
    return winners
