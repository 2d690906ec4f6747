"""The segmenter's loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Given
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from seedbed import IGNORE
from seedbed.nn.deeplab import build_segmenter
from seedbed.params import SegmenterParams
from seedbed.segment.loss import build_loss, cross_entropy, resize_mask

NUM_IDS = 4
AVERAGES = pytest.mark.parametrize("average", ["batch", "image"])


def measured(logits: Tensor, mask: Tensor, **params: Any) -> tuple[Tensor, Tensor]:
    """Return the loss of logits [N,K,h,w], and its gradient."""
    network = Given(logits.clone())
    parts = build_loss(SegmenterParams(**params))(network, {"image": torch.zeros(1), "mask": mask})
    assert list(parts) == ["total"]
    parts["total"].backward()
    assert network.logits.grad is not None
    return parts["total"].detach(), network.logits.grad


@st.composite
def labelled_logits(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Draw logits [3,K,5,6] and masks, a share of each of them ignore."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    logits = torch.randn(3, NUM_IDS, 5, 6, generator=generator) * 4
    mask = torch.randint(0, NUM_IDS, (3, 5, 6), generator=generator)
    shares = torch.tensor(draw(st.lists(st.sampled_from([0.0, 0.3, 0.9, 1.0]), min_size=3, max_size=3)))
    mask[torch.rand(3, 5, 6, generator=generator) < shares[:, None, None]] = IGNORE
    return logits, mask


def test_loss_by_hand() -> None:
    logits = torch.zeros(2, 3, 1, 3)
    logits[:, 0] = math.log(2)  # probabilities 1/2, 1/4, 1/4
    mask = torch.tensor([[[0, 2, IGNORE]], [[1, IGNORE, IGNORE]]])
    a, b = math.log(2), math.log(4)
    assert measured(logits, mask, average="batch")[0].item() == pytest.approx((a + b + b) / 3)
    assert measured(logits, mask, average="image")[0].item() == pytest.approx(((a + b) / 2 + b) / 2)


@AVERAGES
@settings(deadline=None, max_examples=30)
@given(case=labelled_logits())
def test_ignore_pixels_have_no_influence(average: str, case: tuple[Tensor, Tensor]) -> None:
    logits, mask = case
    ignored = mask == IGNORE
    total, gradient = measured(logits, mask, average=average)
    changed, _ = measured(torch.where(ignored[:, None], -3 * logits, logits), mask, average=average)
    torch.testing.assert_close(changed, total)
    assert (gradient.movedim(1, -1)[ignored] == 0).all()


@AVERAGES
def test_a_batch_of_ignore_alone_has_loss_zero(average: str) -> None:
    total, gradient = measured(torch.randn(2, NUM_IDS, 5, 6), torch.full((2, 5, 6), IGNORE), average=average)
    assert total == 0
    assert (gradient == 0).all()


@settings(deadline=None, max_examples=30)
@given(case=labelled_logits())
def test_average_over_images_is_gradient_accumulation_over_batches_of_one(case: tuple[Tensor, Tensor]) -> None:
    logits, mask = case
    total, gradient = measured(logits, mask, average="image")
    network = Given(logits.clone())
    accumulated = 0.0
    for index in range(len(mask)):
        own, truth = network.logits[index : index + 1], mask[index : index + 1]
        summed = nn.functional.cross_entropy(own, truth, ignore_index=IGNORE, reduction="sum")
        part = summed / max(1, int((truth != IGNORE).sum())) / len(mask)
        part.backward()
        accumulated += part.item()
    assert total.item() == pytest.approx(accumulated)
    torch.testing.assert_close(gradient, network.logits.grad)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (33, 50)])
def test_scales_of_the_loss_are_summed_with_their_maximum(height: int, width: int) -> None:
    params = SegmenterParams(backbone="timm/test_byobnet", head="aspp", output_stride=8, loss_scales=[0.75, 0.5])
    torch.manual_seed(0)
    network = build_segmenter(params, NUM_IDS).eval()
    image, mask = torch.randn(2, 3, height, width), torch.randint(0, NUM_IDS, (2, height, width))
    mask[0, 10:20] = IGNORE
    resized = [
        nn.functional.interpolate(image, (int(height * scale), int(width * scale)), mode="bilinear")
        for scale in (0.75, 0.5)
    ]
    levels = [network.head(network.backbone(scaled)) for scaled in (image, *resized)]
    first = levels[0].shape[-2:]
    enlarged = torch.stack([nn.functional.interpolate(level, first, mode="bilinear") for level in levels])
    expected = sum(
        nn.functional.cross_entropy(level, resize_mask(mask, level), ignore_index=IGNORE)
        for level in (*levels, enlarged.amax(dim=0))
    )
    found = build_loss(params)(network, {"image": image, "mask": mask})["total"]
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0)  # int() and a factor differ by a fraction of a pixel
    found.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


class Calls(nn.Module):
    """A network that notes how it is called, and answers by given logits."""

    def __init__(self, pyramid: list[Tensor]) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.calls: list[list[float]] = []

    def forward(self, x: Tensor, scales: list[float]) -> list[Tensor]:
        self.calls.append(scales)
        return self.pyramid


@AVERAGES
def test_the_network_is_called_once_for_all_scales(average: str) -> None:
    pyramid = [torch.randn(2, NUM_IDS, side, side) for side in (6, 4, 3, 6)]
    mask = torch.randint(0, NUM_IDS, (2, 24, 24))
    network = Calls(pyramid)
    params = SegmenterParams(loss_scales=[0.75, 0.5], average=average)
    found = build_loss(params)(network, {"image": torch.zeros(2, 3, 24, 24), "mask": mask})["total"]
    assert network.calls == [[0.75, 0.5]]
    expected = sum(cross_entropy(logits, resize_mask(mask, logits), average) for logits in pyramid)
    torch.testing.assert_close(found, expected)


ODD = st.integers(0, 20).map(lambda half: 2 * half + 1)  # an even side can put a sample exactly between two pixels


@settings(deadline=None, max_examples=30)
@given(sides=st.tuples(ODD, ODD), target=st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_masks_are_resized_as_by_pillow(sides: tuple[int, int], target: tuple[int, int]) -> None:
    values = np.random.default_rng(0).choice(np.array([0, 1, 2, IGNORE], np.uint8), sides)
    found = resize_mask(torch.from_numpy(values)[None].long(), torch.zeros(1, 1, *target))[0].numpy()
    expected = np.asarray(Image.fromarray(values).resize(target[::-1], Image.Resampling.NEAREST))
    np.testing.assert_array_equal(found, expected)
