"""Parity with gen_gt.py of GuoleiSun/MCIS_wsss (commit 1fc8f75): every scene's pseudo-label, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from golden.conftest import FOLDER

from seedbed.errors import UserError
from seedbed.seeds.fusion import find_rule

with np.load(FOLDER / "mcis" / "gen_gt.npz", allow_pickle=False) as stored:
    ARRAYS = dict(stored)
SCENES = range(int(ARRAYS["num_scenes"]))


def scene(index):
    """Return class maps [K,H,W] (8 bits), their classes [K], saliency, label, and whether a label is written."""
    names = ("present", "attention", "class_ids", "saliency", "label", "written")
    present, attention, classes, saliency, label, written = (ARRAYS[f"s{index}_{name}"] for name in names)
    return attention[present == 1], classes[present == 1], saliency, label, written


def stored_as_seeds(attention):
    """Return 8-bit maps as the map store gives them back: levels in 0..1 that went through float16."""
    return (attention / np.float32(255)).astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("index", SCENES, ids=ARRAYS["names"].tolist())
@pytest.mark.parametrize("convert", [np.asarray, stored_as_seeds])
def test_pseudo_labels(index, convert):
    attention, classes, saliency, label, written = scene(index)
    rule = find_rule("mcis")
    if written:
        mask = rule.apply(convert(attention), classes, saliency, {})
        assert mask.dtype == label.dtype
        np.testing.assert_array_equal(mask, label)
        return
    assert saliency.size == 0
    assert label.size == 0
    with pytest.raises(UserError, match="needs a saliency map"):
        rule.apply(convert(attention), classes, None, {})


def test_every_array_was_compared():
    names = ("saliency", "class_ids", "present", "attention", "written", "label")
    expected = {f"s{index}_{name}" for index in SCENES for name in names}
    assert set(ARRAYS) == expected | {"names", "num_scenes"}
    assert len(ARRAYS["names"]) == len(SCENES)
