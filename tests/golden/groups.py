"""A network with one parameter in each group of a published optimiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FourGroups(nn.Module):
    """Parameters of the values `start` [4,n]: weight and bias of the backbone, weight and bias of the head."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.backbone = nn.Module()
        for module, weight, bias in ((self.backbone, *start[:2]), (self, *start[2:])):
            module.weight, module.bias = nn.Parameter(weight[None]), nn.Parameter(bias)


def values(optimizer: torch.optim.Optimizer) -> Tensor:
    """Return the parameters [4,n] of an optimiser of `FourGroups`, in the order of its groups."""
    return torch.stack([group["params"][0].detach().flatten() for group in optimizer.param_groups])
