"""MCIS's squares of an image agree with those of the published data loader."""

from __future__ import annotations

import pytest
from golden.conftest import Arrays, assert_all_used, load
from PIL import Image
from torch import Tensor

from seedbed.data.augment import SAMPLING
from seedbed.data.pairs import views

NAMES = {"base": "base", "mirrored": "flipped", "small": "small", "large": "large"}
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return load("mcis/preprocess.npz")


@pytest.fixture(scope="module")
def squares(arrays) -> dict[str, Tensor]:
    return views(Image.fromarray(arrays["image_rgb"]), int(arrays["input_size"]), SAMPLING["bilinear"])


def test_every_array_is_used(arrays, squares) -> None:
    assert_all_used(squares, NAMES)
    assert_all_used(arrays, {"image_rgb", "input_size", *NAMES.values()})


@pytest.mark.parametrize("name", NAMES)
def test_square(near, arrays, squares, name: str) -> None:
    near(squares[name], arrays[NAMES[name]], absolute=TOLERANCE)
