"""Plain class activation maps: the baseline without saliency (Zhou et al., CVPR 2016; EPS's baseline network)."""

from __future__ import annotations

from torch import Tensor

from seedbed.methods.base import Batch, Method, classification_loss
from seedbed.params import Block


class CamOptions(Block):
    """Plain CAM has no options of its own."""


def loss(maps: Tensor, batch: Batch, options: CamOptions) -> dict[str, Tensor]:
    """Multi-label classification loss of raw maps [N,C,h,w]."""
    total = classification_loss(maps, batch["label"])
    return {"total": total}


def class_maps(maps: Tensor) -> Tensor:
    """Return the positive part of raw maps [N,C,h,w]."""
    return maps.relu()


CAM = Method(
    name="cam",
    summary="class activation maps of a classifier, no saliency",
    source="Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016",
    rule="threshold",
    extra_maps=0,
    uses_saliency=False,
    options=CamOptions,
    loss=loss,
    class_maps=class_maps,
)
