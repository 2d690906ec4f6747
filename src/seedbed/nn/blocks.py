"""Building blocks that several heads share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def conv_bn_relu(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """Return convolution (size kept, no bias), batch normalisation and ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def resize_to(maps: Tensor, like: Tensor) -> Tensor:
    """Resize `maps` [N,C,h,w] bilinearly to the height and width of `like` [N,D,H,W] (corners not aligned)."""
    return functional.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)
