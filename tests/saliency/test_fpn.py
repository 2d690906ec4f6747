from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Given, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from seedbed import IGNORE
from seedbed.nn.weights import save_weights
from seedbed.params import SaliencyParams
from seedbed.saliency.fpn import FpnSource, build, iou_loss, loss

CPU = torch.device("cpu")
PARAMS = SaliencyParams(backbone="timm/test_byobnet", channels=8, size=64, flip=False, batch=2)


def measured(logits: Tensor, mask: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return the loss of logits [N,h,w], and the gradient of its total."""
    network = Given(logits[:, None].clone())
    parts = loss(network, {"image": torch.zeros(1), "mask": mask})
    parts["total"].backward()
    assert network.logits.grad is not None
    return parts, network.logits.grad[:, 0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network of random weights whose maps have contrast."""
    torch.manual_seed(0)
    network = build(PARAMS)
    with torch.no_grad():
        network.logit.weight.mul_(20)
    folder = tmp_path_factory.mktemp("model")
    save_weights(folder, network, {})
    return folder


def source(model: Path, **changes: object) -> FpnSource:
    return FpnSource(PARAMS.model_copy(update=changes), model, CPU)


def test_iou_loss_by_hand() -> None:
    probabilities = torch.tensor([[[0.5, 1.0], [0.25, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    target = torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
    valid = torch.tensor([[[1.0, 1.0], [1.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]]])
    first = (1.5 + 1) / (0.5 + 1.0 + 0.25 + 2 - 1.5 + 1)
    second = (1 + 1) / (2 + 1 - 1 + 1)
    assert iou_loss(probabilities, target, valid).item() == pytest.approx(1 - (first + second) / 2)


def test_iou_loss_of_a_perfect_prediction_is_zero() -> None:
    target = (torch.rand(3, 4, 5) > 0.5).float()
    assert iou_loss(target, target, torch.ones_like(target)).item() == 0


def test_loss_by_hand() -> None:
    logits = torch.tensor([[[0.0, math.log(3.0)], [math.log(3.0), 9.0]]])
    mask = torch.tensor([[[1, 1], [0, IGNORE]]])
    parts, _ = measured(logits, mask)
    assert parts["bce"].item() == pytest.approx((math.log(2) + math.log(4 / 3) + math.log(4)) / 3)
    assert parts["iou"].item() == pytest.approx(1 - (1.25 + 1) / (0.5 + 0.75 + 0.75 + 2 - 1.25 + 1))
    assert parts["total"].item() == pytest.approx(parts["bce"].item() + parts["iou"].item())


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_ignore_pixels_have_no_influence(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, other = torch.randn(2, 2, 5, 6, generator=generator) * 4
    mask = torch.randint(0, 2, (2, 5, 6), generator=generator)
    ignored = torch.rand(2, 5, 6, generator=generator) < share
    mask[ignored] = IGNORE
    parts, gradient = measured(logits, mask)
    changed, _ = measured(torch.where(ignored, other, logits), mask)
    for name, value in parts.items():
        torch.testing.assert_close(changed[name], value)
    assert (gradient[ignored] == 0).all()


def test_a_batch_of_ignore_alone_has_loss_zero() -> None:
    parts, gradient = measured(torch.randn(2, 5, 6), torch.full((2, 5, 6), IGNORE))
    assert {name: value.item() for name, value in parts.items()} == {"total": 0, "bce": 0, "iou": 0}
    assert (gradient == 0).all()


@pytest.mark.parametrize(("width", "height"), [(64, 48), (37, 90), (200, 5), (1, 1)])
def test_maps_have_the_size_of_their_image(model: Path, width: int, height: int) -> None:
    maps = source(model).predict([picture(width, height), picture(width, height, 1)])
    assert maps.dtype == np.uint8
    assert maps.shape == (2, height, width)


def test_maps_are_the_networks_probabilities(model: Path) -> None:
    opened = source(model)
    assert not opened.network.training
    with torch.no_grad():
        nn.init.zeros_(opened.network.logit.weight)
        for logit, level in ((-100.0, 0), (0.1, 134), (math.log(3.0), 191), (100.0, 255)):
            opened.network.logit.bias.fill_(logit)
            assert (opened.predict([picture(40, 30)]) == level).all()


def test_every_image_gets_the_map_that_it_gets_alone(model: Path, tmp_path: Path) -> None:
    paths = {}
    for index, size in enumerate([(64, 48), (50, 60), (64, 48), (64, 48)]):
        paths[f"image{index}"] = tmp_path / f"{index}.png"
        picture(*size, index).save(paths[f"image{index}"])
    opened = source(model)
    found = dict(opened.maps(paths))
    assert found.keys() == paths.keys()
    for name, path in paths.items():
        with Image.open(path) as image:
            (alone,) = opened.predict([image])
        assert alone.std() > 1
        np.testing.assert_allclose(found[name].astype(int), alone.astype(int), atol=1)


def mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def test_with_flip_the_mirror_image_gets_the_mirrored_map(model: Path) -> None:
    image = picture(64, 64)
    for flip in (False, True):
        opened = source(model, flip=flip)
        (straight,), (mirror,) = opened.predict([image]), opened.predict([mirrored(image)])
        difference = np.abs(straight.astype(int) - mirror[:, ::-1].astype(int)).max()
        assert (difference <= 1) == flip
