"""A small localiser and a random batch for each method."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seedbed.methods import Method
from seedbed.methods.mcis import MCIS
from seedbed.params import LocaliserParams


@pytest.fixture
def small() -> LocaliserParams:
    return LocaliserParams(backbone="timm/resnet10t", output_stride=16, batchnorm="train")


@pytest.fixture
def random_batch():
    """Return a maker of batches of two images and three classes, as the method's training items would be."""

    def make(method: Method) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(0)
        label = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
        images = {"image": 64, "related": 64, "mirrored": 64, "small": 48, "large": 128}
        if method is not MCIS:
            images = {"image": 64}
        batch = {name: torch.randn(2, 3, side, side, generator=generator) for name, side in images.items()}
        batch |= {"label": label, "saliency": torch.rand(2, 1, 64, 64, generator=generator)}
        return batch | {"related_label": torch.tensor([[1.0, 1, 0], [0, 1, 1]]), "epoch": torch.tensor([2, 2])}

    return make
