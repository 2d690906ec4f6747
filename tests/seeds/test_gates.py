import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seedbed.seeds.fusion import find_rule
from seedbed.seeds.gates import background_threshold


def one_row(*scores):
    """One class, one row of pixels with these scores."""
    return np.array([[scores]], np.float32), np.array([4])


def test_threshold_keeps_the_strongest_class_above_the_background():
    cams = np.array([[[0.5, 0.1, 0.3]], [[0.4, 0.15, 0.9]]], np.float32)
    mask = find_rule("threshold").apply(cams, np.array([2, 6]), None, {"threshold": 0.2})
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[3, 0, 7]]


def test_a_score_equal_to_the_threshold_in_float32_is_background():
    cams, classes = one_row(np.float32(0.2), np.nextafter(np.float32(0.2), np.float32(1)))
    assert find_rule("threshold").apply(cams, classes, None, {"threshold": 0.2}).tolist() == [[0, 5]]


def test_ties_between_classes_go_to_the_lower_id_in_whatever_order_they_come():
    cams = np.full((3, 1, 1), 0.7, np.float16)
    assert find_rule("threshold").apply(cams, np.array([9, 1, 5]), None, {}).tolist() == [[2]]


def test_saliency_gate_has_an_ignore_band_between_its_gates():
    cams, classes = one_row(0.9, 0.9, 0.9, 0.5, 0.1, 0.5)
    saliency = np.array([[255, 128, 10, 255, 255, 10]], np.uint8)
    values = {"cam_low": 0.2, "cam_high": 0.6, "saliency_low": 0.2, "saliency_high": 0.8}
    assert find_rule("saliency-gate").apply(cams, classes, saliency, values).tolist() == [[5, 255, 0, 255, 0, 0]]


def test_saliency_is_compared_strictly():
    cams, classes = one_row(1, 1)
    values = {"saliency_low": 51 / 255, "saliency_high": 51 / 255}
    saliency = np.array([[51, 52]], np.uint8)
    assert find_rule("saliency-gate").apply(cams, classes, saliency, values).tolist() == [[0, 5]]


@given(
    cams=hnp.arrays(np.float16, (3, 4, 5), elements=st.sampled_from([0, 0.1, 0.2, 0.5, 1])),
    saliency=hnp.arrays(np.uint8, (4, 5)),
    thresholds=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_saliency_gate_agrees_with_its_definition(cams, saliency, thresholds):
    cam_low, cam_high = sorted(thresholds[:2])
    saliency_low, saliency_high = sorted(thresholds[2:])
    values = {
        "cam_low": cam_low,
        "cam_high": cam_high,
        "saliency_low": saliency_low,
        "saliency_high": saliency_high,
    }
    mask = find_rule("saliency-gate").apply(cams, np.array([0, 1, 2]), saliency, values)
    low, high, grey_low, grey_high = (np.float32(values[name]) for name in values)
    for pixel in np.ndindex(mask.shape):
        scores = cams[(slice(None), *pixel)].astype(np.float32)
        grey = np.float32(saliency[pixel]) / np.float32(255)
        if scores.max() > high and grey > grey_high:
            expected = int(np.flatnonzero(scores == scores.max())[0]) + 1
        elif scores.max() <= low or grey <= grey_low:
            expected = 0
        else:
            expected = 255
        assert mask[pixel] == expected


FLOAT16 = np.arange(0x3C01, dtype=np.uint16).view(np.float16).astype(np.float32)  # all of them in 0..1
ALPHAS = find_rule("alpha").parameters[0].values(20)


def exceeds_background(scores, alpha):
    """The rule as published, in float32: jiwoon-ahn/psa infer_cls.py."""
    return scores > np.power(1 - scores, np.float32(alpha))


@pytest.mark.parametrize("alpha", ALPHAS)
def test_alpha_agrees_with_its_definition_on_every_float16(alpha):
    inside = np.float32(background_threshold(alpha)) < FLOAT16
    assert np.array_equal(inside, exceeds_background(FLOAT16, alpha))
    mask = find_rule("alpha").apply(FLOAT16[None, None].astype(np.float16), np.array([4]), None, {"alpha": alpha})
    assert np.array_equal(mask[0], np.where(inside, 5, 0))


@given(scores=hnp.arrays(np.float32, 100, elements=st.floats(0, 1, width=32)), alpha=st.floats(1, 64))
def test_alpha_agrees_with_its_definition_on_float32(scores, alpha):
    inside = scores > np.float32(background_threshold(alpha))
    assert np.array_equal(inside, exceeds_background(scores, alpha))


@given(alpha=st.floats(1, 64))
def test_the_threshold_of_alpha_lies_between_two_neighbours(alpha):
    threshold = np.float32(background_threshold(alpha))
    for score, expected in ((threshold, False), (np.nextafter(threshold, np.float32(1)), True)):
        power = np.float32(float(np.float32(1) - score) ** float(np.float32(alpha)))  # rounded once
        assert (score > power) == expected


def test_a_score_equal_to_the_background_of_alpha_is_background():
    cams, classes = one_row(0.5, np.nextafter(np.float32(0.5), np.float32(1)))
    assert find_rule("alpha").apply(cams, classes, None, {"alpha": 1}).tolist() == [[0, 5]]
