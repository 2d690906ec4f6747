"""Optimisers and their parameter groups."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import nn

from seedbed.errors import UserError
from seedbed.params import TrainParams

TEXTBOOK_MOMENTUM = 0.9


def parameter_groups(network: nn.Module, params: TrainParams) -> list[dict[str, Any]]:
    """Return optimiser groups: `network.backbone` at `params.lr`, all else (the head) at `lr * head_lr_factor`.

    Vectors and scalars (biases, affine parameters of norms) have the rate of their layer times `bias_lr_factor`, and
    decay only with `decay: all`. The order is: weights and vectors of the backbone, weights and vectors of the head.
    Parameters that need no gradient belong to no group; groups without parameters are left out.
    """
    backbone = {id(parameter) for parameter in network.get_submodule("backbone").parameters()}
    groups = []
    for is_head, is_vector in product((False, True), repeat=2):
        members = [
            parameter
            for parameter in network.parameters()
            if parameter.requires_grad
            and (id(parameter) not in backbone) == is_head
            and (parameter.ndim <= 1) == is_vector
        ]
        if members:
            factor = (params.head_lr_factor if is_head else 1) * (params.bias_lr_factor if is_vector else 1)
            decays = params.decay == "all" or not is_vector
            groups.append(
                {
                    "params": members,
                    "lr": params.lr * factor,
                    "weight_decay": params.weight_decay if decays else 0.0,
                }
            )
    return groups


def build_optimizer(groups: list[dict[str, Any]], params: TrainParams) -> torch.optim.Optimizer:
    """Return the optimiser `params.optimizer` over `groups`, whose own rates and decays count.

    A momentum in words is TEXTBOOK_MOMENTUM here: what `published` means for a method, `Method.training` puts in its
    place beforehand. Raises UserError for Nesterov's form of no momentum.
    """
    if params.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=params.lr)
    momentum = TEXTBOOK_MOMENTUM if isinstance(params.momentum, str) else params.momentum
    if params.nesterov and momentum == 0:
        raise UserError(
            "nesterov is a form of the momentum, and the momentum is 0",
            "set nesterov: false or momentum: textbook in the train block of params.yaml",
        )
    return torch.optim.SGD(groups, lr=params.lr, momentum=momentum, nesterov=params.nesterov)
