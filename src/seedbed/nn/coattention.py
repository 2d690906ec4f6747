"""MCIS: what two images have in common, and what only one of them shows (Sun et al., ECCV 2020).

Source: GuoleiSun/MCIS_wsss Classifier/models/vgg.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seedbed.nn.classifier import Localiser
from seedbed.nn.classifier import from_published as localiser_names
from seedbed.nn.features import Backbone

EXTRA_CONVS = 3


@dataclass(frozen=True)
class CoAttended:
    """What `CoAttention` makes of two feature maps; a 1 or 2 in a name says on whose grid the value lies.

    `common`, `difference`: raw class maps [N,C,h,w]; `affinity` [N,P1,P2], positions row by row; `attention1`
    [N,P2,P1], `attention2` [N,P1,P2]: weights of the other image's positions, columns that sum to 1; `attended`:
    features of the *other* image [N,D,h,w]; `gate` [N,1,h,w] in 0..1, high where the position is common;
    `difference_features`: the image's own features [N,D,h,w], the common ones suppressed.
    """

    common1: Tensor
    common2: Tensor
    difference1: Tensor
    difference2: Tensor
    affinity: Tensor
    attention1: Tensor
    attention2: Tensor
    attended1: Tensor
    attended2: Tensor
    gate1: Tensor
    gate2: Tensor
    difference_features1: Tensor
    difference_features2: Tensor


class CoAttention(nn.Module):
    """Bilinear co-attention between non-negative features of two images, whose grids may differ.

    Layers carry the published names: `extra_linear_e` makes the affinity, `extra_gate` is the classifier of both common
    and difference features (no bias) and `extra_gate_merge` the gate. All keep PyTorch's initial weights.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.extra_linear_e = nn.Linear(channels, channels, bias=False)
        self.extra_gate = nn.Conv2d(channels, num_classes, kernel_size=1, bias=False)
        self.extra_gate_merge = nn.Conv2d(channels, 1, kernel_size=1, bias=False)

    def affinity(self, f1: Tensor, f2: Tensor) -> Tensor:
        """Return (W f1[p]) . f2[q] for all positions: [N,P1,P2] of features [N,D,h1,w1] and [N,D,h2,w2].

        In the precision of the weights even under autocast. There is no scaling: values reach hundreds, where bfloat16
        resolves steps of 1 only, and the soft-max would turn each step into a factor of e.
        """
        with torch.autocast(f1.device.type, enabled=False):
            own, other = (f.to(self.extra_linear_e.weight.dtype).flatten(2) for f in (f1, f2))
            affinity: Tensor = self.extra_linear_e(own.transpose(1, 2)) @ other
        return affinity

    def forward(self, f1: Tensor, f2: Tensor) -> CoAttended:
        """Return the class maps of features [N,D,h1,w1] and [N,D,h2,w2], and all that leads to them."""
        affinity = self.affinity(f1, f2)
        attention1, attention2 = _attentions(affinity)
        attended1, attended2 = _attend(f2, attention1, f1), _attend(f1, attention2, f2)
        gate1, gate2 = (self.extra_gate_merge(attended).sigmoid() for attended in (attended1, attended2))
        own1, own2 = f1 * (1 - gate1), f2 * (1 - gate2)
        classes = self.extra_gate
        return CoAttended(
            common1=classes(attended1),
            common2=classes(attended2),
            difference1=classes(own1),
            difference2=classes(own2),
            affinity=affinity,
            attention1=attention1,
            attention2=attention2,
            attended1=attended1,
            attended2=attended2,
            gate1=gate1,
            gate2=gate2,
            difference_features1=own1,
            difference_features2=own2,
        )

    def common_maps(self, f1: Tensor, f2: Tensor) -> tuple[Tensor, Tensor]:
        """Return `common1` and `common2` of `forward`, at a fraction of its cost.

        Attention mixes positions and the classifier mixes channels: the order does not matter. So the C class maps are
        attended to instead of the D features.
        """
        attention1, attention2 = _attentions(self.affinity(f1, f2))
        return _attend(self.extra_gate(f2), attention1, f1), _attend(self.extra_gate(f1), attention2, f2)


def _attentions(affinity: Tensor) -> tuple[Tensor, Tensor]:
    """Return the attention for image 1 [N,P2,P1] and for image 2 [N,P1,P2] of the affinity [N,P1,P2]."""
    return affinity.softmax(dim=2).transpose(1, 2), affinity.softmax(dim=1)


def _attend(other: Tensor, attention: Tensor, like: Tensor) -> Tensor:
    """Gather maps `other` [N,K,h,w] of one image on the grid of `like`, an image of as many positions as columns."""
    return (other.flatten(2) @ attention).unflatten(2, like.shape[2:])


@dataclass(frozen=True)
class PairScores:
    """Logits of one training step on B images; row b of each half belongs to item b.

    `single`, `common` [4,2B,C]: for the pairs of the image with the related image, the mirrored, the small and the
    large copy, rows of the image above rows of its partner. `difference` [2B,C]: the first pair's alone, for the
    self-pairs' are never supervised.
    """

    single: Tensor
    common: Tensor
    difference: Tensor


class PairLocaliser(nn.Module):
    """The network of MCIS: a localiser with three extra convolutions, and co-attention between its features.

    `single` classifies images by themselves; its maps are trained along and make no seeds. Seeds come from the common
    maps. `width`: channels of the extra convolutions and of the co-attention.
    """

    def __init__(self, backbone: Backbone, num_classes: int, width: int = 512) -> None:
        super().__init__()
        self.single = Localiser(backbone, num_classes, extra_convs=EXTRA_CONVS, bias=True, width=width)
        self.coattention = CoAttention(width, num_classes)

    @property
    def backbone(self) -> Backbone:
        """The backbone of `single`."""
        return self.single.backbone

    def features(self, x: Tensor) -> Tensor:
        """Return the features [N,width,h,w] of the images [N,3,H,W], at the output stride."""
        return self.single.features(x)

    def single_maps(self, f: Tensor) -> Tensor:
        """Return the raw single-image class maps [N,C,h,w] of features [N,width,h,w]."""
        maps: Tensor = self.single.fc8(f)
        return maps

    def pair(self, f1: Tensor, f2: Tensor) -> CoAttended:
        """Return what co-attention makes of features [N,width,h1,w1] and [N,width,h2,w2]."""
        pair: CoAttended = self.coattention(f1, f2)
        return pair

    def common_maps(self, f1: Tensor, f2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the raw common maps [N,C,h1,w1] and [N,C,h2,w2] of features [N,width,h1,w1] and [N,width,h2,w2]."""
        return self.coattention.common_maps(f1, f2)

    def forward(self, image: Tensor, related: Tensor, mirrored: Tensor, small: Tensor, large: Tensor) -> PairScores:
        """Return the scores of four pairs, the features of `image` computed once.

        [B,3,S,S] each but for `small` and `large`, whose sides may be any. Scores and gradients are those of four pairs
        run one by one, as long as the backbone does not use the statistics of the batch.
        """
        own, *partners = self.features(torch.cat([image, related, mirrored])).chunk(3)
        partners += [self.features(small), self.features(large)]
        single = _scores(self.single_maps(own))
        first = self.pair(own, partners[0])
        common = [_scores(first.common1, first.common2)]
        common += [_scores(*self.common_maps(own, copy)) for copy in partners[1:]]
        return PairScores(
            single=torch.stack([torch.cat([single, _scores(self.single_maps(partner))]) for partner in partners]),
            common=torch.stack(common),
            difference=_scores(first.difference1, first.difference2),
        )


def _scores(*maps: Tensor) -> Tensor:
    """Return the spatial means, float32, of n class maps [B,C,.,.], one below the other: [nB,C]."""
    return torch.cat([each.float().mean(dim=(2, 3)) for each in maps])


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the entries of a published MCIS classifier (`vgg.features.0.weight`, .., `extra_gate.weight`) our names."""
    single = {name.removeprefix("vgg."): value for name, value in state.items() if name.startswith("vgg.")}
    co = {f"coattention.{name}": value for name, value in state.items() if not name.startswith("vgg.")}
    return {f"single.{name}": value for name, value in localiser_names(single).items()} | co
