from __future__ import annotations

import pytest
import torch
from torch import nn

from seedbed.engine.optim import build_optimizer, parameter_groups
from seedbed.params import TrainParams


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(4, 2, 1)


def names(network: nn.Module, group: dict) -> set[str]:
    members = {id(parameter) for parameter in group["params"]}
    return {name for name, parameter in network.named_parameters() if id(parameter) in members}


def test_backbone_and_head_weights_and_vectors_each_have_a_group():
    network = Network()
    groups = parameter_groups(network, 0.01, 10, 5e-4)
    assert [(names(network, group), group["lr"], group["weight_decay"]) for group in groups] == [
        ({"backbone.0.weight"}, 0.01, 5e-4),
        ({"backbone.0.bias", "backbone.1.weight", "backbone.1.bias"}, 0.01, 0),
        ({"head.weight"}, 0.1, 5e-4),
        ({"head.bias"}, 0.1, 0),
    ]


def test_frozen_parameters_and_empty_groups_are_left_out():
    network = Network()
    network.backbone.requires_grad_(False)
    network.head.bias.requires_grad_(False)
    groups = parameter_groups(network, 0.01, 10, 5e-4)
    assert [names(network, group) for group in groups] == [{"head.weight"}]


def test_sgd_follows_its_formula():
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    params = TrainParams(optimizer="sgd", momentum=0.5)
    optimizer = build_optimizer([{"params": [weight], "lr": 0.1, "weight_decay": 0.01}], params)
    expected, velocity = weight.detach().clone(), torch.zeros(2)
    for gradient in torch.tensor([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]]):
        weight.grad = gradient.clone()
        optimizer.step()
        velocity = 0.5 * velocity + gradient + 0.01 * expected
        expected = expected - 0.1 * velocity
    torch.testing.assert_close(weight.detach(), expected)


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
