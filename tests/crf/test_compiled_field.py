"""The compiled kernels where they stand for library functions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seedbed.crf import compiled_field

logits = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 8)), elements=st.floats(-300, 300, width=32)
)


@pytest.mark.parametrize(("exponential", "error"), [("_exponential", 2e-7), ("_exact_exponential", 6e-8)])
def test_exponentials_are_right_to_the_last_bits(exponential, error):
    values = np.linspace(-87, 0, 200_001).astype(np.float32)
    found = values.copy()
    getattr(compiled_field, exponential)(found)
    np.testing.assert_allclose(found, np.exp(values.astype(np.float64)), rtol=error)
    far = np.array([-1e4, -np.inf], np.float32)
    getattr(compiled_field, exponential)(far)
    assert (far < 1e-37).all()


def test_the_exact_exponential_is_the_nearest_number():
    values = -np.random.default_rng(0).exponential(5, 100_000).astype(np.float32)
    found = values.copy()
    compiled_field._exact_exponential(found)
    np.testing.assert_array_equal(found, np.exp(values.astype(np.float64)).astype(np.float32))


@given(logits, st.booleans())
@settings(max_examples=60, deadline=None)
def test_softmax(values, unrolled):
    powers = np.exp(values.astype(np.float64) - values.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    found = values.copy()
    compiled_field._softmax(found, (np.float32(0),) * values.shape[1] if unrolled else None)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("labels", range(1, 30))
def test_a_row_is_summed_in_eigens_order(labels):
    table = np.random.default_rng(0).exponential(size=(200, labels)).astype(np.float32)
    fours, pairs = labels // 4 * 4, labels // 8 * 8
    lanes = np.zeros((200, 4), np.float32)
    if fours:
        even = [table[:, i : i + 4] for i in range(0, max(pairs, 4), 8)]
        odd = [table[:, i + 4 : i + 8] for i in range(0, pairs, 8)]
        lanes = np.add.reduce(even, axis=0)
        lanes = lanes + np.add.reduce(odd, axis=0) if odd else lanes
        lanes = lanes + table[:, pairs:fours] if 0 < pairs < fours else lanes
    expected = (lanes[:, 0] + lanes[:, 2]) + (lanes[:, 1] + lanes[:, 3])
    for label in range(fours, labels):
        expected = expected + table[:, label]
    np.testing.assert_array_equal([compiled_field._sum(table, row, labels) for row in range(200)], expected)


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 10)), elements=st.sampled_from([0, 0.5, 1])))
@settings(max_examples=50, deadline=None)
def test_the_strongest_is_the_first_of_equal_ones(probabilities):
    np.testing.assert_array_equal(compiled_field.strongest(probabilities), probabilities.argmax(axis=1))
