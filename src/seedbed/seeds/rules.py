"""What a fusion rule is: named parameters, and how class maps and saliency become a pseudo-label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from seedbed.errors import UserError, unknown_name
from seedbed.seeds.batch import Array, ClassMaps, MapBatch, Mask, about, ignore

Axis = Literal["cam", "saliency"]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Parameter:
    """A number of a rule in `low`..`high`, never above parameter `at_most`; searched by its logarithm where `log`.

    `axis`: of an exact sweep, whether it decides about the strongest class score or about the saliency; None for a
    rule that is not swept. Such a rule is searched in steps of `step`. `tried`: values that a publication tried on
    ground truth, part of every sweep.
    """

    name: str
    axis: Axis | None
    low: float
    high: float
    published: float
    meaning: str
    at_most: str | None = None
    step: float = 0.01
    log: bool = False
    tried: tuple[float, ...] = ()

    def values(self, steps: int) -> tuple[float, ...]:
        """Return what a sweep tries, ascending: `steps` values (2 or more), the published one, and those `tried`.

        Evenly in [low, high); where `log`, geometrically in [low, high].
        """
        if self.log:
            spread = [self.low * (self.high / self.low) ** (step / (steps - 1)) for step in range(steps)]
        else:
            spread = [self.low + (self.high - self.low) * step / steps for step in range(steps)]
        return tuple(sorted({*(round(value, 6) for value in spread), self.published, *self.tried}))


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

    def label(self, batch: MapBatch, values: Values) -> Tensor:
        """Return the pseudo-labels of a batch, uint8 [N,H,W] where the batch is: ids 0..C, 255 = ignore and padding.

        Scores are compared in float32. `values` may leave parameters out: those are as published. Raises UserError
        naming the image for NaN in the maps and a saliency map that is missing, and for bad values.
        """
        resolved = self.resolve(values)
        if self.needs_saliency and batch.saliency is None:
            message = f"rule {self.name} needs a saliency map for every image"
            raise about(batch.names[0], message, "dvc repro predict-saliency")
        labels = self._label(batch, resolved)
        return labels if batch.inside is None else ignore(labels, ~batch.inside)

    def apply(self, cams: Array, classes: Array, saliency: Mask | None, values: Values) -> Mask:
        """Return the pseudo-label uint8 [H,W] of one image: `label` of a batch of one, errors without a name.

        `cams`: class maps [K,H,W] in 0..1, float16 or float32, or what `compact` makes of them; `classes`: their
        0-based classes [K]; `saliency`: uint8 [H,W], read by rules that need it.
        """
        batch = MapBatch.of([ClassMaps("", cams, classes, saliency)], saliency=self.needs_saliency)
        labels: Mask = self.label(batch, values)[0].numpy()
        return labels

    def compact(self, cams: Array) -> Array:
        """Return class maps [K,H,W] in the least memory that `apply` gives the same pseudo-label for."""
        return cams

    @abstractmethod
    def _label(self, batch: MapBatch, values: Values) -> Tensor:
        """Do what `label` says, whatever padding gets; everything but the numbers of the maps is checked."""
