"""The registry of fusion rules: how the class maps of an image, and its saliency map, become a pseudo-label.

A new rule is one more entry of `RULES`: a `GateRule` (seedbed.seeds.gates), which the study sweeps exactly, or any
other `Rule`, which the study applies anew for every setting it tries.
"""

from __future__ import annotations

from seedbed.errors import unknown_name
from seedbed.seeds import contest, gates
from seedbed.seeds.gates import GateRule
from seedbed.seeds.rules import Rule, Values

RULES: dict[str, Rule] = {rule.name: rule for rule in (gates.THRESHOLD, gates.SALIENCY_GATE, contest.MCIS, contest.OAA)}


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
