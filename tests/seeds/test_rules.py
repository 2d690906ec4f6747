import numpy as np
import pytest
import torch

from seedbed.errors import UserError
from seedbed.seeds.fusion import RULES, find_rule, resolve_values
from seedbed.seeds.rules import Parameter


def one_row(*scores):
    """One class, one row of pixels with these scores."""
    return np.array([[scores]], np.float32), np.array([4])


def test_an_image_without_classes_is_background():
    mask = find_rule("threshold").apply(np.zeros((0, 2, 3), np.float32), np.zeros(0, np.int64), None, {"threshold": 0})
    assert mask.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_tensors_are_maps_too():
    mask = find_rule("threshold").apply(torch.tensor([[[0.3]]]), torch.tensor([0]), None, {})
    assert mask.tolist() == [[1]]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("broken", [np.nan, -np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_nan_is_refused_in_any_class_by_every_rule(rule, broken, place):
    cams = np.full((2, 1, 2), 0.5, np.float32)
    cams[place, 0, 1] = broken
    with pytest.raises(UserError, match=r"^the class maps hold NaN"):
        find_rule(rule).apply(cams, np.array([1, 2]), np.zeros((1, 2), np.uint8), {})


def test_a_missing_or_unfitting_saliency_map_is_refused():
    cams, classes = one_row(0.5, 0.5)
    with pytest.raises(UserError, match="needs a saliency map"):
        find_rule("saliency-gate").apply(cams, classes, None, {})
    with pytest.raises(UserError, match=r"3 x 1 pixels.*2 x 1"):
        find_rule("saliency-gate").apply(cams, classes, np.zeros((1, 3), np.uint8), {})


@pytest.mark.parametrize(
    ("rule", "values", "message"),
    [
        ("treshold", {}, "did you mean 'threshold'"),
        ("threshold", {"treshold": 0.2}, "did you mean 'threshold'"),
        ("threshold", {"threshold": 1.5}, "must lie in"),
        ("threshold", {"threshold": float("nan")}, "must lie in"),
        ("saliency-gate", {"cam_low": 0.4, "cam_high": 0.3}, r"cam_low \(0.4\) must not exceed cam_high \(0.3\)"),
        ("saliency-gate", {"saliency_high": 0.3}, "saliency_low .* must not exceed"),
    ],
)
def test_bad_values_are_named(rule, values, message):
    with pytest.raises(UserError, match=message):
        resolve_values(rule, values)


def test_a_sweep_tries_even_values_the_published_one_and_those_of_a_publication():
    parameter = Parameter("threshold", "cam", 0.0, 1.0, 0.2, "", tried=(0.6, 0.15))
    assert parameter.values(4) == (0.0, 0.15, 0.2, 0.25, 0.5, 0.6, 0.75)
    assert parameter.values(5) == (0.0, 0.15, 0.2, 0.4, 0.6, 0.8)


def test_a_sweep_tries_geometric_values_on_a_logarithmic_scale():
    parameter = Parameter("alpha", "cam", 1.0, 64.0, 16.0, "", log=True)
    assert parameter.values(4) == (1.0, 4.0, 16.0, 64.0)
    assert parameter.values(2) == (1.0, 16.0, 64.0)
