import numpy as np

from seedbed.seeds.accumulate import accumulate

CONFIDENT = np.array([[-1.0, 2.0], [1.0, 4.0]], np.float32)
DOUBTFUL = np.array([[-30.0, 2.0], [1.0, 4.0]], np.float32)


def test_the_first_epoch_is_left_out():
    assert accumulate(None, CONFIDENT, 0, 1) is None


def test_maps_are_stored_with_their_maximum_at_255_and_merged_by_the_maximum():
    first = accumulate(None, CONFIDENT, 1, 5)
    assert first.tolist() == [[0, 128], [64, 255]]
    assert first.dtype == np.uint8
    assert accumulate(first, CONFIDENT[::-1], 2, 5).tolist() == [[64, 255], [64, 255]]


def test_doubtful_maps_count_only_at_the_end_and_if_nothing_else_is_there():
    assert accumulate(None, DOUBTFUL, 3, 5) is None
    assert accumulate(None, DOUBTFUL, 4, 5).tolist() == [[0, 128], [64, 255]]
    stored = np.zeros((2, 2), np.uint8)
    assert accumulate(stored, DOUBTFUL, 4, 5) is stored


def test_a_negative_map_is_empty_and_no_number_overflows():
    assert not accumulate(None, np.full((2, 2), -1e4, np.float32), 4, 5).any()
