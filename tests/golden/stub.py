"""A network with given outputs, which shows what inference feeds it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Stub(nn.Module):
    """Keeps the images [3,h,w] that come in, one at a time, in `inputs`; answers with `outputs`, then blank maps."""

    def __init__(self, outputs: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.inputs: list[Tensor] = []
        self._outputs = iter(outputs)

    def forward(self, images: Tensor) -> Tensor:
        (image,) = images
        self.inputs.append(image)
        return next(self._outputs, torch.zeros(1, 1, 2, 2))
