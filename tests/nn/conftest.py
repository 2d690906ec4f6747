"""A backbone small enough for every test."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from seedbed.nn.features import Backbone


class TinyBackbone(Backbone):
    """Four convolutions of stride 2."""

    channels = (4, 6, 8, 10)
    strides = (2, 4, 8, 16)
    untrained = ("first",)

    def __init__(self) -> None:
        super().__init__()
        self.first = self._stage(3, 4)
        self.rest = nn.ModuleList([self._stage(4, 6), self._stage(6, 8), self._stage(8, 10)])

    @staticmethod
    def _stage(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [self.first(x)]
        for stage in self.rest:
            maps.append(stage(maps[-1]))
        return maps


@pytest.fixture
def tiny() -> TinyBackbone:
    torch.manual_seed(0)
    return TinyBackbone()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 37, 50, generator=torch.Generator().manual_seed(0))
