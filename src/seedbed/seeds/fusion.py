"""The registry of fusion rules: how the class maps of an image, and its saliency map, become a pseudo-label.

A new rule is one more entry of `RULES`: a `GateRule` (seedbed.seeds.gates), which the study sweeps exactly, or any
other `Rule`, which the study applies anew for every setting it tries.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import torch

from seedbed.errors import unknown_name
from seedbed.seeds import contest, gates
from seedbed.seeds.batch import MapBatch, MappedImage, Mask
from seedbed.seeds.gates import GateRule
from seedbed.seeds.rules import Rule, Values

_RULES = (gates.THRESHOLD, gates.ALPHA, gates.SALIENCY_GATE, contest.MCIS, contest.OAA, contest.ARGMAX)
RULES: dict[str, Rule] = {rule.name: rule for rule in _RULES}


def find_rule(name: str) -> Rule:
    """Return the rule called `name`. Raises UserError with the nearest known name."""
    if name not in RULES:
        raise unknown_name("fusion rule", name, RULES)
    return RULES[name]


def find_gate_rule(name: str) -> GateRule:
    """Return the rule called `name`, which must be made of gates (TypeError). Raises UserError for unknown names."""
    rule = find_rule(name)
    if not isinstance(rule, GateRule):
        raise TypeError(f"rule {name} is not made of gates and cannot be swept")
    return rule


def published_values(rule: str) -> dict[str, float]:
    """Return the published value of every parameter of `rule`."""
    return find_rule(rule).published


def resolve_values(rule: str, values: Values) -> dict[str, float]:
    """Complete `values` by published ones. Raises UserError for unknown names, ranges, and a low above its high."""
    return find_rule(rule).resolve(values)


def fuse(
    rule: Rule, values: Values, images: Iterable[MappedImage], device: torch.device | None = None, batch: int = 0
) -> Iterator[tuple[str, Mask]]:
    """Yield (name, pseudo-label uint8 [H,W]) of `images`, in order, computed `batch` at a time on `device`.

    0 = as many as are fastest: on a GPU several, on the CPU one, which stays in its cache. Raises UserError as
    `Rule.label` and `MapBatch.of` do, naming the image.
    """
    stream, batch = iter(images), batch or (8 if device is not None and device.type == "cuda" else 1)
    while several := list(itertools.islice(stream, batch)):
        maps = MapBatch.of(several, device, saliency=rule.needs_saliency)
        labels = rule.label(maps, values).cpu().numpy()
        for name, (height, width), label in zip(maps.names, maps.sizes, labels, strict=True):
            yield name, label[:height, :width].copy()
