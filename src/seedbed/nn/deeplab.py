"""Segmenters: the heads of DeepLab v1, v2 and v3+ on any backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from seedbed.errors import unknown_name
from seedbed.nn.backbones import build_backbone
from seedbed.nn.blocks import conv_bn_relu, resize_to
from seedbed.nn.features import Backbone
from seedbed.nn.freeze import freeze_batchnorm
from seedbed.params import SegmenterParams

DROPOUT = 0.5
LOW_LEVEL_CHANNELS = 48
LOW_LEVEL_STRIDE = 4


def rates(published: tuple[int, ...], output_stride: int) -> tuple[int, ...]:
    """Return the rates that span the same distances in the image at `output_stride` as `published` ones at stride 8."""
    return tuple(max(1, rate * 8 // output_stride) for rate in published)


class Head(nn.Module):
    """A network from a backbone's maps to logits [N,num_ids,h,w]."""

    aligned_corners: ClassVar[bool] = False
    """Whether the corner pixels' centres of logits and image coincide when the logits are resized to the image."""


class LargeFov(Head):
    """DeepLab v1, LargeFOV (arXiv 1412.7062): one 3x3 convolution of rate 12, a 1x1 one, the classifier."""

    def __init__(self, backbone: Backbone, channels: int, num_ids: int) -> None:
        super().__init__()
        (rate,) = rates((12,), backbone.strides[-1])
        self.layers = nn.Sequential(
            nn.Conv2d(backbone.channels[-1], channels, kernel_size=3, padding=rate, dilation=rate),
            nn.ReLU(inplace=True),
            nn.Dropout(DROPOUT),
            nn.Conv2d(channels, channels, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Dropout(DROPOUT),
            nn.Conv2d(channels, num_ids, kernel_size=1),
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return logits [N,num_ids,h,w] at the stride of the last map."""
        logits: Tensor = self.layers(maps[-1])
        return logits


class LargeFovCaffe(Head):
    """DeepLab-LargeFOV on Caffe's ResNet-101 (OAA, MCIS): as largefov, without dropout and inner biases."""

    aligned_corners = True

    def __init__(self, backbone: Backbone, channels: int, num_ids: int) -> None:
        super().__init__()
        (rate,) = rates((12,), backbone.strides[-1])
        wide = nn.Conv2d(backbone.channels[-1], channels, kernel_size=3, padding=rate, dilation=rate, bias=False)
        narrow = nn.Conv2d(channels, channels, kernel_size=1, bias=False)
        score = nn.Conv2d(channels, num_ids, kernel_size=1)
        for layer in (wide, narrow):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")  # Caffe's Xavier: variance 1 / fan-in
        nn.init.kaiming_normal_(score.weight, nonlinearity="relu")  # Caffe's MSRA: variance 2 / fan-in
        nn.init.zeros_(cast(Tensor, score.bias))
        self.layers = nn.Sequential(wide, nn.ReLU(inplace=True), narrow, nn.ReLU(inplace=True), score)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return logits [N,num_ids,h,w] at the stride of the last map."""
        logits: Tensor = self.layers(maps[-1])
        return logits


class Aspp(Head):
    """DeepLab v2 (arXiv 1606.00915, ResNet form): the sum of four 3x3 classifiers of rates 6, 12, 18 and 24."""

    def __init__(self, backbone: Backbone, channels: int, num_ids: int) -> None:
        super().__init__()
        width = backbone.channels[-1]
        self.branches = nn.ModuleList()
        for rate in rates((6, 12, 18, 24), backbone.strides[-1]):
            branch = nn.Conv2d(width, num_ids, kernel_size=3, padding=rate, dilation=rate)
            nn.init.normal_(branch.weight, std=0.01)
            nn.init.zeros_(cast(Tensor, branch.bias))
            self.branches.append(branch)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return logits [N,num_ids,h,w] at the stride of the last map."""
        return torch.stack([branch(maps[-1]) for branch in self.branches]).sum(0)


class V3Plus(Head):
    """DeepLab v3+ (arXiv 1802.02611): pyramid of rates 12, 24 and 36 with image pooling, decoder at stride 4."""

    def __init__(self, backbone: Backbone, channels: int, num_ids: int) -> None:
        super().__init__()
        width = backbone.channels[-1]
        self.branches = nn.ModuleList([conv_bn_relu(width, channels, kernel=1)])
        for rate in rates((12, 24, 36), backbone.strides[-1]):
            self.branches.append(conv_bn_relu(width, channels, kernel=3, dilation=rate))
        # No batch normalisation behind the pooling: its single pixel per image has no statistics in a batch of one.
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, channels, kernel_size=1), nn.ReLU())
        self.project = nn.Sequential(conv_bn_relu(5 * channels, channels, kernel=1), nn.Dropout(DROPOUT))
        self._low = backbone.level(LOW_LEVEL_STRIDE)
        self.low_level = conv_bn_relu(backbone.channels[self._low], LOW_LEVEL_CHANNELS, kernel=1)
        self.decoder = nn.Sequential(
            conv_bn_relu(channels + LOW_LEVEL_CHANNELS, channels, kernel=3),
            conv_bn_relu(channels, channels, kernel=3),
            nn.Conv2d(channels, num_ids, kernel_size=1),
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return logits [N,num_ids,h,w] at stride 4."""
        deep = maps[-1]
        pyramid = [branch(deep) for branch in self.branches]
        pyramid.append(self.pooled(deep).expand_as(pyramid[0]))
        low = self.low_level(maps[self._low])
        context = resize_to(self.project(torch.cat(pyramid, dim=1)), low)
        logits: Tensor = self.decoder(torch.cat([context, low], dim=1))
        return logits


HEADS: dict[str, Callable[[Backbone, int, int], Head]] = {
    "largefov": LargeFov,
    "aspp": Aspp,
    "v3plus": V3Plus,
    "largefov-caffe": LargeFovCaffe,
}
"""Heads by name: (backbone, channels, num_ids) -> module from the backbone's maps to logits."""


class Segmenter(nn.Module):
    """Backbone and head, with logits resized to the input."""

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor, scales: Sequence[float] | None = None) -> Tensor | list[Tensor]:
        """Return the logits [N,num_ids,h,w] of the images [N,3,h,w].

        With `scales`: what the multi-scale loss of kazuto1011/deeplab-pytorch compares, as a list of logits at their
        own, lower resolutions: those of the images, those of the images resized by each of `scales`, and the pixel-wise
        maximum of them all at the resolution of the first.
        """
        logits: Tensor = self.head(self.backbone(x))
        if scales is None:
            size, aligned = x.shape[-2:], self.head.aligned_corners
            return functional.interpolate(logits, size, mode="bilinear", align_corners=aligned)
        scaled = [functional.interpolate(x, scale_factor=scale, mode="bilinear") for scale in scales]
        pyramid = [logits, *(self.head(self.backbone(image)) for image in scaled)]
        highest = torch.stack([resize_to(level, logits) for level in pyramid]).max(dim=0).values
        return [*pyramid, highest]


def build_segmenter(params: SegmenterParams, num_ids: int) -> Segmenter:
    """Build the segmenter of `params` for mask ids 0 .. num_ids - 1, its backbone started from `params.weights`.

    Raises UserError for an unknown head or backbone, or a weight file that does not fit.
    """
    if params.head not in HEADS:
        raise unknown_name("segmenter head", params.head, HEADS)
    weights = Path(params.weights) if params.weights else None
    backbone = build_backbone(params.backbone, params.output_stride, weights)
    if params.batchnorm == "frozen":
        freeze_batchnorm(backbone)
    return Segmenter(backbone, HEADS[params.head](backbone, params.channels, num_ids))
