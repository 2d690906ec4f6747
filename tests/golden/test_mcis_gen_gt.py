"""Parity with gen_gt.py of GuoleiSun/MCIS_wsss (commit 1fc8f75): every scene's pseudo-label, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from golden.conftest import assert_all_used, load

from seedbed.errors import UserError
from seedbed.seeds.fusion import find_rule

ARRAYS = load("mcis/gen_gt.npz")
SCENES = range(int(ARRAYS["num_scenes"]))
NAMES = ("present", "attention", "class_ids", "saliency", "label", "written")


def scene(index):
    """Return class maps [K,H,W] (8 bits), their classes [K], saliency, label, and whether a label is written."""
    present, attention, classes, saliency, label, written = (ARRAYS[f"s{index}_{name}"] for name in NAMES)
    return attention[present == 1], classes[present == 1], saliency, label, written


def stored_as_seeds(attention):
    """Return 8-bit maps as the map store gives them back: levels in 0..1 that went through float16."""
    return (attention / np.float32(255)).astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("index", SCENES, ids=ARRAYS["names"].tolist())
@pytest.mark.parametrize("convert", [np.asarray, stored_as_seeds])
def test_pseudo_labels(near, index, convert):
    attention, classes, saliency, label, written = scene(index)
    rule = find_rule("mcis")
    if written:
        near(rule.apply(convert(attention), classes, saliency, {}), label, absolute=0)
        return
    assert saliency.size == 0
    assert label.size == 0
    with pytest.raises(UserError, match="needs a saliency map"):
        rule.apply(convert(attention), classes, None, {})


def test_every_array_is_used():
    used = {f"s{index}_{name}" for index in SCENES for name in NAMES}
    assert_all_used(ARRAYS, {"names", "num_scenes"} | used)
