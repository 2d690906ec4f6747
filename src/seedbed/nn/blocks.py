"""Building blocks that several heads share."""

from __future__ import annotations

from typing import cast

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


def conv_relu(inputs: int, outputs: int, dilation: int = 1) -> tuple[nn.Conv2d, nn.ReLU]:
    """Return a 3x3 convolution (size kept, with bias) and ReLU.

    Weights start from N(0, 2 / (9 outputs)), He's variance of the backward pass, and biases from 0.
    """
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=dilation, dilation=dilation)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(cast(Tensor, conv.bias))
    return conv, nn.ReLU(inplace=True)


def resize_to(maps: Tensor, like: Tensor) -> Tensor:
    """Resize `maps` [N,C,h,w] bilinearly to the height and width of `like` [N,D,H,W] (corners not aligned)."""
    return functional.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)
