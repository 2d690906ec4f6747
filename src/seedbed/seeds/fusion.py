"""Fusion rules: how the class maps of an image, with or without its saliency map, become a pseudo-label.

A rule looks at a pixel through two numbers only: the score of its strongest class and its saliency. Two nested gates,
each a pair of thresholds to exceed, decide: inside the inner gate the pixel belongs to its strongest class, outside the
outer one it is background, and in between it is ignore. Because nothing but comparisons with thresholds enters,
`seedbed.study.tables` can evaluate every setting exactly from counts. A new rule is one more entry of `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seedbed import IGNORE
from seedbed.errors import UserError, unknown_name

Axis = Literal["cam", "saliency"]
Array = npt.NDArray[Any]
Mask = npt.NDArray[np.uint8]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Parameter:
    """A threshold of a rule, `low`..`high`, on the class score or the saliency; never above parameter `at_most`."""

    name: str
    axis: Axis
    low: float
    high: float
    published: float
    meaning: str
    at_most: str | None = None


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


SALIENCY_LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)
"""Saliency in 0..1 of each of the 256 grey levels."""


@dataclass(frozen=True)
class Rule:
    """An entry of the registry. `gates` turns a full set of values into the inner and the outer gate."""

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    gates: Callable[[Values], tuple[Gate, Gate]]

    @property
    def needs_saliency(self) -> bool:
        """Whether the rule looks at saliency maps."""
        return any(parameter.axis == "saliency" for parameter in self.parameters)

    def apply(self, cams: Array, classes: Array, saliency: Mask | None, values: Values) -> Mask:
        """Return the pseudo-label uint8 [H,W]: ids 0..C, 255 = ignore.

        `cams`: class maps [K,H,W], float16 or float32; `classes`: their 0-based classes [K]; `saliency`: uint8 [H,W],
        read by rules that need it. `values` may leave parameters out: those are as published. Raises UserError for NaN
        in the maps, a saliency map that is missing or of another size, and bad values.
        """
        inner, outer = self.gates(resolve_values(self.name, values))
        score, winner = strongest(cams, np.asarray(classes) + 1)
        if self.needs_saliency:
            _check_saliency(saliency, score.shape, self.name)
        inside = inner.passes(score, saliency)
        mask = np.where(inside, winner, np.uint8(0))
        if outer != inner:
            mask[outer.passes(score, saliency) & ~inside] = IGNORE
        return mask


def strongest(cams: Array, ids: Array) -> tuple[npt.NDArray[np.float32], Mask]:
    """Return per pixel the highest score of `cams` [K,H,W] (float32 [H,W]) and which of the `ids` [K] has it (uint8).

    Ties go to the lower id (eps.md, section 6, step 5). Without any class (K = 0) the score is 0 and the id 0. Raises
    UserError for NaN.
    """
    cams, ids = np.asarray(cams), np.asarray(ids, np.uint8)
    if len(ids) == 0:
        return np.zeros(cams.shape[1:], np.float32), np.zeros(cams.shape[1:], np.uint8)
    first, *others = np.argsort(ids)
    score = cams[first].astype(np.float32)
    winner = np.full(score.shape, ids[first])
    for index in others:
        better = cams[index] > score
        np.maximum(
            winner, better.view(np.uint8) * ids[index], out=winner
        )  # ids ascend: the later winner is the maximum
        np.maximum(score, cams[index], out=score)
    if np.isnan(score.max()):  # np.maximum hands every NaN on
        raise UserError("the class maps hold NaN", "dvc repro -f seeds, after a look at the localiser's loss curve")
    return score, winner


def _check_saliency(saliency: Mask | None, shape: tuple[int, ...], rule: str) -> None:
    if saliency is None:
        raise UserError(f"rule {rule} needs a saliency map for every image", "dvc repro predict-saliency")
    if saliency.shape != shape:
        raise UserError(
            f"saliency map of {saliency.shape[1]} x {saliency.shape[0]} pixels, class maps of {shape[1]} x {shape[0]}",
            "dvc repro",
        )


def _same_threshold(values: Values) -> tuple[Gate, Gate]:
    gate = Gate(values["threshold"])
    return gate, gate


def _saliency_gates(values: Values) -> tuple[Gate, Gate]:
    return Gate(values["cam_high"], values["saliency_high"]), Gate(values["cam_low"], values["saliency_low"])


_ENTRIES = (
    Rule(
        "threshold",
        "the strongest class where its score exceeds a constant background score",
        (Parameter("threshold", "cam", 0.0, 1.0, 0.2, "constant score of the background"),),
        _same_threshold,
    ),
    # No paper fixes these values. Ours: saliency decides where, the class maps decide what.
    Rule(
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
    ),
)

RULES: dict[str, Rule] = {rule.name: rule for rule in _ENTRIES}


def find_rule(name: str) -> Rule:
    """Return the rule called `name`. Raises UserError with the nearest known name."""
    if name not in RULES:
        raise unknown_name("fusion rule", name, RULES)
    return RULES[name]


def published_values(rule: str) -> dict[str, float]:
    """Return the published value of every parameter of `rule`."""
    return {parameter.name: parameter.published for parameter in find_rule(rule).parameters}


def resolve_values(rule: str, values: Values) -> dict[str, float]:
    """Complete `values` by published ones. Raises UserError for unknown names, ranges, and a low above its high."""
    parameters = find_rule(rule).parameters
    resolved = published_values(rule)
    for name, value in values.items():
        if name not in resolved:
            raise unknown_name(f"parameter of rule {rule}", name, resolved)
        resolved[name] = float(value)
    for parameter in parameters:
        value = resolved[parameter.name]
        if not parameter.low <= value <= parameter.high:
            raise UserError(f"rule {rule}: {parameter.name} must lie in {parameter.low}..{parameter.high}, not {value}")
        if parameter.at_most and value > resolved[parameter.at_most]:
            limit = f"{parameter.at_most} ({resolved[parameter.at_most]})"
            raise UserError(f"rule {rule}: {parameter.name} ({value}) must not exceed {limit}")
    return resolved
