from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from seedbed.data.augment import normalise, scaled_size
from seedbed.errors import UserError
from seedbed.params import SeedsParams
from seedbed.seeds.inference import MultiScale, infer_seeds, merge_scales

CPU = torch.device("cpu")
PARAMS = SeedsParams(scales=[0.5, 1.0, 1.5], flip=True, batch=3)


class Toy(nn.Module):
    """A network with receptive field and stride, cheap and not symmetric under mirroring."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, classes, 5, stride=4, padding=2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


@pytest.fixture
def photographs(tmp_path: Path) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    paths = {}
    for i, (width, height) in enumerate([(40, 30), (30, 40), (40, 30), (40, 30), (40, 30)]):
        paths[f"p{i}"] = tmp_path / f"p{i}.png"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(paths[f"p{i}"])
    return paths


def one_at_a_time(network: nn.Module, image: Image.Image, classes: np.ndarray) -> torch.Tensor:
    """The published procedure to the letter: one scale and orientation per pass, all classes upsampled, then gated."""
    total = torch.zeros(4, image.height, image.width)
    for scale in PARAMS.scales:
        x = normalise(image.resize(scaled_size(image.size, scale), Image.Resampling.BICUBIC))[None]
        for flip in (False, True):
            maps = network(x.flip(-1) if flip else x).relu()
            full = nn.functional.interpolate(maps, size=total.shape[1:], mode="bilinear", align_corners=False)[0]
            total += full.flip(-1) if flip else full
    kept = total[torch.as_tensor(classes)]
    return kept / (kept.amax((1, 2), keepdim=True) + 1e-5)


@torch.inference_mode()
def test_batched_inference_equals_one_image_at_a_time(photographs: dict[str, Path]) -> None:
    network = Toy().eval()
    labels = {name: np.array([1, 0, 1, i % 2], np.float32) for i, name in enumerate(photographs)}
    results = {n: (m, c) for n, m, c in infer_seeds(MultiScale(network, torch.relu, PARAMS, CPU), photographs, labels)}
    assert results.keys() == photographs.keys()
    for name, (maps, classes) in results.items():
        np.testing.assert_array_equal(classes, np.flatnonzero(labels[name]))
        with Image.open(photographs[name]) as image:
            expected = one_at_a_time(network, image, classes)
        np.testing.assert_allclose(maps, expected, atol=1e-5)
        assert maps.shape == expected.shape
        assert maps.max() <= 1


def test_image_without_labels_has_no_maps(photographs: dict[str, Path]) -> None:
    labels = {name: np.zeros(4, np.float32) for name in photographs}
    for _, maps, classes in infer_seeds(MultiScale(Toy(), torch.relu, PARAMS, CPU), photographs, labels):
        assert maps.shape[0] == 0
        assert classes.size == 0


def test_missing_labels_and_broken_weights_are_user_errors(photographs: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="p0"):
        list(infer_seeds(MultiScale(Toy(), torch.relu, PARAMS, CPU), photographs, {}))
    broken = Toy()
    nn.init.constant_(broken.layer.weight, float("nan"))
    labels = {name: np.ones(4, np.float32) for name in photographs}
    with pytest.raises(UserError, match="not finite"):
        list(infer_seeds(MultiScale(broken, lambda maps: maps, PARAMS, CPU), photographs, labels))


def test_an_empty_map_stays_zero() -> None:
    merged = merge_scales([torch.zeros(2, 3, 3)], [], (6, 6))
    assert merged.shape == (2, 6, 6)
    assert not merged.any()


def test_long_side_sets_the_size_of_scale_one(photographs: dict[str, Path]) -> None:
    sizes = []

    class Spy(Toy):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(tuple(x.shape[2:]))
            return super().forward(x)

    params = SeedsParams(scales=[1.0, 0.5], flip=False, long_side=80)
    with Image.open(photographs["p0"]) as image:
        (maps,) = MultiScale(Spy(), torch.relu, params, CPU)([image.convert("RGB")], [np.array([1])])
    assert sizes == [(60, 80), (30, 40)]
    assert maps.shape == (1, 30, 40)
