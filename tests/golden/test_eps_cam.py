"""Multi-scale merging, gating and normalisation of class maps agree with the published inference on every case."""

from __future__ import annotations

import numpy as np
import torch

from seedbed.data.augment import scaled_size
from seedbed.methods import get_method
from seedbed.seeds.inference import merge_scales

TOLERANCE = 1e-5
GOLDEN = ("eps", "cam")


def test_merged_maps(golden, case: str) -> None:
    settings, arrays = golden("eps", "cam")
    setting = settings[case]
    method = get_method({"eps": "eps", "cls": "cam"}[setting["kind"]])
    classes = np.flatnonzero(arrays[f"{case}_label"])
    raw = [
        method.class_maps(torch.as_tensor(arrays[f"{case}_raw{i}"]))[0, classes]
        for i in range(2 * len(setting["scales"]))
    ]
    merged = merge_scales(raw[0::2], raw[1::2], (setting["height"], setting["width"]))
    assert classes.tolist() == arrays[f"{case}_keys"].tolist()
    torch.testing.assert_close(merged, torch.as_tensor(arrays[f"{case}_cam"]), rtol=0, atol=TOLERANCE)


def test_input_sizes(golden, case: str) -> None:
    settings, arrays = golden("eps", "cam")
    setting = settings[case]
    sizes = [
        scaled_size((setting["width"], setting["height"]), scale)[::-1] for scale in setting["scales"] for _ in range(2)
    ]
    assert np.array_equal(sizes, arrays[f"{case}_sizes"])
