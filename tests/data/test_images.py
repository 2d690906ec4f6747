import numpy as np
import pytest
from PIL import Image

from seedbed.data.images import read_grey, read_rgb
from seedbed.errors import UserError


def test_truncated_jpeg_is_an_error_that_names_the_file(data):
    path = data.image_path("train_0000")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UserError, match=r"train_0000\.jpg cannot be decoded"):
        read_rgb(path)


def test_a_file_that_is_no_image_is_an_error(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_text("no image")
    with pytest.raises(UserError, match="cannot be decoded"):
        read_rgb(path)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_grey(tmp_path / "x.png")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_grey_levels_survive_every_8_bit_mode(tmp_path, mode):
    levels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(levels).convert(mode).save(tmp_path / "map.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "map.png", (8, 6)), levels)


def test_16_bit_maps_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "map.png")
    with pytest.raises(UserError, match="not of 8 bits"):
        read_grey(tmp_path / "map.png")


def test_another_size_is_refused(tmp_path):
    Image.new("L", (8, 6)).save(tmp_path / "map.png")
    with pytest.raises(UserError, match="8x6 pixels, but its image is 6x8"):
        read_grey(tmp_path / "map.png", (6, 8))
