"""What a method is: a network, what it is trained on, a loss, and how images become class maps.

Every entry of the registry has a name and options (`Entry`); what is trained here has all the rest (`Method`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from seedbed.data.datasets import ImageReader, TrainingImages
from seedbed.engine.loader import EpochDataset
from seedbed.errors import UserError
from seedbed.nn.backbones import build_backbone
from seedbed.nn.features import Backbone
from seedbed.nn.freeze import freeze_batchnorm, freeze_untrained
from seedbed.params import AugmentParams, Block, LocaliserParams, TrainParams
from seedbed.validation import describe_findings

Batch = dict[str, Tensor]
Losses = dict[str, Tensor]
Labels = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class TrainingSet:
    """What a localiser can be trained on.

    `ids`: of the images; `image`: their reader; `labels`: id -> 0/1 vector [C]; `saliency_dir`: folder of <id>.png,
    None for a method that uses no saliency; `augment`, `seed`: what is drawn at random, and from where.
    """

    ids: Sequence[str]
    image: ImageReader
    labels: Labels
    saliency_dir: Path | None
    augment: AugmentParams
    seed: int


def single_images(training_set: TrainingSet) -> TrainingImages:
    """Return the images one by one: items with `image`, `label` and, given a saliency folder, `saliency`."""
    return TrainingImages(
        training_set.ids,
        training_set.image,
        training_set.augment,
        training_set.seed,
        labels=training_set.labels,
        saliency_dir=training_set.saliency_dir,
    )


@dataclass(frozen=True)
class Entry:
    """An entry of the registry of methods: `options` are the method's own parameters."""

    name: str
    summary: str
    source: str
    options: type[Block]

    def check_options(self, given: Mapping[str, Any], block: str | None = None) -> Block:
        """Return the validated options of the `block` in the parameters (None = the one of the entry's own name).

        Raises UserError with the nearest valid name.
        """
        try:
            return self.options.model_validate(given)
        except ValidationError as error:
            findings = "; ".join(describe_findings(error, self.options))
            raise UserError(f"localiser.{block or self.name}.options: {findings}", "edit params.yaml") from None


@dataclass(frozen=True)
class Method(Entry):
    """A method whose localiser is trained here.

    `rule`: the published fusion rule. `uses_saliency`: the localiser is trained with saliency maps. `build(backbone,
    num_classes, params, options)` makes the network. `images` makes the training items, `loss(network, batch, options)`
    the scalars to minimise, `total` among them. `inference` names how images become class maps
    (`seedbed.seeds.INFERENCES`), and `class_maps` turns the network's raw maps [N,M,h,w] into the maps [N,C,h,w] that
    this inference merges. `prior(labels)` gives, for labels [N,C], the value of each named loss when nothing but the
    frequencies of the classes is known. `decay_as_momentum`: the published optimiser puts the weight decay into SGD's
    momentum slot.
    """

    rule: str
    uses_saliency: bool
    build: Callable[[Backbone, int, LocaliserParams, Any], nn.Module]
    loss: Callable[[nn.Module, Batch, Any], Losses]
    class_maps: Callable[[Tensor], Tensor]
    prior: Callable[[NDArray[np.float32]], dict[str, float]]
    images: Callable[[TrainingSet], EpochDataset] = single_images
    inference: str = "multi-scale"
    decay_as_momentum: bool = False

    def network(self, params: LocaliserParams, num_classes: int, pretrained: bool = True) -> nn.Module:
        """Build the localiser for `num_classes` object classes; `pretrained` loads the backbone's initial weights."""
        weights = Path(params.weights) if params.weights and pretrained else None
        backbone = build_backbone(params.backbone, params.output_stride, weights)
        network = self.build(backbone, num_classes, params, self.check_options(params.options))
        if params.batchnorm == "frozen":
            freeze_batchnorm(network)
        if params.freeze_stem:
            freeze_untrained(backbone)
        return network

    def training_loss(self, params: LocaliserParams) -> Callable[[nn.Module, Batch], Losses]:
        """Return the function of network and batch that the training loop minimises."""
        options = self.check_options(params.options)
        return lambda network, batch: self.loss(network, batch, options)

    def training(self, params: TrainParams) -> TrainParams:
        """Return `params` with the momentum as a number where it is asked for as `published`."""
        if params.momentum != "published":
            return params
        return params.model_copy(update={"momentum": params.weight_decay if self.decay_as_momentum else "textbook"})


def classification_loss(maps: Tensor, label: Tensor) -> Tensor:
    """Multi-label soft margin loss of the spatial mean of the first C raw maps [N,>=C,h,w] against labels [N,C]."""
    scores = maps.float().mean(dim=(2, 3))[:, : label.shape[1]]
    return nn.functional.multilabel_soft_margin_loss(scores, label)


def prior_level(labels: NDArray[np.float32]) -> float:
    """Return the least multi-label soft margin loss on labels [N,C] of a classifier that ignores its input.

    That is the entropy (nats) of each class's frequency, averaged over the classes.
    """
    frequency = np.clip(labels.mean(axis=0, dtype=np.float64), 1e-12, 1 - 1e-12)
    entropy = -(frequency * np.log(frequency) + (1 - frequency) * np.log1p(-frequency))
    return float(entropy.mean())
