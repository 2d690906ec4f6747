from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from seedbed.engine.optim import build_optimizer, parameter_groups
from seedbed.errors import UserError
from seedbed.params import TrainParams


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(4, 2, 1)


def names(network: nn.Module, group: dict) -> set[str]:
    members = {id(parameter) for parameter in group["params"]}
    return {name for name, parameter in network.named_parameters() if id(parameter) in members}


def described(network: nn.Module, **changes: Any) -> list[tuple[set[str], float, float]]:
    groups = parameter_groups(network, TrainParams(lr=0.01, head_lr_factor=10, weight_decay=5e-4, **changes))
    return [(names(network, group), group["lr"], group["weight_decay"]) for group in groups]


VECTORS = {"backbone.0.bias", "backbone.1.weight", "backbone.1.bias"}


def test_backbone_and_head_weights_and_vectors_each_have_a_group():
    assert described(Network()) == [
        ({"backbone.0.weight"}, 0.01, 5e-4),
        (VECTORS, 0.01, 0),
        ({"head.weight"}, 0.1, 5e-4),
        ({"head.bias"}, 0.1, 0),
    ]


def test_vectors_have_their_own_factor_and_decay_where_asked():
    assert described(Network(), bias_lr_factor=2, decay="all") == [
        ({"backbone.0.weight"}, 0.01, 5e-4),
        (VECTORS, 0.02, 5e-4),
        ({"head.weight"}, 0.1, 5e-4),
        ({"head.bias"}, 0.2, 5e-4),
    ]


def test_frozen_parameters_and_empty_groups_are_left_out():
    network = Network()
    network.backbone.requires_grad_(False)
    network.head.bias.requires_grad_(False)
    assert described(network) == [({"head.weight"}, 0.1, 5e-4)]


def walk(params: TrainParams) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a weight after three steps of the optimiser, and what the formula of SGD makes of the same gradients."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = build_optimizer([{"params": [weight], "lr": 0.1, "weight_decay": 0.01}], params)
    momentum = params.momentum if isinstance(params.momentum, float) else 0.9
    expected, velocity = weight.detach().clone(), torch.zeros(2)
    for gradient in torch.tensor([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]]):
        weight.grad = gradient.clone()
        optimizer.step()
        slope = gradient + 0.01 * expected
        velocity = momentum * velocity + slope
        expected = expected - 0.1 * (slope + momentum * velocity if params.nesterov else velocity)
    return weight.detach(), expected


@pytest.mark.parametrize("momentum", [0.0, 0.5, "textbook", "published"])
def test_sgd_follows_its_formula(momentum):
    torch.testing.assert_close(*walk(TrainParams(momentum=momentum)))


def test_sgd_in_the_form_of_nesterov():
    torch.testing.assert_close(*walk(TrainParams(momentum=0.5, nesterov=True)))
    assert not torch.equal(walk(TrainParams(momentum=0.5, nesterov=True))[0], walk(TrainParams(momentum=0.5))[0])


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(UserError, match="the momentum is 0") as caught:
        walk(TrainParams(momentum=0, nesterov=True))
    assert "nesterov: false" in str(caught.value.fix)


def test_adamw_decays_each_group_by_its_own_factor():
    weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [
        {"params": [weight], "lr": 0.1, "weight_decay": decay}
        for weight, decay in zip(weights, (0.5, 0.0), strict=True)
    ]
    optimizer = build_optimizer(groups, TrainParams(optimizer="adamw"))
    for weight in weights:
        weight.grad = torch.zeros(1)
    optimizer.step()
    assert [weight.item() for weight in weights] == pytest.approx([1 - 0.1 * 0.5, 1])
