"""Parity with the learning rates of MCIS (commit 1fc8f75) over its epochs."""

from __future__ import annotations

import json

import torch
from golden.conftest import FOLDER, load
from golden.groups import FourGroups

from seedbed.engine.optim import build_optimizer, parameter_groups
from seedbed.engine.sampler import StepSampler
from seedbed.engine.schedule import Schedule
from seedbed.params import TrainParams

IMAGES, BATCH, DROPS = 10_582, 5, (5, 10)
"""Training images and pairs per step (2,117 steps an epoch); epochs at whose start the rate drops."""


def test_rate_of_every_epoch(near):
    rates = load("mcis/losses.npz")["lr_per_epoch"]
    multipliers = json.loads((FOLDER / "mcis" / "param_groups.json").read_text())["lr_multipliers"]
    per_epoch = StepSampler(IMAGES, TrainParams(batch=BATCH, keep_last=True), seed=0).steps_per_epoch
    assert per_epoch == 2117
    params = TrainParams(
        steps=len(rates) * per_epoch,
        lr=rates[0, 0] / multipliers[0],
        head_lr_factor=10,
        bias_lr_factor=2,
        schedule="steps",
        milestones=[epoch * per_epoch for epoch in DROPS],
        gamma=0.1,
    )
    optimizer = build_optimizer(parameter_groups(FourGroups(torch.zeros(4, 1)), params), params)
    schedule = Schedule(optimizer, params)
    for within in (0, per_epoch - 1):
        ours = []
        for epoch in range(len(rates)):
            schedule.set(epoch * per_epoch + within)
            ours.append([group["lr"] for group in optimizer.param_groups])
        near(ours, rates, each=1e-9)
