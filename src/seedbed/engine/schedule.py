"""Learning rate schedule."""

from __future__ import annotations

import torch

from seedbed.params import TrainParams


def poly(step: int, steps: int, power: float, warmup: int = 0) -> float:
    """Return the factor on the learning rate at `step` (0-based): (1 - step / steps) ^ power.

    The first step has the full rate and the factor never reaches 0: from step `steps` on the last value stays (the
    convention of PSA and EPS). The first `warmup` steps are scaled down linearly, by (step + 1) / (warmup + 1).
    """
    decay = float((1 - min(step, steps - 1) / steps) ** power)
    return decay * min(1.0, (step + 1) / (warmup + 1))


class Schedule:
    """Sets the rates of an optimiser's groups, each from the rate it was made with. Make it before loading a state."""

    def __init__(self, optimizer: torch.optim.Optimizer, params: TrainParams) -> None:
        self.optimizer, self.params = optimizer, params
        self.rates = [group["lr"] for group in optimizer.param_groups]

    def set(self, step: int) -> float:
        """Set the rates of `step` (0-based); return that of the backbone."""
        factor = poly(step, self.params.steps, self.params.power, self.params.warmup)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        return self.params.lr * factor
