"""Optimisers and their parameter groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seedbed.params import TrainParams


def parameter_groups(network: nn.Module, lr: float, head_lr_factor: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return optimiser groups: `network.backbone` at `lr`, all else (the new layers) at `lr * head_lr_factor`.

    Vectors and scalars (biases, affine parameters of norms) are never decayed. Parameters that need no gradient belong
    to no group; groups without parameters are left out.
    """
    backbone = {id(parameter) for parameter in network.get_submodule("backbone").parameters()}
    groups = []
    for is_head in (False, True):
        for decayed in (True, False):
            members = [
                parameter
                for parameter in network.parameters()
                if parameter.requires_grad
                and (id(parameter) not in backbone) == is_head
                and (parameter.ndim > 1) == decayed
            ]
            if members:
                rate = lr * head_lr_factor if is_head else lr
                groups.append({"params": members, "lr": rate, "weight_decay": weight_decay if decayed else 0.0})
    return groups


def build_optimizer(groups: list[dict[str, Any]], params: TrainParams) -> torch.optim.Optimizer:
    """Return the optimiser `params.optimizer` over `groups`, whose own rates and decays count."""
    if params.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=params.lr)
    return torch.optim.SGD(groups, lr=params.lr, momentum=params.momentum)
