"""Parity with the optimiser of halbielee/EPS (commit 0c2cdd0): schedule, momentum and decay."""

from __future__ import annotations

import torch
from golden.groups import FourGroups, values

from seedbed.engine.optim import build_optimizer, parameter_groups
from seedbed.engine.schedule import Schedule
from seedbed.methods import get_method
from seedbed.params import TrainParams

GOLDEN = ("eps", "optimizer")
KINDS = {"schedule": "lr", "walk": "grads"}


def test_rates(golden, near, schedule):
    settings, arrays = golden(*GOLDEN)
    setting, steps = settings[schedule], arrays[f"{schedule}_steps"].tolist()
    params = TrainParams(
        steps=max(steps) + 1, horizon=setting["max_step"], lr=setting["base_lr"], head_lr_factor=10, bias_lr_factor=2
    )
    optimizer = build_optimizer(parameter_groups(FourGroups(torch.zeros(4, 1)), params), params)
    rates = Schedule(optimizer, params)
    for step, expected in zip(steps, arrays[f"{schedule}_lr"], strict=True):
        rates.set(step)
        near([group["lr"] for group in optimizer.param_groups], expected, each=1e-9)


def test_walk(golden, near, walk):
    settings, arrays = golden(*GOLDEN)
    setting, gradients = settings[walk], torch.from_numpy(arrays[f"{walk}_grads"])
    params = get_method("eps").training(
        TrainParams(
            steps=len(gradients),
            horizon=setting["max_step"],
            lr=setting["base_lr"],
            head_lr_factor=10,
            bias_lr_factor=2,
            weight_decay=setting["weight_decay"],
            momentum="published",
        )
    )
    assert params.momentum == setting["momentum_in_effect"]
    network = FourGroups(torch.from_numpy(arrays[f"{walk}_start"]))
    optimizer = build_optimizer(parameter_groups(network, params), params)
    rates = Schedule(optimizer, params)
    for step, expected in enumerate(arrays[f"{walk}_params"]):
        rates.set(step)
        for group, gradient in zip(optimizer.param_groups, gradients[step], strict=True):
            (parameter,) = group["params"]
            parameter.grad = gradient.view_as(parameter)
        optimizer.step()
        near(values(optimizer), expected, absolute=1e-6)
