"""The localiser network: a classifier whose score maps are the class activation maps."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from seedbed.nn.features import Backbone


class Localiser(nn.Module):
    """Backbone and a 1x1 convolution to one map of raw logits per class (CAM; EPS adds one map for the background).

    The score of a class is the spatial mean of its map: pooling commutes with a convolution without bias, so the maps
    of the classifier are the class activation maps (eps.md, section 3). `dropout` is the probability that a feature
    channel is dropped before the classifier in training (base CAM 0.5, EPS 0).
    """

    def __init__(self, backbone: Backbone, num_maps: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout2d(dropout)
        self.fc8 = nn.Conv2d(backbone.channels[-1], num_maps, kernel_size=1, bias=False)
        nn.init.xavier_uniform_(self.fc8.weight)

    def features(self, x: Tensor) -> Tensor:
        """Return the last feature map [N,D,h,w] of the images [N,3,H,W]; h = ceil(H / output stride), w alike."""
        return self.backbone(x)[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Return the raw logits [N,num_maps,h,w] of the images [N,3,H,W]."""
        maps: Tensor = self.fc8(self.dropout(self.features(x)))
        return maps


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the entries of a published ResNet38d localiser (`conv1a.weight`, .., `fc8.weight`) the names used here."""
    return {name if name.startswith("fc8.") else f"backbone.{name}": value for name, value in state.items()}
