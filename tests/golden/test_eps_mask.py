"""The `threshold` rule makes the masks that halbielee/EPS saves: spec section 6, step 5."""

from __future__ import annotations

from seedbed.seeds.fusion import find_rule

GOLDEN = ("eps", "cam")


def test_masks(golden, near, case):
    settings, arrays = golden(*GOLDEN)
    cams, keys = arrays[f"{case}_cam"], arrays[f"{case}_keys"]
    mask = find_rule("threshold").apply(cams, keys, None, {"threshold": settings[case]["threshold"]})
    near(mask, arrays[f"{case}_pred"], absolute=0)
