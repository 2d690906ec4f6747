"""Parity with the attention accumulation of OAA as GuoleiSun/MCIS_wsss (commit 1fc8f75) keeps it."""

from __future__ import annotations

import numpy as np
import pytest
from golden.conftest import assert_all_used, load

from seedbed.seeds.accumulate import accumulate

TOLERANCE = 1  # grey level

ARRAYS = load("mcis/oaa_accumulation.npz")
CAMS = ARRAYS["cam_positive"]


def test_there_is_a_map_for_every_label():
    assert sorted(ARRAYS["positives"].tolist()) == np.argwhere(ARRAYS["label"]).tolist()
    assert ARRAYS["accumulated"].shape == CAMS.shape
    assert len(CAMS) == ARRAYS["total_epochs"]


@pytest.mark.parametrize("pair", range(len(ARRAYS["positives"])))
def test_maps_after_every_epoch(near, pair):
    accumulated = None
    for epoch, cams in enumerate(CAMS):
        accumulated = accumulate(accumulated, cams[pair], epoch, len(CAMS))
        assert (accumulated is not None) == bool(ARRAYS["exists"][epoch, pair])
        expected = ARRAYS["accumulated"][epoch, pair]
        near(np.zeros_like(expected) if accumulated is None else accumulated, expected, absolute=TOLERANCE)


def test_every_array_is_used():
    """All but `start_index`: it is part of the published file names, not of a result."""
    used = {"label", "positives", "cam_positive", "total_epochs", "exists", "accumulated"}
    assert_all_used(ARRAYS.keys() - {"start_index"}, used)
