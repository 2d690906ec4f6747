"""Parity with the test code of MCIS (commit 1fc8f75): sliding windows over scales, and the metric."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden.conftest import Arrays, assert_all_used, load
from torch import Tensor

from seedbed.evaluate.confusion import confusion
from seedbed.evaluate.scores import scores
from seedbed.segment.windows import predict_windows

MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)
STUB = ("weight", "bias", "row_ramp", "column_ramp")
FUSED = {"plain": False, "fused": True}
"""Whether the mirrored pass is averaged in."""
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return load("mcis/multiscale_eval.npz")


def stub(arrays: Arrays, windows: Tensor) -> Tensor:
    """Stand for the network: linear in the colour and in the place in the window."""
    weight, bias, rows, columns = (torch.from_numpy(arrays[name]).double()[..., None, None] for name in STUB)
    height, width = windows.shape[-2:]
    down = torch.arange(height).double()[:, None] / height
    right = torch.arange(width).double() / width
    scored = torch.einsum("kc,nchw->nkhw", weight[..., 0, 0], windows)
    return (scored + bias + rows * down + columns * right).softmax(dim=1)


@pytest.mark.parametrize(("name", "flip"), FUSED.items())
def test_windows_over_scales(near, arrays: Arrays, name: str, flip: bool) -> None:
    image = torch.from_numpy(arrays["image_bgr"].astype(np.float64) - MEAN_BGR).permute(2, 0, 1)[None]
    crop, scales = int(arrays["crop_size"]), arrays["scales"].tolist()
    found = predict_windows(image, lambda x: stub(arrays, x), crop, scales, flip, published=True)
    near(found[0].permute(1, 2, 0).float(), arrays[name], absolute=TOLERANCE)


def test_metric(near, arrays: Arrays) -> None:
    num_ids = len(arrays["metric_confusion"])
    pairs = zip(arrays["metric_truth"], arrays["metric_prediction"], strict=True)
    total = sum(confusion(truth, prediction, num_ids) for truth, prediction in pairs)
    near(total[:, :-1], arrays["metric_confusion"], absolute=0)
    near(scores(total, ignore="drop").iou, arrays["metric_iou"], absolute=1e-9)


def test_every_array_is_used(arrays: Arrays) -> None:
    metric = {f"metric_{name}" for name in ("truth", "prediction", "confusion", "iou")}
    assert_all_used(arrays, {"image_bgr", "crop_size", "scales", *STUB, *FUSED, *metric})
