"""The permutohedral lattice: its geometry, plain torch against compiled kernels, and batches."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seedbed.crf import compiled_field
from seedbed.crf.lattice import Kernel, build, join
from seedbed.crf.meanfield import CompiledEngine
from seedbed.errors import UserError

KERNELS = [Kernel(3), Kernel(0.3), Kernel(80, 13), Kernel(5, 3), Kernel(1, 40)]
images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def compiled_filter(lattice, inputs):
    """The filter of a compiled lattice."""
    values, spare = compiled_field._tables(lattice, inputs.shape[1])
    compiled_field._splat(lattice, None, inputs, values)
    values, _ = compiled_field._blur(lattice, None, values, spare)
    found = np.zeros_like(inputs)
    compiled_field._slice(lattice, None, values, np.float32(1), found)
    return found


@given(images, st.sampled_from(KERNELS))
@settings(max_examples=40, deadline=None)
def test_compiled_and_plain_lattices_are_one(image, kernel):
    pixels = image.shape[0] * image.shape[1]
    plain, quick = build(kernel, [torch.from_numpy(image)]), CompiledEngine().build(kernel, image)
    assert len(plain.starts) == quick.neighbours.shape[1] + 1  # the zero vertex
    np.testing.assert_array_equal(plain.weights.numpy().T, quick.weights)
    np.testing.assert_allclose(plain.norm[:, 0].numpy(), quick.norm, rtol=1e-6)
    # numbered differently, but the same corners belong together
    pairs = {*zip(plain.vertices.T.flatten().tolist(), quick.vertices.ravel().tolist(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    every = np.eye(pixels, 9, dtype=np.float32)
    np.testing.assert_allclose(plain.filter(torch.from_numpy(every)), compiled_filter(quick, every), atol=1e-6)


@given(images, st.sampled_from(KERNELS))
@settings(max_examples=40, deadline=None)
def test_the_normalisation_is_symmetric(image, kernel):
    lattice = build(kernel, [torch.from_numpy(image)])
    root = 1 / lattice.norm  # D^-1/2 K D^-1/2 with D the row sums of K maps their root to itself
    torch.testing.assert_close(lattice.filter(root), root, rtol=1e-4, atol=1e-5)


def test_equal_colours_are_nearer_than_other_ones(image):
    lattice = build(Kernel(80, 13), [torch.from_numpy(image)])
    square = torch.zeros(40, 50)
    square[10:30, 10:30] = 1
    response = lattice.filter(square.reshape(-1, 1)).reshape(40, 50)
    assert response[10:30, 10:30].min() > 100 * response[:, 40:].max()


@given(st.lists(images, min_size=1, max_size=4), st.sampled_from(KERNELS), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_batch_filters_each_image_as_alone(batch, kernel, joined):
    tensors = [torch.from_numpy(image) for image in batch]
    alone = [build(kernel, [image]) for image in tensors]
    together = join(alone) if joined else build(kernel, tensors)
    sizes = [image.shape[0] * image.shape[1] for image in batch]
    values = torch.rand(sum(sizes), 3)
    parts = together.filter(values).split(sizes)
    for lattice, given_values, found in zip(alone, values.split(sizes), parts, strict=True):
        torch.testing.assert_close(found, lattice.filter(given_values))


def test_codes_of_different_vertices_and_neighbours_differ():
    image = np.array(list(itertools.product([0, 100, 255], repeat=3)), np.uint8).reshape(3, 9, 3)
    kernel = Kernel(2, 60)
    strides = kernel.strides(3, 9)
    assert sum(strides) == 0
    lattice = build(kernel, [torch.from_numpy(image)])
    # no vertex is its own neighbour, and both neighbours differ
    zero = len(lattice.starts) - 1
    for axis in lattice.neighbours[..., :-1].long():
        both = (axis < zero).all(dim=0)
        assert (axis != torch.arange(zero)).all()
        assert (axis[0, both] != axis[1, both]).all()


def test_too_narrow_kernels_are_a_clear_error():
    with pytest.raises(UserError, match=r"widths 3 \(xy\) and 0.001 \(rgb\) is too narrow for 500 x 375"):
        Kernel(3, 0.001).strides(375, 500)
    just_fits = torch.zeros(2, 2, 3, dtype=torch.uint8)
    narrow = next(Kernel(1, 0.9**k) for k in range(100) if Kernel(1, 0.9**k).codes(2, 2) > 2**61)
    assert len(build(narrow, [just_fits]).norm) == 4
    with pytest.raises(UserError, match="batches"):
        build(narrow, [just_fits] * 16)


def test_bytes_are_those_of_the_tensors(image):
    lattice = build(Kernel(3), [torch.from_numpy(image)])
    assert lattice.nbytes > 2000 * (3 * 16 + 4)
