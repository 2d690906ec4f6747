"""The saliency network: a feature pyramid over any backbone."""

from __future__ import annotations

from torch import Tensor, nn

from seedbed.nn.blocks import conv_bn_relu, resize_to
from seedbed.nn.features import Backbone

FINEST = 4  # finest stride that the decoder works at


class SaliencyFpn(nn.Module):
    """Feature pyramid (Lin et al., arXiv 1612.03144) with the summed read-out of Panoptic FPN (arXiv 1901.02446).

    Lateral 1x1 convolutions bring every backbone map of stride 4 and more to `channels`; from coarse to fine each level
    is resized onto the next finer one and smoothed; the sum of all levels at the finest gives one logit per pixel.
    """

    def __init__(self, backbone: Backbone, channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self._first = backbone.level(FINEST)
        levels = backbone.channels[self._first :]
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, kernel_size=1) for width in levels)
        self.smooth = nn.ModuleList(conv_bn_relu(channels, channels, kernel=3) for _ in levels)
        self.logit = nn.Conv2d(channels, 1, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the saliency logits [N,1,h,w] of the images [N,3,h,w]."""
        maps = self.backbone(x)[self._first :]
        laterals = [lateral(level) for lateral, level in zip(self.laterals, maps, strict=True)]
        merged = laterals[-1]
        levels = [self.smooth[-1](merged)]
        for lateral, smooth in zip(laterals[-2::-1], list(self.smooth)[-2::-1], strict=True):
            merged = lateral + resize_to(merged, lateral)
            levels.append(smooth(merged))
        finest = levels[-1]
        total = finest + sum(resize_to(level, finest) for level in levels[:-1])
        return resize_to(self.logit(total), x)
