"""ResNet38d: the wide pre-activation ResNet of ademxapp (arXiv 1611.10080) as PSA, SEAM and EPS use it, at stride 8."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from seedbed.nn.features import Backbone
from seedbed.nn.mxnet import from_mxnet


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)


def _activate(norm: nn.Module, x: Tensor) -> Tensor:
    return functional.relu(norm(x))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, each behind BN-ReLU (halbielee/EPS network/resnet38d.py): dilation d1, then d2.

    Where the shape changes the shortcut is a 1x1 convolution of the activated input, else it is the raw input.
    """

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int = 1, d1: int = 1, d2: int = 1) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(inputs)
        self.conv_branch2a = _conv(inputs, middle, 3, stride, d1)
        self.bn_branch2b1 = nn.BatchNorm2d(middle)
        self.conv_branch2b1 = _conv(middle, outputs, 3, dilation=d2)
        reshapes = inputs != outputs or stride != 1
        self.conv_branch1 = _conv(inputs, outputs, 1, stride) if reshapes else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the block's output and its activated input (the result of the first BN-ReLU)."""
        activated = _activate(self.bn_branch2a, x)
        shortcut = x if self.conv_branch1 is None else self.conv_branch1(activated)
        middle = self.conv_branch2a(activated)
        return shortcut + self.conv_branch2b1(_activate(self.bn_branch2b1, middle)), activated


class BottleneckBlock(nn.Module):
    """1x1, dilated 3x3 and 1x1 convolution with channel dropout before the last two.

    Source: halbielee/EPS network/resnet38d.py.
    """

    def __init__(self, inputs: int, outputs: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(inputs)
        self.conv_branch2a = _conv(inputs, outputs // 4, 1)
        self.bn_branch2b1 = nn.BatchNorm2d(outputs // 4)
        self.dropout_2b1 = nn.Dropout2d(dropout)
        self.conv_branch2b1 = _conv(outputs // 4, outputs // 2, 3, dilation=dilation)
        self.bn_branch2b2 = nn.BatchNorm2d(outputs // 2)
        self.dropout_2b2 = nn.Dropout2d(dropout)
        self.conv_branch2b2 = _conv(outputs // 2, outputs, 1)
        self.conv_branch1 = _conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the block's output and its activated input (the result of the first BN-ReLU)."""
        activated = _activate(self.bn_branch2a, x)
        middle = self.conv_branch2a(activated)
        middle = self.conv_branch2b1(self.dropout_2b1(_activate(self.bn_branch2b1, middle)))
        middle = self.conv_branch2b2(self.dropout_2b2(_activate(self.bn_branch2b2, middle)))
        return self.conv_branch1(activated) + middle, activated


class ResNet38d(Backbone):
    """ResNet38d without classifier; parameters carry the published names (halbielee/EPS network/resnet38d.py).

    Maps: stride 2 (128 channels) and stride 4 (256) as the next stage sees them, behind its first BN-ReLU; stride 8
    (4096), behind `bn7`. An input side n becomes ceil(n / 8).
    """

    untrained: ClassVar[tuple[str, ...]] = ("conv1a", "b2", "b2_1", "b2_2")
    channels = (128, 256, 4096)
    strides = (2, 4, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv1a = _conv(3, 64, 3)
        self.b2 = BasicBlock(64, 128, 128, stride=2)
        self.b2_1, self.b2_2 = (BasicBlock(128, 128, 128) for _ in range(2))
        self.b3 = BasicBlock(128, 256, 256, stride=2)
        self.b3_1, self.b3_2 = (BasicBlock(256, 256, 256) for _ in range(2))
        self.b4 = BasicBlock(256, 512, 512, stride=2)
        self.b4_1, self.b4_2, self.b4_3, self.b4_4, self.b4_5 = (BasicBlock(512, 512, 512) for _ in range(5))
        self.b5 = BasicBlock(512, 512, 1024, d2=2)  # the first dilation stays 1, as published
        self.b5_1, self.b5_2 = (BasicBlock(1024, 512, 1024, d1=2, d2=2) for _ in range(2))
        self.b6 = BottleneckBlock(1024, 2048, dilation=4, dropout=0.3)
        self.b7 = BottleneckBlock(2048, 4096, dilation=4, dropout=0.5)
        self.bn7 = nn.BatchNorm2d(4096)

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Translate the names of the ImageNet file, which is MXNet's; the published state dicts have ours."""
        return from_mxnet(state)

    def side_outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Return the activated maps by name: conv2 .. conv6.

        conv2 [N,128] has stride 2, conv3 [N,256] stride 4; conv4 [N,512], conv5 [N,1024] and conv6 [N,4096] stride 8.
        """
        x = _chain(self.conv1a(x), self.b2, self.b2_1, self.b2_2)
        x, conv2 = self.b3(x)
        x = _chain(x, self.b3_1, self.b3_2)
        x, conv3 = self.b4(x)
        x = _chain(x, self.b4_1, self.b4_2, self.b4_3, self.b4_4, self.b4_5)
        x, conv4 = self.b5(x)
        x = _chain(x, self.b5_1, self.b5_2)
        x, conv5 = self.b6(x)
        x = _chain(x, self.b7)
        return {"conv2": conv2, "conv3": conv3, "conv4": conv4, "conv5": conv5, "conv6": _activate(self.bn7, x)}

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return conv2, conv3 and conv6 of the images [N,3,h,w]."""
        sides = self.side_outputs(x)
        return [sides["conv2"], sides["conv3"], sides["conv6"]]


def _chain(x: Tensor, *blocks: nn.Module) -> Tensor:
    """Apply `blocks` one after another, their side outputs dropped."""
    for block in blocks:
        x, _ = block(x)
    return x
