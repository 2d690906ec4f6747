"""VGG16 without batch normalisation, dilated to stride 8: the backbone of OAA and MCIS."""

from __future__ import annotations

from torch import Tensor, nn

from seedbed.nn.blocks import conv_relu
from seedbed.nn.features import Backbone


class Vgg16(Backbone):
    """The convolutions of VGG16 with torchvision's names, at stride 8 (GuoleiSun/MCIS_wsss Classifier/models/vgg.py).

    The fourth pooling keeps the size (3x3, stride 1), the fifth is gone, and conv5 has dilation 2. Maps: the last
    convolution, after its ReLU, of strides 1 (conv1), 2, 4 and 8 (conv5). The poolings drop an odd last row or column:
    an input side n becomes floor(n / stride).
    """

    channels = (64, 128, 256, 512)
    strides = (1, 2, 4, 8)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *conv_relu(3, 64),
            *conv_relu(64, 64),
            nn.MaxPool2d(2),
            *conv_relu(64, 128),
            *conv_relu(128, 128),
            nn.MaxPool2d(2),
            *conv_relu(128, 256),
            *conv_relu(256, 256),
            *conv_relu(256, 256),
            nn.MaxPool2d(2),
            *conv_relu(256, 512),
            *conv_relu(512, 512),
            *conv_relu(512, 512),
            nn.MaxPool2d(3, stride=1, padding=1),
            *conv_relu(512, 512, dilation=2),
            *conv_relu(512, 512, dilation=2),
            *conv_relu(512, 512, dilation=2),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the four feature maps of the images [N,3,h,w]."""
        maps = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d) and layer.stride == 2:
                maps.append(x)
            x = layer(x)
        return [*maps, x]
