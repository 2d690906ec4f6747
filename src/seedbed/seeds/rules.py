"""What a fusion rule is: named parameters, and how class maps and saliency become a pseudo-label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seedbed.errors import UserError, unknown_name

Axis = Literal["cam", "saliency"]
Array = npt.NDArray[Any]
Mask = npt.NDArray[np.uint8]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Parameter:
    """A number of a rule in `low`..`high`, never above parameter `at_most`.

    `axis`: of an exact sweep, whether it is compared with the strongest class score or with the saliency; None for a
    rule that is not swept. Such a rule is searched in steps of `step`.
    """

    name: str
    axis: Axis | None
    low: float
    high: float
    published: float
    meaning: str
    at_most: str | None = None
    step: float = 0.01


@dataclass(frozen=True)
class Rule(ABC):
    """An entry of the registry (`seedbed.seeds.fusion.RULES`)."""

    name: str
    summary: str
    parameters: tuple[Parameter, ...]

    @property
    @abstractmethod
    def needs_saliency(self) -> bool:
        """Whether the rule looks at saliency maps."""

    @property
    def swept(self) -> bool:
        """Whether `seedbed.study.tables` can evaluate every setting of it exactly."""
        return False

    @property
    def published(self) -> dict[str, float]:
        """The published value of every parameter."""
        return {parameter.name: parameter.published for parameter in self.parameters}

    def resolve(self, values: Values) -> dict[str, float]:
        """Complete `values` by published ones. UserError for unknown names, ranges, and a low above its high."""
        resolved = self.published
        for name, value in values.items():
            if name not in resolved:
                raise unknown_name(f"parameter of rule {self.name}", name, resolved)
            resolved[name] = float(value)
        for parameter in self.parameters:
            value = resolved[parameter.name]
            where = f"rule {self.name}: {parameter.name}"
            if not parameter.low <= value <= parameter.high:
                raise UserError(f"{where} must lie in {parameter.low}..{parameter.high}, not {value}")
            if parameter.at_most and value > resolved[parameter.at_most]:
                raise UserError(
                    f"{where} ({value}) must not exceed {parameter.at_most} ({resolved[parameter.at_most]})"
                )
        return resolved

    def apply(self, cams: Array, classes: Array, saliency: Mask | None, values: Values) -> Mask:
        """Return the pseudo-label uint8 [H,W]: ids 0..C, 255 = ignore.

        `cams`: class maps [K,H,W] in 0..1, float16 or float32, or what `compact` makes of them; `classes`: their
        0-based classes [K]; `saliency`: uint8 [H,W], read by rules that need it. `values` may leave parameters out:
        those are as published. Raises UserError for NaN in the maps, a saliency map that is missing or of another
        size, and bad values.
        """
        resolved, cams = self.resolve(values), np.asarray(cams)
        if self.needs_saliency:
            self._check_saliency(saliency, cams.shape[1:])
        return self._label(cams, np.asarray(classes) + 1, saliency, resolved)

    def compact(self, cams: Array) -> Array:
        """Return class maps [K,H,W] in the least memory that `apply` gives the same pseudo-label for."""
        return cams

    @abstractmethod
    def _label(self, cams: Array, ids: Array, saliency: Mask | None, values: Values) -> Mask:
        """Do what `apply` says, for the `ids` [K] of the classes; everything but NaN is checked."""

    def _check_saliency(self, saliency: Mask | None, shape: tuple[int, ...]) -> None:
        if saliency is None:
            raise UserError(f"rule {self.name} needs a saliency map for every image", "dvc repro predict-saliency")
        if saliency.shape != shape:
            height, width = saliency.shape
            raise UserError(
                f"saliency map of {width} x {height} pixels, class maps of {shape[1]} x {shape[0]}", "dvc repro"
            )


def strongest(scores: Array, ids: Array) -> tuple[npt.NDArray[np.float32], Mask]:
    """Return per pixel the highest of `scores` [K,H,W] (float32 [H,W]) and which of the `ids` [K] has it (uint8).

    Ties go to the lower id (halbielee/EPS infer.py). Without any id (K = 0) the score is 0 and the id 0. Raises
    UserError for NaN.
    """
    scores, ids = np.asarray(scores), np.asarray(ids, np.uint8)
    if len(ids) == 0:
        return np.zeros(scores.shape[1:], np.float32), np.zeros(scores.shape[1:], np.uint8)
    first, *others = np.argsort(ids)
    highest = scores[first].astype(np.float32)
    winner = np.full(highest.shape, ids[first])
    for index in others:
        better = scores[index] > highest
        np.maximum(
            winner, better.view(np.uint8) * ids[index], out=winner
        )  # ids ascend: the later winner is the maximum
        np.maximum(highest, scores[index], out=highest)
    check_numbers(highest)  # np.maximum hands every NaN on
    return highest, winner


def check_numbers(values: Array) -> None:
    """Raise UserError when class maps, or what was computed from them, hold NaN or infinity."""
    if not np.isfinite(values.max(initial=0)):
        raise UserError(
            "the class maps hold NaN or infinity", "dvc repro -f seeds, after a look at the localiser's loss curve"
        )
