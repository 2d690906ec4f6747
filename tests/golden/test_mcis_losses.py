"""MCIS's targets, losses and gradients agree with the published training script on every recorded scenario."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden.conftest import FOLDER
from torch import Tensor

from seedbed.methods.mcis import McisOptions, losses, pair_labels
from seedbed.nn.coattention import PairScores

TERMS = (
    "single",
    "common",
    "difference1",
    "difference2",
    "single_mirrored",
    "common_mirrored",
    "single_small",
    "common_small",
    "single_large",
    "common_large",
)
"""Our names in the order of the recorded terms."""
TOTAL, EACH, GRADIENT = 1e-5, 1e-6, 1e-7

with np.load(FOLDER / "mcis" / "losses.npz", allow_pickle=False) as stored:
    ARRAYS = {name: torch.as_tensor(stored[name]) for name in stored}
SCENARIOS = [name.removesuffix("_label1") for name in ARRAYS if name.endswith("_label1")]


@pytest.fixture(params=SCENARIOS)
def scenario(request) -> dict[str, Tensor]:
    prefix = f"{request.param}_"
    return {name.removeprefix(prefix): value for name, value in ARRAYS.items() if name.startswith(prefix)}


def scores_of(logits: Tensor, co_logits: Tensor) -> PairScores:
    """Sort the recorded rows: [s1; s2] and [c1; c2; u1; u2] of each forward pass."""
    common, difference = co_logits.chunk(2, dim=1)
    return PairScores(single=logits, common=common, difference=difference[0])


def test_all_scenarios_are_found() -> None:
    assert len(SCENARIOS) == ARRAYS["num_scenarios"] > 0


def test_targets(scenario) -> None:
    targets = pair_labels(scenario["label1"], scenario["label2"])
    for ours, theirs in (
        (targets.single, "label_single"),
        (targets.common, "label_common"),
        (targets.difference1, "label_diff1"),
        (targets.difference2, "label_diff2"),
    ):
        assert torch.equal(ours, scenario[theirs])


def test_losses_and_gradients(scenario) -> None:
    logits, co_logits = (scenario[name].clone().requires_grad_() for name in ("logits", "co_logits"))
    ours = losses(
        scores_of(logits, co_logits), scenario["label1"], scenario["label2"], scenario["epoch"], McisOptions()
    )
    ours["total"].backward()
    assert ours.keys() == {"total", *TERMS}
    torch.testing.assert_close(ours["total"], scenario["total"], rtol=0, atol=TOTAL)
    torch.testing.assert_close(torch.stack([ours[name] for name in TERMS]), scenario["terms"], rtol=0, atol=EACH)
    torch.testing.assert_close(logits.grad, scenario["grad_logits"], rtol=0, atol=GRADIENT)
    torch.testing.assert_close(co_logits.grad, scenario["grad_co_logits"], rtol=0, atol=GRADIENT)
