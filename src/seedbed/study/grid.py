"""What an exact sweep tries: the values of every rule made of gates, and the thresholds that they come down to."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seedbed.seeds.fusion import find_gate_rule, find_rule
from seedbed.seeds.gates import Gate, GateRule
from seedbed.seeds.rules import Axis, Values

Indices = npt.NDArray[np.intp]
Axes = Mapping[Axis, tuple[float, ...]]


@dataclass(frozen=True)
class Grid:
    """The swept settings: `axes[rule][axis]` holds the values, ascending, that the parameters on this axis may take.

    An axis is the class score (`cam`) or the `saliency`; a setting gives every parameter a value of its axis. Two
    parameters on one axis bound an ignore band, and where they are equal the setting is *band-free*.
    """

    axes: Mapping[str, Axes]

    @classmethod
    def of(cls, rules: Sequence[str], cam_steps: int, saliency_steps: int) -> Grid:
        """Sweep those of `rules` that are made of gates over so many values per axis, published and tried ones too."""
        steps: dict[Axis, int] = {"cam": cam_steps, "saliency": saliency_steps}
        swept = [entry for entry in map(find_rule, rules) if isinstance(entry, GateRule)]
        return cls({entry.name: _axes(entry, steps) for entry in swept})

    @functools.cached_property
    def cam(self) -> tuple[float, ...]:
        """The thresholds on the class score behind all settings: ascending, distinct in float32."""
        return _distinct(gate.cam for by_axis in self._gates.values() for gate in by_axis.get("cam", ()))

    @functools.cached_property
    def saliency(self) -> tuple[float, ...]:
        """The thresholds on the saliency behind all settings; none where no rule looks at it."""
        return _distinct(gate.saliency for by_axis in self._gates.values() for gate in by_axis.get("saliency", ()))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cam bins and of saliency bins: bin n holds what exceeds exactly the n lowest thresholds."""
        return len(self.cam) + 1, len(self.saliency) + 1

    @property
    def text(self) -> str:
        """The grid as JSON, for files and fingerprints: equal grids give equal text."""
        return json.dumps([self.axes, self.cam, self.saliency], sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> Grid:
        """Read `text` of a grid. Raises ValueError where today's rules would bring its values to other thresholds."""
        axes, *_ = json.loads(text)
        grid = cls({rule: {axis: tuple(values) for axis, values in by.items()} for rule, by in axes.items()})
        if grid.text != text:
            raise ValueError("the rules have changed since")
        return grid

    def bins(self, gate: Gate) -> tuple[int, int]:
        """Return the lowest cam bin and saliency bin that pass `gate`; ValueError for thresholds off the grid."""
        return _bin(self.cam, gate.cam), 0 if gate.saliency is None else _bin(self.saliency, gate.saliency)

    def places(self, rule: str) -> tuple[Indices, Indices]:
        """Return for every value of `rule` on the cam axis, and on the saliency axis, the lowest bin that passes it.

        The saliency axis of a rule that does not look at it is one place, bin 0. TypeError for a rule that is not made
        of gates, KeyError for another that is not on the grid.
        """
        by_axis = self._gates[find_gate_rule(rule).name]
        cam = [_bin(self.cam, gate.cam) for gate in by_axis["cam"]]
        saliency = [_bin(self.saliency, gate.saliency or 0.0) for gate in by_axis.get("saliency", ())]
        return np.array(cam, np.intp), np.array(saliency or [0], np.intp)

    def values(self, rule: str, inner: Sequence[int], outer: Sequence[int]) -> dict[str, float]:
        """Return the setting of `rule` whose gates are given by (cam, saliency) indices of values on its axes."""
        entry, axes = find_gate_rule(rule), self.axes[rule]
        place: dict[Axis | None, int] = {"cam": 0, "saliency": 1}
        found = {}
        for parameter in entry.parameters:
            assert parameter.axis is not None  # of a gate rule none is
            index = (outer if parameter.at_most else inner)[place[parameter.axis]]
            found[parameter.name] = axes[parameter.axis][index]
        return found

    @functools.cached_property
    def _gates(self) -> dict[str, dict[Axis, list[Gate]]]:
        """By rule and axis the gate of every value: all parameters on the axis have it, the others are as published."""
        return {
            rule: {axis: [_gate(find_gate_rule(rule), axis, value) for value in values] for axis, values in by.items()}
            for rule, by in self.axes.items()
        }


def banded(rule: GateRule) -> bool:
    """Whether `rule` can leave pixels open."""
    return any(parameter.at_most for parameter in rule.parameters)


def _axes(rule: GateRule, steps: Mapping[Axis, int]) -> dict[Axis, tuple[float, ...]]:
    """Return the values that the parameters on each axis may take, ascending."""
    found: dict[Axis, set[float]] = {}
    for parameter in rule.parameters:
        assert parameter.axis is not None  # of a gate rule none is
        found.setdefault(parameter.axis, set()).update(parameter.values(steps[parameter.axis]))
    return {axis: tuple(sorted(values)) for axis, values in found.items()}


def _gate(rule: GateRule, axis: Axis, value: float) -> Gate:
    setting: Values = rule.published | {one.name: value for one in rule.parameters if one.axis == axis}
    return rule.gates(setting)[0]


def _distinct(thresholds: Iterable[float | None]) -> tuple[float, ...]:
    """Return what differs in float32, each as the shortest decimal that stands for it there."""
    return tuple(sorted({float(str(np.float32(threshold))) for threshold in thresholds}))


def _bin(thresholds: Sequence[float], threshold: float) -> int:
    return thresholds.index(float(str(np.float32(threshold)))) + 1
