"""Parity with the optimiser of halbielee/EPS (commit 0c2cdd0): schedule, momentum and decay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seedbed.engine.optim import build_optimizer
from seedbed.engine.schedule import Schedule
from seedbed.params import TrainParams

FACTORS = (1, 2, 10, 20)
"""On the rate: convolutions, their biases, fc8.weight, its bias."""


def optimizer_of(parameters: list[torch.nn.Parameter], params: TrainParams) -> torch.optim.Optimizer:
    decays = (params.weight_decay, 0.0, params.weight_decay, 0.0)
    groups = [
        {"params": [parameter], "lr": params.lr * factor, "weight_decay": decay}
        for parameter, factor, decay in zip(parameters, FACTORS, decays, strict=True)
    ]
    return build_optimizer(groups, params)


@pytest.mark.parametrize("case", ["voc", "coco_logged_run", "short"])
def test_rates(golden, case):
    settings, arrays = golden("eps", "optimizer")
    params = TrainParams(steps=settings[case]["max_step"], lr=settings[case]["base_lr"])
    optimizer = optimizer_of([torch.nn.Parameter(torch.zeros(1)) for _ in FACTORS], params)
    schedule = Schedule(optimizer, params)
    for step, rates in zip(arrays[f"{case}_steps"].tolist(), arrays[f"{case}_lr"], strict=True):
        schedule.set(step)
        np.testing.assert_allclose([group["lr"] for group in optimizer.param_groups], rates, rtol=1e-9)


def test_walk(golden):
    settings, arrays = golden("eps", "optimizer")
    walk = settings["walk"]
    params = TrainParams(
        steps=walk["max_step"],
        lr=walk["base_lr"],
        weight_decay=walk["weight_decay"],
        momentum=walk["momentum_in_effect"],
    )
    parameters = [torch.nn.Parameter(start) for start in torch.from_numpy(arrays["walk_start"])]
    optimizer = optimizer_of(parameters, params)
    schedule = Schedule(optimizer, params)
    for step, (gradients, expected) in enumerate(zip(arrays["walk_grads"], arrays["walk_params"], strict=True)):
        schedule.set(step)
        for parameter, gradient in zip(parameters, torch.from_numpy(gradients), strict=True):
            parameter.grad = gradient
        optimizer.step()
        np.testing.assert_allclose(torch.stack([p.detach() for p in parameters]).numpy(), expected, atol=1e-6)
