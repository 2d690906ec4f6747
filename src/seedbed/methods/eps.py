"""EPS: explicit pseudo-pixel supervision by saliency (Lee et al., "Railroad Is Not a Train", CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from seedbed.methods.base import Batch, Losses, Method, classification_loss, prior_level
from seedbed.nn.classifier import Localiser
from seedbed.nn.features import Backbone
from seedbed.params import Block, LocaliserParams

CONFIDENT = 0.5
_AREA_EPSILON = 1e-4  # added at every pixel before summing, so it weighs h * w * 1e-4, as the published code does


class EpsOptions(Block):
    """Options of the saliency loss."""

    tau: Annotated[float, Field(ge=0, le=1)] = Field(
        0.4, description="overlap above which a labelled class is foreground"
    )
    lam: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="weight of the foreground estimate (COCO: 0.9)")


@dataclass(frozen=True)
class SaliencyEstimate:
    """What the class maps say about saliency; each [N,1,h,w] in 0..1.

    `foreground`: sum of the selected classes; `background`: one minus the background part (the published code's
    "background map"); `estimate`: their weighted sum; `target`: the saliency map at the size of the class maps.
    """

    foreground: Tensor
    background: Tensor
    estimate: Tensor
    target: Tensor


def select_foreground(probabilities: Tensor, target: Tensor, label: Tensor, tau: float) -> Tensor:
    """Return which labelled classes agree with the saliency map, as a 0/1 tensor [N,C,1,1].

    The overlap is the share of a class's confident area (probability > 0.5) that is salient (> 0.5): a precision, not
    an IoU. A class without confident pixels overlaps by 0. probabilities [N,C,h,w], target [N,1,h,w], label [N,C].
    """
    confident = (probabilities.detach() > CONFIDENT).float()
    salient = (target > CONFIDENT).float()
    area = (confident + _AREA_EPSILON).sum(dim=(2, 3))
    overlap = (confident * salient).sum(dim=(2, 3)) / area
    return ((overlap > tau) & (label > 0)).to(probabilities.dtype)[:, :, None, None]


def estimate_saliency(maps: Tensor, saliency: Tensor, label: Tensor, options: EpsOptions) -> SaliencyEstimate:
    """Merge class maps into an estimate of the saliency map (halbielee/EPS eps.py).

    maps [N,C+1,h,w]: raw logits, background last; saliency [N,1,H,W] in 0..1, at any size; label [N,C] in {0, 1}.
    Labelled classes that do not agree with the saliency join the background; absent classes join neither part.
    """
    target = nn.functional.interpolate(saliency, size=maps.shape[2:], mode="nearest")
    probabilities = maps.float().softmax(dim=1)
    classes, background = probabilities[:, :-1], probabilities[:, -1:]
    selected = select_foreground(classes, target, label, options.tau)
    rejected = label.to(classes.dtype)[:, :, None, None] - selected
    foreground = (classes * selected).sum(dim=1, keepdim=True)
    background_map = 1 - (background + (classes * rejected).sum(dim=1, keepdim=True))
    estimate = options.lam * foreground + (1 - options.lam) * background_map
    return SaliencyEstimate(foreground, background_map, estimate, target)


def saliency_loss(maps: Tensor, saliency: Tensor, label: Tensor, options: EpsOptions) -> Tensor:
    """Mean squared error between the estimated and the given saliency map; arguments as in `estimate_saliency`."""
    estimated = estimate_saliency(maps, saliency, label, options)
    return torch.mean((estimated.estimate - estimated.target) ** 2)


def losses(maps: Tensor, saliency: Tensor, label: Tensor, options: EpsOptions) -> Losses:
    """Classification loss of the first C maps plus the saliency loss, 1:1; arguments as in `estimate_saliency`."""
    classification = classification_loss(maps, label)
    estimation = saliency_loss(maps, saliency, label, options)
    return {"total": classification + estimation, "classification": classification, "saliency": estimation}


def build(backbone: Backbone, num_classes: int, params: LocaliserParams, options: EpsOptions) -> Localiser:
    """Return a localiser of one map per class and one, the last, for the background."""
    return Localiser(backbone, num_classes + 1, params.dropout)


def loss(network: nn.Module, batch: Batch, options: EpsOptions) -> Losses:
    """Losses of `image` [N,3,H,W] against `label` [N,C] and `saliency` [N,1,H,W]."""
    return losses(network(batch["image"]), batch["saliency"], batch["label"], options)


def class_maps(maps: Tensor) -> Tensor:
    """Return class probabilities [N,C,h,w] of raw maps [N,C+1,h,w]; the background takes part in the softmax only."""
    return maps.softmax(dim=1)[:, :-1]


def prior(labels: NDArray[np.float32]) -> dict[str, float]:
    """Return the classification loss when only the frequencies of labels [N,C] are known."""
    return {"classification": prior_level(labels)}


EPS = Method(
    name="eps",
    summary="class maps trained to add up to the saliency map",
    source="Lee et al., Railroad Is Not a Train: Saliency as Pseudo-Pixel Supervision for WSSS, CVPR 2021",
    rule="threshold",
    uses_saliency=True,
    options=EpsOptions,
    build=build,
    loss=loss,
    class_maps=class_maps,
    prior=prior,
    decay_as_momentum=True,
)
