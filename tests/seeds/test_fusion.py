import pytest

from seedbed.errors import UserError
from seedbed.seeds.fusion import RULES, find_gate_rule, find_rule, published_values, resolve_values


def test_published_values_are_valid_and_fill_in():
    for rule in RULES:
        assert resolve_values(rule, {}) == published_values(rule)
    assert resolve_values("saliency-gate", {"cam_high": 0.3})["saliency_high"] == 0.5


def test_gate_rules_are_the_ones_that_can_be_swept():
    assert [name for name, rule in RULES.items() if rule.swept] == ["threshold", "saliency-gate"]
    assert find_gate_rule("threshold") is find_rule("threshold")
    with pytest.raises(TypeError, match="mcis is not made of gates"):
        find_gate_rule("mcis")


def test_rules_say_whether_they_need_saliency():
    assert [name for name, rule in RULES.items() if rule.needs_saliency] == ["saliency-gate", "mcis", "oaa"]


def test_an_unknown_rule_is_named_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'threshold'"):
        find_rule("treshold")
