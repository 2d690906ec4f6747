"""ResNet-101 of Caffe's DeepLab, the backbone of OAA's and MCIS's segmenter (docs/methods.md, section Segmenters)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seedbed.nn.features import Backbone

# The project's network input (seedbed.data.augment): RGB in 0..1, less MEAN, over STD.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
CAFFE_MEAN = (122.675, 116.669, 104.008)
"""Mean of R, G and B in grey levels that Caffe's networks expect to be taken off."""


class Bottleneck(nn.Module):
    """1x1, dilated 3x3 and 1x1 convolution with BN; the stride is in the first one (MSRA's form)."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, kernel_size=1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, behind its ReLU."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        activated: Tensor = self.relu(shortcut + self.bn3(self.conv3(x)))
        return activated


class CaffeResNet101(Backbone):
    """ResNet-101 as Caffe's DeepLab runs it, at stride 8: res4 dilated by 2, res5 by 4.

    Maps: stride 2 (64 channels, conv1), 4 (256, res2) and 8 (2048, res5). The max pooling rounds up: an input side n
    becomes floor((n + 1) / 4) + 1 at stride 4 and floor((n + 1) / 8) + 1 at stride 8, so 8k + 1 becomes k + 1.

    Takes the project's input and turns it into Caffe's, BGR in grey levels less Caffe's mean. Images padded with the
    ImageNet mean colour (0 in the project's input) are thereby padded with a colour within 1 grey level of that mean.

    The names are those of torchvision's resnet101 (conv1, bn1, layer1.0.conv1, .., layer1.0.downsample.0), which is how
    converted Caffe files usually come; res2 .. res5 are layer1 .. layer4. torchvision's own weights fit too, but were
    trained with RGB input in another range and with the stride in the 3x3 convolutions.
    """

    channels = (64, 256, 2048)
    strides = (2, 4, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)
        self.layer1 = _stage(3, 64, 64)
        self.layer2 = _stage(4, 256, 128, stride=2)
        self.layer3 = _stage(23, 512, 256, dilation=2)
        self.layer4 = _stage(3, 1024, 512, dilation=4)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of strides 2, 4 and 8 of the images [N,3,h,w] (RGB, normalised)."""
        conv1 = self.relu(self.bn1(self.conv1(caffe_input(x))))
        res2 = self.layer1(self.maxpool(conv1))
        return [conv1, res2, self.layer4(self.layer3(self.layer2(res2)))]


def _stage(blocks: int, inputs: int, width: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return `blocks` bottlenecks, the first with `stride`."""
    first = Bottleneck(inputs, width, stride, dilation)
    return nn.Sequential(first, *(Bottleneck(4 * width, width, 1, dilation) for _ in range(blocks - 1)))


def caffe_input(x: Tensor) -> Tensor:
    """Return normalised RGB images [N,3,h,w] as Caffe's networks take them: BGR in grey levels less `CAFFE_MEAN`."""
    mean, std, caffe = (torch.tensor(values, device=x.device)[:, None, None] for values in (MEAN, STD, CAFFE_MEAN))
    return (x * (255 * std) + (255 * mean - caffe)).flip(1)
