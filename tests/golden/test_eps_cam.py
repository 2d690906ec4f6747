"""Multi-scale inference agrees with the published one on every case: input sizes, maps and masks."""

from __future__ import annotations

import numpy as np
import torch
from golden.conftest import assert_all_used
from golden.stub import Stub
from PIL import Image

from seedbed.methods import get_method
from seedbed.params import SeedsParams
from seedbed.seeds.fusion import find_rule
from seedbed.seeds.inference import MultiScale

GOLDEN = ("eps", "cam")
METHOD = {"eps": "eps", "cls": "cam"}
"""Ours for each kind of network in the cases."""


def test_maps_and_input_sizes(golden, near, case):
    settings, arrays = golden(*GOLDEN)
    setting, sizes = settings[case], arrays[f"{case}_sizes"]
    network = Stub(torch.from_numpy(arrays[f"{case}_raw{index}"]) for index in range(len(sizes)))
    class_maps = get_method(METHOD[setting["kind"]]).class_maps
    multi_scale = MultiScale(network, class_maps, SeedsParams(scales=setting["scales"]), torch.device("cpu"))
    classes = np.flatnonzero(arrays[f"{case}_label"])
    (maps,) = multi_scale([Image.new("RGB", (setting["width"], setting["height"]))], [classes])
    near([image.shape[1:] for image in network.inputs], sizes, absolute=0)
    near(classes, arrays[f"{case}_keys"], absolute=0)
    near(maps, arrays[f"{case}_cam"], absolute=1e-5)


def test_masks(golden, near, case):
    settings, arrays = golden(*GOLDEN)
    cams, keys = arrays[f"{case}_cam"], arrays[f"{case}_keys"]
    mask = find_rule("threshold").apply(cams, keys, None, {"threshold": settings[case]["threshold"]})
    near(mask, arrays[f"{case}_pred"], absolute=0)


def test_every_array_is_used(golden):
    settings, arrays = golden(*GOLDEN)
    used = {f"{case}_{name}" for case in settings for name in ("label", "sizes", "keys", "cam", "pred")}
    used |= {f"{case}_raw{index}" for case in settings for index in range(len(arrays[f"{case}_sizes"]))}
    assert_all_used(arrays, used)
