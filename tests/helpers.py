"""What tests of several packages need."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor, nn


class Given(nn.Module):
    """A network whose logits [N,K,h,w] are given."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return an RGB image of noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
