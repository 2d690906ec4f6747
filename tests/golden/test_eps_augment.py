"""Augmentation and test-time inputs agree with those of the published EPS code on every recorded case."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seedbed.data.augment import Draw, apply, long_side_size, normalise, scaled_size

FOLDER = Path(os.environ.get("SEEDBED_GOLDEN", Path(__file__).parent / "cases")) / "eps"
CASES = json.loads((FOLDER / "augment.json").read_text())
CROPS = [name for name, settings in CASES.items() if "crop" in settings]
SCALES = [name for name in CASES if name not in CROPS]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def arrays():
    with np.load(FOLDER / "augment.npz", allow_pickle=False) as stored:
        return dict(stored)


def assert_near(tensor, expected):
    torch.testing.assert_close(tensor, torch.from_numpy(expected), rtol=0, atol=TOLERANCE)


def test_cases_are_there():
    assert CROPS
    assert SCALES


@pytest.mark.parametrize("case", CROPS)
def test_crop(arrays, case):
    settings = CASES[case]
    image, grey = (Image.fromarray(arrays[f"{case}_{name}"]) for name in ("image", "map"))
    size = long_side_size(image.size, settings["long_side"])
    assert size == (settings["resized_width"], settings["resized_height"])
    draws = settings["horizontal_draw"], settings["vertical_draw"]
    choice = Draw(size, settings["flip"], (), *draws, settings["crop"])
    picture, maps = apply(choice, image, {"saliency": grey}, {"saliency": 0})
    assert_near(picture, arrays[f"{case}_out"])
    assert_near(maps["saliency"], arrays[f"{case}_saliency"])


@pytest.mark.parametrize("case", SCALES)
def test_test_time_inputs(arrays, case):
    image = Image.fromarray(arrays[f"{case}_image"])
    for place, scale in ((0, 0.5), (2, 1.0), (4, 1.5), (6, 2.0)):
        tensor = normalise(image.resize(scaled_size(image.size, scale), Image.Resampling.BICUBIC))
        assert_near(tensor, arrays[f"{case}_out{place}"])
        if place == 0:
            assert_near(tensor.flip(-1), arrays[f"{case}_out1"])


def test_resize_table(arrays):
    for width, height, long_side, new_width, new_height in arrays["resize_table"].tolist():
        assert long_side_size((width, height), long_side) == (new_width, new_height)
