"""MCIS's squares of an image agree with those of the published data loader."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden.conftest import FOLDER
from PIL import Image
from torch import Tensor

from seedbed.data.augment import SAMPLING
from seedbed.data.pairs import views

NAMES = {"base": "base", "mirrored": "flipped", "small": "small", "large": "large"}
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "mcis" / "preprocess.npz", allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def squares(arrays) -> dict[str, Tensor]:
    return views(Image.fromarray(arrays["image_rgb"]), int(arrays["input_size"]), SAMPLING["bilinear"])


def test_nothing_is_left_out(squares) -> None:
    assert squares.keys() == NAMES.keys()


@pytest.mark.parametrize("name", NAMES)
def test_square(arrays, squares, name: str) -> None:
    torch.testing.assert_close(squares[name], torch.from_numpy(arrays[NAMES[name]]), rtol=0, atol=TOLERANCE)
