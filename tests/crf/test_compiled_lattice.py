"""The hash table and the corners of the compiled lattice."""

import numpy as np

from seedbed.crf import compiled_lattice
from seedbed.crf.lattice import Kernel
from seedbed.crf.meanfield import CompiledEngine


def test_a_full_hash_table_grows():
    numbered = list(enumerate(range(-700, 700, 175)))
    codes, numbers = compiled_lattice._empty_table(16)
    for number, code in numbered:
        slot = compiled_lattice._slot(codes, numbers, code)
        codes[slot], numbers[slot] = code, number
    codes, numbers = compiled_lattice._enlarged(codes, numbers)
    assert len(codes) == 64
    assert (numbers >= 0).sum() == len(numbered)
    assert [numbers[compiled_lattice._slot(codes, numbers, code)] for _, code in numbered] == list(range(len(numbered)))
    assert numbers[compiled_lattice._slot(codes, numbers, 1)] == compiled_lattice._EMPTY


def test_many_vertices_are_numbered_in_the_order_of_first_touch():
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    lattice = CompiledEngine().build(Kernel(5, 2), image)  # nearly every pixel has a simplex of its own
    vertices = lattice.vertices.ravel().astype(np.int64)
    assert vertices.max() + 1 == lattice.neighbours.shape[1] > 15_000
    _, first = np.unique(vertices, return_index=True)
    assert (np.diff(first) > 0).all()


def test_barycentric_weights_sum_to_one(image):
    lattice = CompiledEngine().build(Kernel(7, 20), image)
    np.testing.assert_allclose(lattice.weights.sum(axis=1), 1, atol=1e-5)
    assert lattice.weights.min() >= -1e-6


def test_neighbours_are_mutual(image):
    neighbours = CompiledEngine().build(Kernel(7, 20), image).neighbours
    vertices = neighbours.shape[1]
    for axis in neighbours.astype(np.int64):
        present = np.flatnonzero(axis[:, 0] < vertices)
        assert present.size > 0
        np.testing.assert_array_equal(axis[axis[present, 0], 1], present)


def test_bytes_are_those_of_the_arrays(image):
    lattice = CompiledEngine().build(Kernel(3), image)
    assert lattice.nbytes == 2000 * (3 * 8 + 4) + lattice.neighbours.nbytes
