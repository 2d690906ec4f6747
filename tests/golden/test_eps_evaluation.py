"""Parity with the evaluators of halbielee/EPS (commit 0c2cdd0, first release): masks at a threshold, every score."""

from __future__ import annotations

import numpy as np
from golden.conftest import assert_all_used

from seedbed.evaluate.confusion import confusion, fit_to
from seedbed.evaluate.scores import scores
from seedbed.seeds.fusion import find_rule

GOLDEN = ("eps", "evaluation")
KINDS = {"swept": "thresholds", "first_release": "miou_first_release", "given": "hist"}
SCORES = ("miou", "iou", "precision", "recall", "accuracy")


def recorded_masks(case, arrays):
    """The masks of all images of the case, flattened, by the threshold that made them; none for a case `given`."""
    prefix = f"{case}_pred_at_"
    return {name.removeprefix(prefix): masks for name, masks in arrays.items() if name.startswith(prefix)}


def masks_at(case, settings, arrays, threshold):
    """The masks of all images of the case at `threshold`."""
    rule, prefixes = find_rule("threshold"), [f"{case}_img{image}" for image in range(settings["images"])]
    maps = [(arrays[f"{prefix}_cams"], arrays[f"{prefix}_keys"]) for prefix in prefixes]
    return [rule.apply(cams, keys, None, {"threshold": threshold}) for cams, keys in maps]


def total_confusion(case, settings, arrays, masks):
    """The confusion matrix of all images of the case, each mask cropped or padded to the size of its truth."""
    total = np.zeros((settings["num_classes"], settings["num_classes"] + 1), np.int64)
    for image, mask in enumerate(masks):
        truth = arrays[f"{case}_img{image}_gt"]
        total += confusion(truth, fit_to(mask, truth.shape), settings["num_classes"])
    return total


def confusions(case, settings, arrays):
    """The confusion matrices of the case, one per threshold."""
    masks = [masks_at(case, settings, arrays, threshold) for threshold in arrays[f"{case}_thresholds"]]
    return np.stack([total_confusion(case, settings, arrays, group) for group in masks])


def test_scores_over_all_thresholds(golden, near, swept):
    settings, arrays = golden(*GOLDEN)
    result = scores(confusions(swept, settings[swept], arrays), ignore="drop")
    for name in SCORES:
        near(getattr(result, name), arrays[f"{swept}_{name}"], absolute=1e-9)


def test_miou_of_the_first_release(golden, near, first_release):
    settings, arrays = golden(*GOLDEN)
    result = scores(confusions(first_release, settings[first_release], arrays), ignore="drop", absent="zero")
    near(result.miou, arrays[f"{first_release}_miou_first_release"], absolute=1e-8)


def test_masks_at_the_recorded_thresholds(golden, near, swept):
    settings, arrays = golden(*GOLDEN)
    recorded = recorded_masks(swept, arrays)
    assert recorded
    for threshold, expected in recorded.items():
        masks = masks_at(swept, settings[swept], arrays, float(threshold))
        near(np.concatenate([mask.ravel() for mask in masks]), expected, absolute=0)


def test_masks_of_another_size_and_ignore_in_the_prediction(golden, near, given):
    settings, arrays = golden(*GOLDEN)
    masks = [arrays[f"{given}_img{image}_pred"] for image in range(settings[given]["images"])]
    matrix = total_confusion(given, settings[given], arrays, masks)
    near(matrix[:, :-1].astype(np.float64), arrays[f"{given}_hist"], absolute=0)
    result = scores(matrix, ignore="drop")
    for name in SCORES:
        near(getattr(result, name), arrays[f"{given}_{name}"], absolute=1e-9)


def test_every_array_is_used(golden):
    settings, arrays = golden(*GOLDEN)
    used = set()
    for case, setting in settings.items():
        thresholds = recorded_masks(case, arrays)
        of_image, of_case = (("keys", "cams", "gt"), ["thresholds"]) if thresholds else (("pred", "gt"), ["hist"])
        of_case += [*SCORES, *(f"pred_at_{threshold}" for threshold in thresholds)]
        of_case += ["miou_first_release"] if setting.get("first_release") else []
        used |= {f"{case}_{name}" for name in of_case}
        used |= {f"{case}_img{image}_{name}" for image in range(setting["images"]) for name in of_image}
    assert_all_used(arrays, used)
