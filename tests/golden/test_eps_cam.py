"""Multi-scale inference agrees with the published one on every case: input sizes, merging, gating, normalisation."""

from __future__ import annotations

import numpy as np
import torch
from golden.stub import Stub
from PIL import Image

from seedbed.methods import get_method
from seedbed.params import SeedsParams
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
