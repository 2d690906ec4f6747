"""Augmentation and test-time inputs agree with those of the published EPS code on every recorded case."""

from __future__ import annotations

import numpy as np
import torch
from golden.stub import Stub
from PIL import Image

from seedbed.data.augment import Draw, apply, long_side_size
from seedbed.params import SeedsParams
from seedbed.seeds.inference import MultiScale

GOLDEN = ("eps", "augment")
KINDS = {"training": "out", "testing": "out0"}
SCALES = [0.5, 1.0, 1.5, 2.0]
TOLERANCE = 1e-5


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
    prefix = f"{testing}_out"
    recorded = [name for name in arrays if name.startswith(prefix)]
    for name in recorded:
        near(network.inputs[int(name.removeprefix(prefix))], arrays[name], absolute=TOLERANCE)


def test_resize_table(golden):
    _, arrays = golden(*GOLDEN)
    for width, height, long_side, new_width, new_height in arrays["resize_table"].tolist():
        assert long_side_size((width, height), long_side) == (new_width, new_height)
