"""What a method is: a network, a loss, and how one image becomes class maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from seedbed.errors import UserError
from seedbed.nn.backbones import build_backbone
from seedbed.nn.classifier import Localiser
from seedbed.nn.freeze import freeze_batchnorm, freeze_untrained
from seedbed.params import Block, LocaliserParams, describe_findings

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Method:
    """An entry of the registry of methods.

    `extra_maps`: class maps beside the C object classes (EPS: 1, the background). `uses_saliency`: the localiser is
    trained with saliency maps. `options`: the method's own parameters. `loss(maps, batch, options)` takes the raw maps
    [N,C+extra,h,w] and a batch with `label` [N,C] (and `saliency` [N,1,H,W]) and returns scalars, `total` among them.
    `class_maps(maps)` turns raw maps [N,C+extra,h,w] into non-negative maps [N,C,h,w]. `rule`: the published fusion
    rule.
    """

    name: str
    summary: str
    source: str
    rule: str
    extra_maps: int
    uses_saliency: bool
    options: type[Block]
    loss: Callable[[Tensor, Batch, Any], dict[str, Tensor]]
    class_maps: Callable[[Tensor], Tensor]

    def check_options(self, given: dict[str, Any]) -> Block:
        """Return the validated options. Raises UserError with the nearest valid name."""
        try:
            return self.options.model_validate(given)
        except ValidationError as error:
            findings = "; ".join(describe_findings(error, self.options))
            raise UserError(f"localiser.{self.name}.options: {findings}", "edit params.yaml") from None

    def network(self, params: LocaliserParams, num_classes: int, pretrained: bool = True) -> nn.Module:
        """Build the localiser for `num_classes` object classes; `pretrained` loads the backbone's initial weights."""
        weights = Path(params.weights) if params.weights and pretrained else None
        backbone = build_backbone(params.backbone, params.output_stride, weights)
        network = Localiser(backbone, num_classes + self.extra_maps, params.dropout)
        if params.batchnorm == "frozen":
            freeze_batchnorm(network)
        if params.freeze_stem:
            freeze_untrained(network.backbone)
        return network

    def training_loss(self, params: LocaliserParams) -> Callable[[nn.Module, Batch], dict[str, Tensor]]:
        """Return the function of network and batch that the training loop minimises."""
        options = self.check_options(dict(params.options))
        return lambda network, batch: self.loss(network(batch["image"]), batch, options)


def classification_loss(maps: Tensor, label: Tensor) -> Tensor:
    """Multi-label soft margin loss of the spatial mean of the first C raw maps [N,>=C,h,w] against labels [N,C]."""
    scores = maps.float().mean(dim=(2, 3))[:, : label.shape[1]]
    return nn.functional.multilabel_soft_margin_loss(scores, label)
