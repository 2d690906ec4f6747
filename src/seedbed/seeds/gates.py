"""Rules made of two gates of thresholds: `threshold`, `alpha` and `saliency-gate`.

Such a rule looks at a pixel through two numbers only: the score of its strongest class and its saliency. Two nested
gates, each a pair of thresholds to exceed, decide: inside the inner gate the pixel belongs to its strongest class,
outside the outer one it is background, and in between it is ignore. Because nothing but comparisons with thresholds
enters, `seedbed.study.tables` can evaluate every setting exactly from counts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from seedbed.seeds.batch import MapBatch, ignore, strongest
from seedbed.seeds.rules import Parameter, Rule, Values

SALIENCY_LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)
"""Saliency in 0..1 of each of the 256 grey levels."""


@dataclass(frozen=True)
class Gate:
    """What a pixel must exceed: a class score in 0..1 and, unless None, a saliency in 0..1."""

    cam: float
    saliency: float | None = None

    def passes(self, score: Tensor, saliency: Tensor | None) -> Tensor:
        """Compare strictly, in float32: bool [N,H,W] of `score` float32 [N,H,W] and `saliency` uint8 [N,H,W]."""
        inside = score > float(np.float32(self.cam))
        if self.saliency is not None and saliency is not None:
            level = np.searchsorted(SALIENCY_LEVELS, np.float32(self.saliency), side="right") - 1
            inside &= saliency > int(level)  # the highest level that is not above the threshold
        return inside


@dataclass(frozen=True)
class GateRule(Rule):
    """A rule of two gates: `gates` turns a full set of values into the inner and the outer one."""

    gates: Callable[[Values], tuple[Gate, Gate]]

    @property
    def first_release(self) -> tuple[float, ...]:
        """The values of its first parameter that the first release of the rule's method tried on ground truth."""
        return self.parameters[0].tried

    @property
    def needs_saliency(self) -> bool:
        """Whether a gate looks at saliency maps."""
        return any(parameter.axis == "saliency" for parameter in self.parameters)

    @property
    def swept(self) -> bool:
        """Always: its settings can all be read off counts."""
        return True

    def _label(self, batch: MapBatch, values: Values) -> Tensor:
        inner, outer = self.gates(values)
        score, winner = strongest(batch.cams, batch.ids)
        batch.check_numbers(score)
        inside = inner.passes(score, batch.saliency)
        labels = winner * inside
        return labels if outer == inner else ignore(labels, outer.passes(score, batch.saliency) & ~inside)


def _same_threshold(values: Values) -> tuple[Gate, Gate]:
    gate = Gate(values["threshold"])
    return gate, gate


def _alpha_threshold(values: Values) -> tuple[Gate, Gate]:
    gate = Gate(background_threshold(values["alpha"]))
    return gate, gate


@functools.lru_cache(maxsize=1024)
def background_threshold(alpha: float) -> float:
    """Return the highest float32 score in 0..1 that does not exceed the background's, (1 - score)^`alpha`.

    The one grows and the other falls with the score, so it is found by bisection over the bit patterns of float32,
    which ascend as the numbers do. The comparison is in float32 with a power rounded once: a score exceeds this
    threshold exactly where it exceeds its background.
    """
    exponent = float(np.float32(alpha))
    background, foreground = 0, int(np.float32(1).view(np.uint32))
    while foreground - background > 1:
        middle = (background + foreground) // 2
        score = np.uint32(middle).view(np.float32)
        if score > np.float32(math.pow(np.float32(1) - score, exponent)):
            foreground = middle
        else:
            background = middle
    return float(np.uint32(background).view(np.float32))


def _saliency_gates(values: Values) -> tuple[Gate, Gate]:
    return Gate(values["cam_high"], values["saliency_high"]), Gate(values["cam_low"], values["saliency_low"])


THRESHOLD = GateRule(
    "threshold",
    "the strongest class where its score exceeds a constant background score",
    (
        Parameter(
            "threshold",
            "cam",
            0.0,
            1.0,
            0.2,
            "constant score of the background",
            tried=tuple(round(0.01 * percent, 2) for percent in range(15, 35)),
        ),
    ),
    _same_threshold,
)
"""Source: halbielee/EPS infer.py; the sweep of the first release: its evaluate_npy.py (commit 81c8b35)."""

ALPHA = GateRule(
    "alpha",
    "the strongest class where its score exceeds that of the background, (1 - score)^alpha",
    (Parameter("alpha", "cam", 1.0, 64.0, 16.0, "exponent; the higher, the more foreground", log=True),),
    _alpha_threshold,
)
"""Source: Ahn and Kwak, Learning Pixel-level Semantic Affinity, CVPR 2018, and its code (jiwoon-ahn/psa)."""

# No paper fixes these values. Ours: saliency decides where, the class maps decide what.
SALIENCY_GATE = GateRule(
    "saliency-gate",
    "the strongest class where score and saliency are high, background where either is low, ignore between",
    (
        Parameter("cam_high", "cam", 0.0, 1.0, 0.0, "foreground needs a class score above this"),
        Parameter("cam_low", "cam", 0.0, 1.0, 0.0, "class scores up to this are background", at_most="cam_high"),
        Parameter("saliency_high", "saliency", 0.0, 1.0, 0.5, "foreground needs a saliency above this"),
        Parameter(
            "saliency_low", "saliency", 0.0, 1.0, 0.5, "saliency up to this is background", at_most="saliency_high"
        ),
    ),
    _saliency_gates,
)
"""Our own rule: what saliency and class maps say together, with a band left open."""
