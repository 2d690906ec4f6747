"""Parity with the learning rates of MCIS (commit 1fc8f75) over its epochs."""

from __future__ import annotations

import numpy as np
import torch
from golden.conftest import FOLDER
from golden.groups import FourGroups

from seedbed.engine.optim import build_optimizer, parameter_groups
from seedbed.engine.sampler import StepSampler
from seedbed.engine.schedule import Schedule
from seedbed.params import TrainParams

IMAGES, BATCH, DROPS = 10_582, 5, (5, 10)
"""Training images and pairs per step (2,117 steps an epoch); epochs at whose start the rate drops."""


def test_rate_of_every_epoch(near):
    with np.load(FOLDER / "mcis" / "losses.npz", allow_pickle=False) as arrays:
        rates = arrays["lr_per_epoch"]
    per_epoch = StepSampler(IMAGES, TrainParams(batch=BATCH, keep_last=True), seed=0).steps_per_epoch
    assert per_epoch == 2117
    params = TrainParams(
        steps=len(rates) * per_epoch,
        lr=1e-3,
        head_lr_factor=10,
        bias_lr_factor=2,
        schedule="steps",
        milestones=[epoch * per_epoch for epoch in DROPS],
        gamma=0.1,
    )
    optimizer = build_optimizer(parameter_groups(FourGroups(torch.zeros(4, 1)), params), params)
    schedule = Schedule(optimizer, params)
    for epoch, expected in enumerate(rates):
        for step in (epoch * per_epoch, (epoch + 1) * per_epoch - 1):
            schedule.set(step)
            near([group["lr"] for group in optimizer.param_groups], expected, each=1e-9)
