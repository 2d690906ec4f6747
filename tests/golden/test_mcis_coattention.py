"""Parity with the co-attention block of GuoleiSun/MCIS_wsss (commit 1fc8f75), fed with stored features."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from golden.conftest import FOLDER, Arrays, assert_all_used, load
from golden.fill import fill
from torch import Tensor

from seedbed.nn.coattention import CoAttended, CoAttention
from seedbed.nn.weights import load_state

CASES = sorted((FOLDER / "mcis").glob("coattention*.npz"))
TOLERANCE = 1e-5


def weights_of(arrays: Arrays) -> dict[str, Tensor]:
    """The weights that the case holds, dots turned to underscores, or else those of the naming rule."""
    held = {name.replace("__", "."): torch.from_numpy(array) for name, array in arrays.items() if "__" in name}
    if held:
        return held
    shapes = json.loads((FOLDER / "mcis" / "classifier_shapes.json").read_text())
    state = fill({name: shape for name, shape in shapes.items() if name.startswith("extra_")})
    state["extra_linear_e.weight"] *= torch.from_numpy(arrays.get("linear_scale", np.ones((), np.float32)))
    return state


def results(pair: CoAttended, common: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Our values under the names of the case; those of the fast path under `fast_<name>`."""
    ours = {"affinity": pair.affinity}
    for side in (1, 2):
        ours |= {
            f"attention_for_{side}": getattr(pair, f"attention{side}"),
            f"attended{side}": getattr(pair, f"attended{side}"),
            f"gate{side}": getattr(pair, f"gate{side}"),
            f"diff_feature{side}": getattr(pair, f"difference_features{side}"),
            f"co_map{side}": getattr(pair, f"common{side}"),
            f"diff_map{side}": getattr(pair, f"difference{side}"),
            f"fast_co_map{side}": common[side - 1],
        }
    return ours | {name.replace("_map", "_score"): v.mean((2, 3)) for name, v in ours.items() if "_map" in name}


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.stem)
def replay(request) -> tuple[Arrays, dict[str, Tensor]]:
    arrays = load(request.param)
    state = weights_of(arrays)
    block = CoAttention(state["extra_linear_e.weight"].shape[0], state["extra_gate.weight"].shape[0])
    load_state(block, state, source=request.param)
    features = torch.from_numpy(arrays["feature1"]), torch.from_numpy(arrays["feature2"])
    with torch.no_grad():
        ours = results(block(*features), block.common_maps(*features))
    return arrays, ours


def test_every_result(near, replay):
    """Also the common maps and scores of the fast path."""
    arrays, ours = replay
    for name, value in ours.items():
        near(value, arrays[name.removeprefix("fast_")], name, absolute=TOLERANCE)


def test_every_array_is_used(replay):
    arrays, ours = replay
    weights = {name for name in arrays if "__" in name or name == "linear_scale"}
    assert_all_used(arrays, {"feature1", "feature2", *weights, *(name.removeprefix("fast_") for name in ours)})
