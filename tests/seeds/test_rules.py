import numpy as np
import pytest
import torch

from seedbed.errors import UserError
from seedbed.seeds.fusion import find_rule, resolve_values
from seedbed.seeds.rules import strongest


def one_row(*scores):
    """One class, one row of pixels with these scores."""
    return np.array([[scores]], np.float32), np.array([4])


def test_an_image_without_classes_is_background():
    mask = find_rule("threshold").apply(np.zeros((0, 2, 3), np.float32), np.zeros(0, np.int64), None, {"threshold": 0})
    assert mask.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_tensors_are_maps_too():
    mask = find_rule("threshold").apply(torch.tensor([[[0.3]]]), torch.tensor([0]), None, {})
    assert mask.tolist() == [[1]]


def test_nan_is_refused_in_any_class():
    for place in (0, 1):
        cams = np.full((2, 1, 2), 0.5, np.float32)
        cams[place, 0, 1] = np.nan
        with pytest.raises(UserError, match="NaN"):
            strongest(cams, np.array([1, 2]))


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
