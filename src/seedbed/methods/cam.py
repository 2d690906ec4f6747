"""Plain class activation maps: the baseline without saliency (Zhou et al., CVPR 2016; EPS's baseline network)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from seedbed.methods.base import Batch, Losses, Method, classification_loss, prior_level
from seedbed.nn.classifier import Localiser
from seedbed.nn.features import Backbone
from seedbed.params import Block, LocaliserParams


class CamOptions(Block):
    """Layers of the classifier beyond the 1x1 convolution; three and a bias make OAA's classifier."""

    extra_convs: Annotated[int, Field(ge=0, le=8)] = Field(
        0, description="3x3 convolutions between backbone and classifier (OAA: 3)"
    )
    bias: bool = Field(False, description="classifier with bias (OAA: true)")


def build(backbone: Backbone, num_classes: int, params: LocaliserParams, options: CamOptions) -> Localiser:
    """Return a localiser of one map per class."""
    return Localiser(backbone, num_classes, params.dropout, extra_convs=options.extra_convs, bias=options.bias)


def loss(network: nn.Module, batch: Batch, options: CamOptions) -> Losses:
    """Multi-label classification loss of `image` [N,3,H,W] against `label` [N,C]."""
    return {"total": classification_loss(network(batch["image"]), batch["label"])}


def class_maps(maps: Tensor) -> Tensor:
    """Return the positive part of raw maps [N,C,h,w]."""
    return maps.relu()


def prior(labels: NDArray[np.float32]) -> dict[str, float]:
    """Return the loss when only the frequencies of labels [N,C] are known."""
    return {"total": prior_level(labels)}


CAM = Method(
    name="cam",
    summary="class activation maps of a classifier, no saliency",
    source="Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016",
    rule="threshold",
    uses_saliency=False,
    options=CamOptions,
    build=build,
    loss=loss,
    class_maps=class_maps,
    prior=prior,
    decay_as_momentum=True,
)
