import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from seedbed.data.masks import check_ids, read_mask, voc_palette, write_mask
from seedbed.errors import UserError


@given(mask=arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_masks_survive_writing(mask, tmp_path_factory):
    path = tmp_path_factory.mktemp("mask") / "mask.png"
    write_mask(path, mask)
    np.testing.assert_array_equal(read_mask(path, mask.shape[::-1]), mask)


def test_palette_is_that_of_voc(tmp_path):
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        8: (64, 0, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    for class_id, colour in known.items():
        assert tuple(voc_palette()[class_id]) == colour
    write_mask(tmp_path / "mask.png", np.full((2, 2), 15, np.uint8))
    assert Image.open(tmp_path / "mask.png").convert("RGB").getpixel((0, 0)) == known[15]


def test_grey_masks_hold_ids_too(tmp_path):
    Image.fromarray(np.array([[0, 3], [255, 1]], np.uint8)).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[0, 3], [255, 1]]


def test_coloured_masks_are_refused(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match="mode RGB"):
        read_mask(tmp_path / "mask.png")


def test_unknown_ids_are_named(tmp_path):
    check_ids(tmp_path, np.array([[0, 5, 255]], np.uint8), 5)
    with pytest.raises(UserError, match=r"unknown class ids \(6, 9\); known are 0\.\.5"):
        check_ids(tmp_path, np.array([[9, 6, 255]], np.uint8), 5)
