"""Rules made of two gates of thresholds: `threshold` and `saliency-gate`.

Such a rule looks at a pixel through two numbers only: the score of its strongest class and its saliency. Two nested
gates, each a pair of thresholds to exceed, decide: inside the inner gate the pixel belongs to its strongest class,
outside the outer one it is background, and in between it is ignore. Because nothing but comparisons with thresholds
enters, `seedbed.study.tables` can evaluate every setting exactly from counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seedbed import IGNORE
from seedbed.seeds.rules import Array, Mask, Parameter, Rule, Values, strongest

SALIENCY_LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)
"""Saliency in 0..1 of each of the 256 grey levels."""


@dataclass(frozen=True)
class Gate:
    """What a pixel must exceed: a class score in 0..1 and, unless None, a saliency in 0..1."""

    cam: float
    saliency: float | None = None

    def passes(self, score: Array, saliency: Mask | None) -> npt.NDArray[np.bool_]:
        """Compare strictly, in float32: bool [H,W] of `score` float32 [H,W] and `saliency` uint8 [H,W]."""
        inside = score > np.float32(self.cam)
        if self.saliency is not None and saliency is not None:
            inside &= np.greater(SALIENCY_LEVELS, np.float32(self.saliency))[saliency]
        return inside


@dataclass(frozen=True)
class GateRule(Rule):
    """A rule of two gates: `gates` turns a full set of values into the inner and the outer one.

    `first_release`: class scores that the first release of the rule's method tried on ground truth, in every sweep.
    """

    gates: Callable[[Values], tuple[Gate, Gate]]
    first_release: tuple[float, ...] = ()

    @property
    def needs_saliency(self) -> bool:
        """Whether a gate looks at saliency maps."""
        return any(parameter.axis == "saliency" for parameter in self.parameters)

    @property
    def swept(self) -> bool:
        """Always: its settings can all be read off counts."""
        return True

    def _label(self, cams: Array, ids: Array, saliency: Mask | None, values: Values) -> Mask:
        inner, outer = self.gates(values)
        score, winner = strongest(cams, ids)
        inside = inner.passes(score, saliency)
        mask = np.where(inside, winner, np.uint8(0))
        if outer != inner:
            mask[outer.passes(score, saliency) & ~inside] = IGNORE
        return mask


def _same_threshold(values: Values) -> tuple[Gate, Gate]:
    gate = Gate(values["threshold"])
    return gate, gate


def _saliency_gates(values: Values) -> tuple[Gate, Gate]:
    return Gate(values["cam_high"], values["saliency_high"]), Gate(values["cam_low"], values["saliency_low"])


THRESHOLD = GateRule(
    "threshold",
    "the strongest class where its score exceeds a constant background score",
    (Parameter("threshold", "cam", 0.0, 1.0, 0.2, "constant score of the background"),),
    _same_threshold,
    first_release=tuple(round(0.01 * percent, 2) for percent in range(15, 35)),
)
"""Source: halbielee/EPS infer.py; the sweep of the first release: its evaluate_npy.py (commit 81c8b35)."""

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
