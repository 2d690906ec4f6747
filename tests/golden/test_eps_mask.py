"""Parity of the `threshold` rule with the masks that halbielee/EPS saves: spec section 6, step 5."""

import numpy as np

from seedbed.seeds.fusion import find_rule

GOLDEN = ("eps", "cam")


def test_masks_are_those_of_the_official_code(golden, case):
    settings, arrays = golden(*GOLDEN)
    cams, keys = arrays[f"{case}_cam"], arrays[f"{case}_keys"]
    mask = find_rule("threshold").apply(cams, keys, None, {"threshold": settings[case]["threshold"]})
    assert np.array_equal(mask, arrays[f"{case}_pred"])
