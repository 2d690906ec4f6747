"""MCIS: mining cross-image semantics by co-attention between related images (Sun et al., ECCV 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from seedbed.data.pairs import PairImages, Relations
from seedbed.errors import UserError
from seedbed.methods.base import Batch, Losses, Method, TrainingSet, prior_level
from seedbed.nn.coattention import PairLocaliser, PairScores
from seedbed.nn.features import Backbone
from seedbed.params import Block, LocaliserParams

COPIES = ("mirrored", "small", "large")
"""What an image is paired with beside the related image, in the order of the scores."""
_SAMPLED_PAIRS = 10_000  # the frequency of a common class is then known to half a percent


class McisOptions(Block):
    """Width of the features that attend to each other, and when the difference losses start."""

    width: Annotated[int, Field(ge=1)] = Field(512, description="channels of the features that are compared")
    difference_from: Annotated[int, Field(ge=0)] = Field(
        2, description="first epoch, counted from 0, that trains on the classes that only one image of a pair shows"
    )


@dataclass(frozen=True)
class PairLabels:
    """Targets (0 or 1) of the pair of image and related image.

    `single` [2B,C]: labels of the images, then of the related ones; `common` [B,C]: what both show; `difference1`,
    `difference2` [B,C]: what only the image shows, and only the related one.
    """

    single: Tensor
    common: Tensor
    difference1: Tensor
    difference2: Tensor


def pair_labels(label: Tensor, related_label: Tensor) -> PairLabels:
    """Return the targets that follow from the labels [B,C] of images and related images."""
    common = label * related_label
    return PairLabels(torch.cat([label, related_label]), common, label - common, related_label - common)


def losses(scores: PairScores, label: Tensor, related_label: Tensor, epoch: Tensor, options: McisOptions) -> Losses:
    """Return the ten terms by name, and `total`, the sum of those that count.

    label, related_label: [B,C] in {0, 1}; epoch: int64, of any shape. The eight terms `single*` and `common*` always
    count. `difference1` and `difference2` count from epoch `options.difference_from` on, in batches where some image
    has such a label; rows without one then count too. A term that does not count has its value all the same, so that
    every step reports the same names. Source: GuoleiSun/MCIS_wsss Classifier/scripts/train.py.
    """
    targets, own = pair_labels(label, related_label), label.repeat(2, 1)
    terms = {
        "single": _soft_margin(scores.single[0], targets.single),
        "common": _soft_margin(scores.common[0], targets.common.repeat(2, 1)),
    }
    for copy, single, common in zip(COPIES, scores.single[1:], scores.common[1:], strict=True):
        terms[f"single_{copy}"] = _soft_margin(single, own)
        terms[f"common_{copy}"] = _soft_margin(common, own)
    total = torch.stack(list(terms.values())).sum()
    started = (epoch >= options.difference_from).all()
    first, second = scores.difference.chunk(2)
    for name, score, target in (
        ("difference1", first, targets.difference1),
        ("difference2", second, targets.difference2),
    ):
        terms[name] = _soft_margin(score, target)
        # where, and not if: the decision stays on the device, and the GPU need not be waited for.
        total = total + torch.where(started & target.any(), terms[name], 0.0)
    return {"total": total, **terms}


def _soft_margin(scores: Tensor, target: Tensor) -> Tensor:
    return nn.functional.multilabel_soft_margin_loss(scores.float(), target)


def build(backbone: Backbone, num_classes: int, params: LocaliserParams, options: McisOptions) -> PairLocaliser:
    """Return the co-attention localiser. Raises UserError when dropout is asked for: the method has none."""
    if params.dropout:
        raise UserError(f"localiser.mcis.dropout: mcis has no dropout, not {params.dropout:g}", "edit params.yaml")
    return PairLocaliser(backbone, num_classes, width=options.width)


def images(training_set: TrainingSet) -> PairImages:
    """Return the training images, each with a related one and its copies."""
    return PairImages(
        training_set.ids,
        training_set.image,
        training_set.augment,
        training_set.seed,
        labels=training_set.labels,
    )


def loss(network: nn.Module, batch: Batch, options: McisOptions) -> Losses:
    """Losses of a batch of `PairImages` items."""
    scores = network(batch["image"], batch["related"], *(batch[copy] for copy in COPIES))
    return losses(scores, batch["label"], batch["related_label"], batch["epoch"], options)


def class_maps(maps: Tensor) -> Tensor:
    """Return raw maps [N,C,h,w] as they are: the merging weighs them by their mean before it clips them at 0."""
    return maps


def prior(labels: NDArray[np.float32]) -> dict[str, float]:
    """Return the eight losses that always count when only the frequencies of the classes are known, labels [N,C].

    How often both images of a pair show a class is counted on pairs drawn as in training, with a seed of their own.
    """
    rng, relations = np.random.default_rng(0), Relations(labels)
    first = rng.choice(np.flatnonzero(labels.any(axis=1)), _SAMPLED_PAIRS)
    second = [relations.partner(rng, index) for index in first]
    single = prior_level(labels)
    levels = {"single": single, "common": prior_level(labels[first] * labels[second])}
    return levels | {f"{kind}_{copy}": single for copy in COPIES for kind in ("single", "common")}


MCIS = Method(
    name="mcis",
    summary="co-attention between images that share a class",
    source="Sun et al., Mining Cross-Image Semantics for Weakly Supervised Semantic Segmentation, ECCV 2020",
    rule="mcis",
    uses_saliency=False,
    options=McisOptions,
    build=build,
    loss=loss,
    class_maps=class_maps,
    prior=prior,
    images=images,
    inference="related",
)
