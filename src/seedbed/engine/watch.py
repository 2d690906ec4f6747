"""A warning for a training that learns nothing from its images."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping

from seedbed.engine.recorder import Log

logger = logging.getLogger(__name__)

WINDOW = 5
"""Points of the loss curve that are averaged: a single one is noise."""
SHARE = 0.97
"""Share of the prior from which on a loss counts as that of the prior."""


class PriorWatch:
    """A `Log` that hands every point on to `log`, and warns once of a loss that has not left the level of the prior.

    `prior`: value of each named loss for a network that knows only how frequent each class is; nothing is watched where
    it is empty. The warning comes at the first point from step `patience_step` on where the sum of these losses,
    averaged over the last 5 points, is at least 97 % of the summed prior; never before there are 5 points. The usual
    cause is a collapse: all logits negative, all class maps empty (docs/methods.md, section MCIS).
    """

    def __init__(self, prior: Mapping[str, float], patience_step: int, log: Log) -> None:
        self.prior, self.patience_step, self.log = dict(prior), patience_step, log
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._warned = False

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Take the point of the curve after `step` steps: lr, and losses by name (those of the prior among them)."""
        self.log(step, values)
        self._recent.append(sum(values[name] for name in self.prior))
        if self._warned or step < self.patience_step or len(self._recent) < WINDOW:
            return
        mean, level = sum(self._recent) / WINDOW, sum(self.prior.values())
        if mean >= SHARE * level > 0:
            self._warned = True
            logger.warning(
                "after step %d the loss (%s) is %.4f: that of a network that knows only how frequent each class is "
                "(%.4f) and has learned nothing from the images, so that its class maps will be empty; stop it, lower "
                "lr or head_lr_factor of its train block, and check the weights of the backbone",
                step,
                " + ".join(self.prior),
                mean,
                level,
            )
