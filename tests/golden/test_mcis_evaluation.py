"""Parity with the test code of MCIS (commit 1fc8f75): sliding windows over scales, and the metric."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden.conftest import FOLDER
from torch import Tensor

from seedbed.evaluate.confusion import confusion
from seedbed.evaluate.scores import scores
from seedbed.segment.windows import predict_windows

MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "mcis" / "multiscale_eval.npz", allow_pickle=False) as stored:
        return dict(stored)


def stub(arrays: dict[str, np.ndarray], windows: Tensor) -> Tensor:
    """Stand for the network: linear in the colour and in the place in the window."""
    weight, bias, rows, columns = (
        torch.from_numpy(arrays[name]).double()[..., None, None]
        for name in ("weight", "bias", "row_ramp", "column_ramp")
    )
    height, width = windows.shape[-2:]
    down = torch.arange(height).double()[:, None] / height
    right = torch.arange(width).double() / width
    scored = torch.einsum("kc,nchw->nkhw", weight[..., 0, 0], windows)
    return (scored + bias + rows * down + columns * right).softmax(dim=1)


@pytest.mark.parametrize(("name", "flip"), [("plain", False), ("fused", True)])
def test_windows_over_scales(arrays: dict[str, np.ndarray], name: str, flip: bool) -> None:
    image = torch.from_numpy(arrays["image_bgr"].astype(np.float64) - MEAN_BGR).permute(2, 0, 1)[None]
    crop, scales = int(arrays["crop_size"]), arrays["scales"].tolist()
    found = predict_windows(image, lambda x: stub(arrays, x), crop, scales, flip, published=True)
    np.testing.assert_allclose(found[0].permute(1, 2, 0).numpy(), arrays[name], rtol=0, atol=TOLERANCE)


def test_metric(arrays: dict[str, np.ndarray]) -> None:
    num_ids = len(arrays["metric_confusion"])
    pairs = zip(arrays["metric_truth"], arrays["metric_prediction"], strict=True)
    total = sum(confusion(truth, prediction, num_ids) for truth, prediction in pairs)
    np.testing.assert_array_equal(total[:, :-1], arrays["metric_confusion"])
    np.testing.assert_allclose(scores(total, ignore="drop").iou, arrays["metric_iou"], rtol=0, atol=1e-9)
