"""Learning rate schedules."""

from __future__ import annotations

from bisect import bisect_right

import torch

from seedbed.params import TrainParams


def poly(step: int, horizon: int, power: float) -> float:
    """Return (1 - step / horizon) ^ power for `step` (0-based).

    The first step has the full rate and the factor never reaches 0: from step `horizon` on the last value stays (the
    convention of PSA and EPS).
    """
    return float((1 - min(step, horizon - 1) / horizon) ** power)


def factor(step: int, params: TrainParams) -> float:
    """Return the factor on every learning rate at `step` (0-based).

    `poly` over `params.horizon` steps (all steps where it is None), or `params.gamma` to the number of milestones up to
    and including `step`. The first `params.warmup` steps are scaled down linearly, by (step + 1) / (warmup + 1).
    """
    if params.schedule == "steps":
        decay = params.gamma ** bisect_right(params.milestones, step)
    else:
        decay = poly(step, params.horizon or params.steps, params.power)
    return decay * min(1.0, (step + 1) / (params.warmup + 1))


class Schedule:
    """Sets the rates of an optimiser's groups, each from the rate it was made with. Make it before loading a state."""

    def __init__(self, optimizer: torch.optim.Optimizer, params: TrainParams) -> None:
        self.optimizer, self.params = optimizer, params
        self.rates = [group["lr"] for group in optimizer.param_groups]

    def set(self, step: int) -> float:
        """Set the rates of `step` (0-based); return that of the backbone."""
        now = factor(step, self.params)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * now
        return self.params.lr * now
