"""Parity with the localisation maps of GuoleiSun/MCIS_wsss (commit 1fc8f75): merged, and at image size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden.conftest import FOLDER

from seedbed.seeds.related import aggregate, enlarge

AGGREGATED, SAVED = 1, 2  # grey levels

with np.load(FOLDER / "mcis" / "localisation.npz", allow_pickle=False) as stored:
    ARRAYS = dict(stored)
SCENARIOS = range(int(ARRAYS["num_scenarios"]))
INPUTS = ("related", "pair_flip_map1", "pair_flip_map2", "pair_small_map2", "pair_large_map2")


def merged(index):
    return aggregate(*(torch.as_tensor(ARRAYS[f"s{index}_{name}"]) for name in INPUTS))


def assert_levels(found, name, tolerance):
    expected = torch.as_tensor(ARRAYS[name])
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found.int(), expected.int(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("index", SCENARIOS)
def test_merged_maps(index):
    assert len(merged(index)) == len(ARRAYS[f"s{index}_class_ids"])
    assert_levels(merged(index), f"s{index}_aggregated", AGGREGATED)


@pytest.mark.parametrize("index", SCENARIOS)
def test_maps_at_image_size(index):
    size = tuple(ARRAYS[f"s{index}_image_hw"].tolist())
    assert_levels(enlarge(merged(index), size), f"s{index}_saved", SAVED)
    assert_levels(enlarge(torch.as_tensor(ARRAYS[f"s{index}_aggregated"]), size), f"s{index}_saved", SAVED)


def test_every_array_was_compared():
    names = (*INPUTS, "class_ids", "image_hw", "aggregated", "saved")
    assert set(ARRAYS) == {f"s{index}_{name}" for index in SCENARIOS for name in names} | {"num_scenarios"}
