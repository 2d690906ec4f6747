"""Predictions of a segmenter."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import picture
from PIL import Image
from torch import Tensor, nn

from seedbed.nn.deeplab import build_segmenter
from seedbed.params import EvaluateParams, SegmenterParams
from seedbed.segment.predict import Predictor

CPU = torch.device("cpu")
NUM_IDS = 4


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


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A segmenter of random weights whose predictions have contrast."""
    torch.manual_seed(0)
    segmenter = build_segmenter(SegmenterParams(backbone="timm/test_byobnet", head="aspp", channels=8), NUM_IDS)
    with torch.no_grad():
        for branch in segmenter.head.branches:
            branch.weight.mul_(50)
    return segmenter


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


WINDOWS = {"window": 40, "scales": [0.5, 1.0], "flip": True}


@pytest.mark.parametrize("overlap", ["average", "published"])
@pytest.mark.parametrize(("width", "height"), [(64, 48), (37, 90)])
def test_windows_give_probabilities_of_the_size_of_the_images(
    network: nn.Module, width: int, height: int, overlap: str
) -> None:
    predictor = Predictor(network, EvaluateParams(**WINDOWS, overlap=overlap), CPU)
    found = predictor.probabilities([picture(width, height), picture(width, height, 1)])
    assert found.shape == (2, NUM_IDS, height, width)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, height, width))
    assert not torch.allclose(found[0], found[1])
    alone = predictor.probabilities([picture(width, height, 1)])
    torch.testing.assert_close(found[1:], alone, rtol=0, atol=1e-4)


def test_the_network_sees_windows_of_the_asked_side() -> None:
    recorder = Recorder()
    Predictor(recorder, EvaluateParams(window=24, scales=[0.5, 1.0]), CPU).probabilities([picture(30, 20)])
    assert recorder.sizes == [(24, 24)] * 3  # 15 x 10 in one window, 30 x 20 in two


def test_a_window_around_the_whole_image_sees_what_the_network_sees_without_windows(network: nn.Module) -> None:
    image = picture(64, 64)
    whole = Predictor(network, EvaluateParams(flip=True), CPU).probabilities([image])
    window = Predictor(network, EvaluateParams(flip=True, window=64), CPU).probabilities([image])
    torch.testing.assert_close(window, whole, rtol=0, atol=1e-5)


def test_a_photograph_too_small_for_published_windows_is_background(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    picture(30, 20).save(path)
    for overlap, ids in (("published", {0}), ("average", None)):
        predictor = Predictor(network, EvaluateParams(window=150, overlap=overlap), CPU)
        ((_, mask),) = predictor.masks({"small": path})
        ((_, scores),) = predictor.scores({"small": path})
        assert np.isfinite(scores).all()
        assert (scores == 0).all() == (overlap == "published")
        assert mask.shape == (20, 30)
        assert ids is None or set(np.unique(mask)) == ids
