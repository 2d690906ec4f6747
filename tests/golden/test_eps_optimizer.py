"""Parity with the optimiser of halbielee/EPS (commit 0c2cdd0): schedule, momentum and decay."""

from __future__ import annotations

import torch
from golden.conftest import assert_all_used
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
    ours = []
    for step in steps:
        rates.set(step)
        ours.append([group["lr"] for group in optimizer.param_groups])
    near(ours, arrays[f"{schedule}_lr"], each=1e-9)


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
    ours = []
    for step, of_step in enumerate(gradients):
        rates.set(step)
        for group, gradient in zip(optimizer.param_groups, of_step, strict=True):
            (parameter,) = group["params"]
            parameter.grad = gradient.view_as(parameter)
        optimizer.step()
        ours.append(values(optimizer))
    near(torch.stack(ours), arrays[f"{walk}_params"], absolute=1e-6)


def test_every_array_is_used(golden):
    settings, arrays = golden(*GOLDEN)
    used = set()
    for case in settings:
        names = ("start", "grads", "params") if f"{case}_grads" in arrays else ("steps", "lr")
        used |= {f"{case}_{name}" for name in names}
    assert_all_used(arrays, used)
