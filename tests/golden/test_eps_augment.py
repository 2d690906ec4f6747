"""Augmentation and test-time inputs agree with those of the published EPS code on every recorded case."""

from __future__ import annotations

import numpy as np
import torch
from golden.conftest import assert_all_used
from golden.stub import Stub
from PIL import Image

from seedbed.data.augment import Draw, apply, long_side_size
from seedbed.params import SeedsParams
from seedbed.seeds.inference import MultiScale

GOLDEN = ("eps", "augment")
KINDS = {"training": "out", "testing": "out0"}
SCALES = [0.5, 1.0, 1.5, 2.0]
TOLERANCE = 1e-5


def recorded_inputs(case, arrays):
    """Return the inputs that the case `testing` records by their place among all; none for another case."""
    prefix = f"{case}_out"
    recorded = {name.removeprefix(prefix): image for name, image in arrays.items() if name.startswith(prefix)}
    return {int(place): image for place, image in recorded.items() if place}


def test_crop(golden, near, training):
    settings, arrays = golden(*GOLDEN)
    setting = settings[training]
    image, grey = (Image.fromarray(arrays[f"{training}_{name}"]) for name in ("image", "map"))
    size = long_side_size(image.size, setting["long_side"])
    assert size == (setting["resized_width"], setting["resized_height"])
    ranges = tuple(abs(side - setting["crop"]) + 1 for side in size)
    assert ranges == (setting["horizontal_range"], setting["vertical_range"])
    choice = Draw(
        size=size,
        flip=setting["flip"],
        jitter=(),
        left=setting["horizontal_draw"],
        top=setting["vertical_draw"],
        crop=setting["crop"],
    )
    picture, maps = apply(choice, image, {"saliency": grey}, {"saliency": 0})
    near(picture, arrays[f"{training}_out"], absolute=TOLERANCE)
    near(maps["saliency"], arrays[f"{training}_saliency"], absolute=TOLERANCE)


def test_test_time_inputs(golden, near, testing):
    _, arrays = golden(*GOLDEN)
    image = Image.fromarray(arrays[f"{testing}_image"])
    network = Stub()
    MultiScale(network, torch.relu, SeedsParams(scales=SCALES), torch.device("cpu"))([image], [np.array([0])])
    recorded = recorded_inputs(testing, arrays)
    assert recorded
    for place, expected in recorded.items():
        near(network.inputs[place], expected, absolute=TOLERANCE)


def test_resize_table(golden, near):
    _, arrays = golden(*GOLDEN)
    width, height, long_side, *expected = arrays["resize_table"].T
    ours = [long_side_size(size, side) for *size, side in zip(width, height, long_side, strict=True)]
    near(ours, np.stack(expected, axis=1), absolute=0)


def test_every_array_is_used(golden):
    settings, arrays = golden(*GOLDEN)
    used = {"resize_table"}
    for case in settings:
        outputs = [f"out{place}" for place in recorded_inputs(case, arrays)] or ["map", "out", "saliency"]
        used |= {f"{case}_{name}" for name in ("image", *outputs)}
    assert_all_used(arrays, used)
