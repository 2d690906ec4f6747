"""Parity with the evaluators of halbielee/EPS (commit 0c2cdd0, first release): masks at a threshold, every score."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from seedbed.evaluate.confusion import confusion
from seedbed.evaluate.scores import scores
from seedbed.seeds.fusion import find_rule

FOLDER = Path(os.environ.get("SEEDBED_GOLDEN", Path(__file__).parent / "cases")) / "eps"
CASES = json.loads((FOLDER / "evaluation.json").read_text())
SCORES = ("miou", "iou", "precision", "recall", "accuracy")


@pytest.fixture(scope="module")
def arrays():
    with np.load(FOLDER / "evaluation.npz", allow_pickle=False) as stored:
        return dict(stored)


def masks_at(arrays, case, image, threshold):
    keys, cams = arrays[f"{case}_img{image}_keys"], arrays[f"{case}_img{image}_cams"]
    return find_rule("threshold").apply(cams, keys, None, {"threshold": threshold})


def crop_or_pad(prediction, shape):
    """Do what the published evaluator does about another size: crop, or pad by background, at the bottom right."""
    fitted = np.zeros(shape, np.uint8)
    height, width = np.minimum(prediction.shape, shape)
    fitted[:height, :width] = prediction[:height, :width]
    return fitted


def assert_scores(arrays, case, result, index=()):
    for name in SCORES:
        np.testing.assert_allclose(
            getattr(result, name), arrays[f"{case}_{name}"][index], rtol=0, atol=1e-9, err_msg=name
        )


@pytest.mark.parametrize("case", [case for case in CASES if case != "mismatch"])
def test_scores_over_all_thresholds(arrays, case):
    settings = CASES[case]
    for index, threshold in enumerate(arrays[f"{case}_thresholds"]):
        conf = sum(
            confusion(
                arrays[f"{case}_img{image}_gt"], masks_at(arrays, case, image, threshold), settings["num_classes"]
            )
            for image in range(settings["images"])
        )
        assert_scores(arrays, case, scores(conf, ignore="drop"), index)
        if settings["first_release"]:
            first = scores(conf, ignore="drop", absent="zero").miou
            np.testing.assert_allclose(first, arrays[f"{case}_miou_first_release"][index], rtol=0, atol=1e-8)


@pytest.mark.parametrize("case", [case for case in CASES if case != "mismatch"])
def test_masks_at_the_published_threshold(arrays, case):
    masks = [masks_at(arrays, case, image, 0.20).ravel() for image in range(CASES[case]["images"])]
    np.testing.assert_array_equal(np.concatenate(masks), arrays[f"{case}_pred_at_0.20"])


def test_masks_of_another_size_and_ignore_in_the_prediction(arrays):
    settings = CASES["mismatch"]
    conf = 0
    for image in range(settings["images"]):
        truth = arrays[f"mismatch_img{image}_gt"]
        conf += confusion(truth, crop_or_pad(arrays[f"mismatch_img{image}_pred"], truth.shape), settings["num_classes"])
    np.testing.assert_array_equal(conf[:, :-1], arrays["mismatch_hist"])
    assert conf[:, -1].sum() > 0
    assert_scores(arrays, "mismatch", scores(conf, ignore="drop"))
