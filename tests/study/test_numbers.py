import math

import numpy as np
import pytest

from seedbed.study.numbers import nested, number, shortfall


def test_undefined_numbers_are_null():
    assert [number(value) for value in (np.float32(0.5), math.nan)] == [0.5, None]
    assert nested(np.array([[0.123456, np.nan]]), 3) == [[0.123, None]]


def test_rounding_is_no_difference_and_more_than_the_highest_is_an_error():
    assert shortfall(0.75, 0.5) == 0.25
    assert shortfall(0.5, 0.5 + 1e-12) == 0
    for reached in (0.5 + 1e-8, math.nan):
        with pytest.raises(AssertionError, match="is the highest value"):
            shortfall(0.5, reached)
