"""Parity with the localisation maps of GuoleiSun/MCIS_wsss (commit 1fc8f75): merged, and at image size."""

from __future__ import annotations

import pytest
import torch
from golden.conftest import assert_all_used, load

from seedbed.seeds.related import aggregate, enlarge

AGGREGATED, SAVED = 1, 2  # grey levels

ARRAYS = load("mcis/localisation.npz")
SCENARIOS = range(int(ARRAYS["num_scenarios"]))
INPUTS = ("related", "pair_flip_map1", "pair_flip_map2", "pair_small_map2", "pair_large_map2")


def merged(index):
    return aggregate(*(torch.as_tensor(ARRAYS[f"s{index}_{name}"]) for name in INPUTS))


@pytest.mark.parametrize("index", SCENARIOS)
def test_merged_maps(near, index):
    assert len(merged(index)) == len(ARRAYS[f"s{index}_class_ids"])
    near(merged(index), ARRAYS[f"s{index}_aggregated"], absolute=AGGREGATED)


@pytest.mark.parametrize("index", SCENARIOS)
def test_maps_at_image_size(near, index):
    size = tuple(ARRAYS[f"s{index}_image_hw"].tolist())
    for maps in (merged(index), torch.as_tensor(ARRAYS[f"s{index}_aggregated"])):
        near(enlarge(maps, size), ARRAYS[f"s{index}_saved"], absolute=SAVED)


def test_every_array_is_used():
    names = (*INPUTS, "class_ids", "image_hw", "aggregated", "saved")
    assert_all_used(ARRAYS, {"num_scenarios"} | {f"s{index}_{name}" for index in SCENARIOS for name in names})
