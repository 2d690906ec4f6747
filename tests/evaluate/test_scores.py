import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seedbed.evaluate.confusion import confusion
from seedbed.evaluate.scores import PRIMARY, VARIANTS, miou_variants, scores

NUM_IDS = 4
ids_and_ignore = st.sampled_from([*range(NUM_IDS), 255])
masks = hnp.arrays(np.uint8, (5, 6), elements=ids_and_ignore)
variants = st.sampled_from(sorted(VARIANTS))
matrices = hnp.arrays(np.int64, (NUM_IDS, NUM_IDS + 1), elements=st.integers(0, 50))


def slow_iou(truth, prediction, ignore):
    """IoU per class as sets of pixels, None for a class in neither mask."""
    pixels = [(t, p) for t, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True) if t != 255]
    if ignore == "drop":
        pixels = [(t, p) for t, p in pixels if p != 255]
    ious = []
    for k in range(NUM_IDS):
        in_truth = {i for i, (t, _) in enumerate(pixels) if t == k}
        in_prediction = {i for i, (_, p) in enumerate(pixels) if p == k}
        union = in_truth | in_prediction
        ious.append(len(in_truth & in_prediction) / len(union) if union else None)
    return ious


def slow_miou(ious, absent):
    known = [0.0 if value is None else value for value in ious if value is not None or absent == "zero"]
    return sum(known) / len(known) if known else math.nan


def same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12, equal_nan=True)


@given(masks, masks, variants)
def test_equals_a_slow_reference(truth, prediction, name):
    variant = VARIANTS[name]
    result = scores(confusion(truth, prediction, NUM_IDS), variant.ignore, variant.absent)
    ious = slow_iou(truth, prediction, variant.ignore)
    same(result.iou, [math.nan if value is None else value for value in ious])
    same(result.miou, slow_miou(ious, variant.absent))


@given(masks, masks)
def test_precision_recall_coverage_and_accuracy_are_the_shares_they_say(truth, prediction):
    result = scores(confusion(truth, prediction, NUM_IDS))
    counted = truth != 255
    right = (truth == prediction) & counted
    for k in range(NUM_IDS):
        said, true = (prediction == k) & counted, truth == k
        same(result.precision[k], right[said].mean() if said.any() else math.nan)
        same(result.recall[k], right[true].mean() if true.any() else math.nan)
    same(result.accuracy, right[counted].mean() if counted.any() else math.nan)
    same(result.coverage, (prediction[counted] != 255).mean() if counted.any() else math.nan)


@given(matrices, variants, st.permutations(range(NUM_IDS)))
def test_permuting_the_classes_permutes_the_iou_and_keeps_the_mean(conf, name, order):
    variant = VARIANTS[name]
    before = scores(conf, variant.ignore, variant.absent)
    after = scores(conf[np.ix_(order, [*order, NUM_IDS])], variant.ignore, variant.absent)
    same(after.iou, before.iou[order])
    same(after.miou, before.miou)


@given(matrices)
def test_every_score_is_a_fraction_and_the_zero_mean_is_never_higher(conf):
    for ignore in ("error", "drop"):
        skip, zero = scores(conf, ignore, "skip"), scores(conf, ignore, "zero")
        for values in vars(skip).values():
            finite = np.asarray(values)[np.isfinite(values)]
            assert np.all((finite >= 0) & (finite <= 1))
        assert math.isnan(skip.miou) or zero.miou <= skip.miou + 1e-12


@given(matrices)
def test_dropping_ignored_pixels_never_lowers_an_iou(conf):
    strict, lenient = scores(conf, "error").iou, scores(conf, "drop").iou
    both = np.isfinite(strict) & np.isfinite(lenient)
    assert np.all(lenient[both] >= strict[both])


@given(matrices, st.integers(0, NUM_IDS - 1), st.integers(1, 20))
def test_leaving_pixels_unlabelled_costs_unless_they_are_dropped(conf, k, pixels):
    more = conf.copy()
    more[k, k] += 1
    fewer = more.copy()
    fewer[k, NUM_IDS] += pixels
    same(scores(fewer, "drop").iou, scores(more, "drop").iou)
    assert scores(fewer, "error").iou[k] < scores(more, "error").iou[k]


@given(hnp.arrays(np.int64, (2, 3, NUM_IDS, NUM_IDS + 1), elements=st.integers(0, 9)), variants)
def test_leading_dimensions_are_scored_one_by_one(conf, name):
    variant = VARIANTS[name]
    together = scores(conf, variant.ignore, variant.absent)
    for index in np.ndindex(2, 3):
        alone = scores(conf[index], variant.ignore, variant.absent)
        for field, value in vars(alone).items():
            same(getattr(together, field)[index], value)


def test_a_perfect_prediction_scores_one_in_every_variant():
    assert miou_variants(np.eye(3, 4, dtype=int)) == dict.fromkeys(VARIANTS, 1.0)


def test_an_absent_class_is_skipped_or_zero():
    conf = np.diag([5, 5, 0])
    conf = np.pad(conf, ((0, 0), (0, 1)))
    expected = {"error-skip": 1, "drop-skip": 1, "error-zero": 2 / 3, "drop-zero": 2 / 3}
    assert miou_variants(conf) == pytest.approx(expected)


def test_a_class_predicted_but_not_true_counts_in_both_means():
    conf = np.array([[3, 1, 0], [0, 0, 0]])
    assert miou_variants(conf) == pytest.approx(dict.fromkeys(VARIANTS, 0.75 / 2))


def test_nothing_labelled_scores_nan_and_zero_coverage():
    conf = np.array([[0, 0, 7], [0, 0, 0]])
    assert scores(conf).miou == 0
    assert scores(conf).coverage == 0
    assert math.isnan(scores(conf, "drop").miou)
    assert math.isnan(scores(np.zeros((2, 3), int)).miou)


def test_the_primary_variant_is_the_default():
    conf = np.array([[4, 1, 3], [2, 5, 1]])
    assert float(scores(conf).miou) == miou_variants(conf)[PRIMARY]


def test_an_unknown_variant_is_refused():
    with pytest.raises(KeyError):
        scores(np.ones((2, 3)), ignore="errors")
    with pytest.raises(KeyError):
        scores(np.ones((2, 3)), absent="skipped")
