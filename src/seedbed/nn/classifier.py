"""The localiser network: a classifier whose score maps are the class activation maps."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from seedbed.nn.blocks import conv_relu
from seedbed.nn.features import Backbone

_HEAD = {"fc8": "fc8", "extra_last_conv": "fc8", "extra_convs": "extra_convs"}


class Localiser(nn.Module):
    """Backbone and a 1x1 convolution to one map of raw logits per class (CAM; EPS adds one map for the background).

    The score of a class is the spatial mean of its map: pooling commutes with the classifier, so its maps are the class
    activation maps (docs/methods.md, section CAM). `dropout` is the probability that a feature channel is dropped
    before the classifier in training (base CAM 0.5, EPS 0). OAA and MCIS put `extra_convs` = 3 3x3 convolutions of
    `width` channels (None: those of the backbone) before a classifier with `bias` (docs/methods.md, section MCIS).
    """

    def __init__(
        self,
        backbone: Backbone,
        num_maps: int,
        dropout: float = 0.0,
        extra_convs: int = 0,
        bias: bool = False,
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        channels = backbone.channels[-1]
        self.extra_convs = nn.Sequential()
        for _ in range(extra_convs):
            self.extra_convs.extend(conv_relu(channels, width or channels))
            channels = width or channels
        self.dropout = nn.Dropout2d(dropout)
        self.fc8 = nn.Conv2d(channels, num_maps, kernel_size=1, bias=bias)
        if extra_convs:
            nn.init.kaiming_normal_(self.fc8.weight, mode="fan_out", nonlinearity="relu")
        else:
            nn.init.xavier_uniform_(self.fc8.weight)
        if self.fc8.bias is not None:
            nn.init.zeros_(self.fc8.bias)

    def features(self, x: Tensor) -> Tensor:
        """Return what the classifier sees, before dropout: [N,D,h,w] of the images [N,3,H,W], at the output stride."""
        features: Tensor = self.extra_convs(self.backbone(x)[-1])
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Return the raw logits [N,num_maps,h,w] of the images [N,3,H,W]."""
        maps: Tensor = self.fc8(self.dropout(self.features(x)))
        return maps


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the entries of a published localiser the names used here.

    Known are those on ResNet38d (`conv1a.weight`, .., `fc8.weight`) and on VGG16 (`features.0.weight`, ..,
    `extra_convs.0.weight`, .., `extra_last_conv.bias`).
    """

    def own(name: str) -> str:
        layer, _, rest = name.partition(".")
        return f"{_HEAD[layer]}.{rest}" if layer in _HEAD else f"backbone.{name}"

    return {own(name): value for name, value in state.items()}
