"""The segmenter's loss and its predictions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from seedbed import IGNORE
from seedbed.nn.deeplab import build_segmenter
from seedbed.params import EvaluateParams, SegmenterParams
from seedbed.segment.loss import loss
from seedbed.segment.predict import Predictor

CPU = torch.device("cpu")
NUM_IDS = 4


class Given(nn.Module):
    """A network whose logits [N,K,h,w] are given."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits


class Recorder(nn.Module):
    """A network that prefers id 0, by less the larger its input is; it notes the sizes of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(tuple(x.shape[2:]))
        logits = torch.zeros(len(x), 2, *x.shape[2:])
        logits[:, 0] = 10 / x.shape[2]
        return logits


def measured(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of logits [N,K,h,w], and its gradient."""
    network = Given(logits.clone())
    parts = loss(network, {"image": torch.zeros(1), "mask": mask})
    assert list(parts) == ["total"]
    parts["total"].backward()
    assert network.logits.grad is not None
    return parts["total"].detach(), network.logits.grad


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A segmenter of random weights whose predictions have contrast."""
    torch.manual_seed(0)
    segmenter = build_segmenter(SegmenterParams(backbone="timm/test_byobnet", head="aspp", channels=8), NUM_IDS)
    with torch.no_grad():
        for branch in segmenter.head.branches:
            branch.weight.mul_(50)
    return segmenter


def test_loss_by_hand() -> None:
    logits = torch.zeros(1, 3, 1, 3)
    logits[0, 0] = math.log(2)  # probabilities 1/2, 1/4, 1/4
    total, _ = measured(logits, torch.tensor([[[0, 2, IGNORE]]]))
    assert total.item() == pytest.approx((math.log(2) + math.log(4)) / 2)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_ignore_pixels_have_no_influence(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, other = torch.randn(2, 2, NUM_IDS, 5, 6, generator=generator) * 4
    mask = torch.randint(0, NUM_IDS, (2, 5, 6), generator=generator)
    ignored = torch.rand(2, 5, 6, generator=generator) < share
    mask[ignored] = IGNORE
    total, gradient = measured(logits, mask)
    changed, _ = measured(torch.where(ignored[:, None], other, logits), mask)
    torch.testing.assert_close(changed, total)
    assert (gradient.movedim(1, -1)[ignored] == 0).all()


def test_a_batch_of_ignore_alone_has_loss_zero() -> None:
    total, gradient = measured(torch.randn(2, NUM_IDS, 5, 6), torch.full((2, 5, 6), IGNORE))
    assert total == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize(("width", "height"), [(64, 48), (37, 90), (33, 32)])
@pytest.mark.parametrize("scales", [[1.0], [0.5, 1.0, 1.5]])
def test_probabilities_have_the_size_of_the_images(
    network: nn.Module, width: int, height: int, scales: list[float]
) -> None:
    predictor = Predictor(network, EvaluateParams(scales=scales, flip=True), CPU)
    found = predictor.probabilities([picture(width, height), picture(width, height, 1)])
    assert found.shape == (2, NUM_IDS, height, width)
    assert found.min() >= 0
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, height, width))


def test_scales_are_averaged() -> None:
    recorder = Recorder()
    found = Predictor(recorder, EvaluateParams(scales=[0.5, 1.0, 2.0]), CPU).probabilities([picture(30, 20)])
    assert recorder.sizes == [(10, 15), (20, 30), (40, 60)]
    expected = sum(1 / (1 + math.exp(-10 / height)) for height in (10, 20, 40)) / 3
    assert found.shape == (1, 2, 20, 30)
    torch.testing.assert_close(found[:, 0], torch.full((1, 20, 30), expected))


@pytest.mark.parametrize("scales", [[1.0], [0.5, 1.0]])
def test_with_flip_the_mirror_image_gets_the_mirrored_prediction(network: nn.Module, scales: list[float]) -> None:
    image = picture(64, 64)
    mirror = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for flip in (False, True):
        predictor = Predictor(network, EvaluateParams(scales=scales, flip=flip), CPU)
        found, mirrored = predictor.probabilities([image]), predictor.probabilities([mirror])
        assert torch.allclose(mirrored.flip(-1), found, atol=0.02) == flip


def test_masks_are_the_strongest_ids_of_each_image(network: nn.Module, tmp_path: Path) -> None:
    images = {f"image{index}": picture(*size, index) for index, size in enumerate([(64, 48), (50, 60), (64, 48)])}
    paths = {name: tmp_path / f"{name}.png" for name in images}
    for name, image in images.items():
        image.save(paths[name])
    predictor = Predictor(network, EvaluateParams(batch=2), CPU)
    found = dict(predictor.masks(paths))
    assert found.keys() == images.keys()
    for name, image in images.items():
        expected = predictor.probabilities([image])[0].argmax(dim=0).numpy()
        assert found[name].dtype == np.uint8
        assert (found[name] == expected).mean() > 0.99
    assert len(np.unique(np.concatenate([mask.ravel() for mask in found.values()]))) > 1
