"""MCIS's targets, losses and gradients agree with the published training script on every recorded scenario."""

from __future__ import annotations

import pytest
import torch
from golden.conftest import Arrays, assert_all_used, load
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
TARGETS = {
    "single": "label_single",
    "common": "label_common",
    "difference1": "label_diff1",
    "difference2": "label_diff2",
}
"""Our names to the recorded ones."""
LABELS, LOGITS = ("label1", "label2"), ("logits", "co_logits")
TOTAL, EACH, GRADIENT = 1e-5, 1e-6, 1e-7

ARRAYS = load("mcis/losses.npz")
SCENARIOS = [name.removesuffix("_label1") for name in ARRAYS if name.endswith("_label1")]


@pytest.fixture(params=SCENARIOS)
def scenario(request) -> Arrays:
    prefix = f"{request.param}_"
    return {name.removeprefix(prefix): value for name, value in ARRAYS.items() if name.startswith(prefix)}


def scores_of(logits: Tensor, co_logits: Tensor) -> PairScores:
    """Sort the recorded rows: [s1; s2] and [c1; c2; u1; u2] of each forward pass."""
    common, difference = co_logits.chunk(2, dim=1)
    return PairScores(single=logits, common=common, difference=difference[0])


def test_targets(near, scenario) -> None:
    targets = pair_labels(*(torch.from_numpy(scenario[name]) for name in LABELS))
    for ours, theirs in TARGETS.items():
        near(getattr(targets, ours), scenario[theirs], theirs, absolute=0)


def test_losses_and_gradients(near, scenario) -> None:
    labels = (torch.from_numpy(scenario[name]) for name in LABELS)
    logits, co_logits = (torch.tensor(scenario[name], requires_grad=True) for name in LOGITS)
    ours = losses(scores_of(logits, co_logits), *labels, torch.from_numpy(scenario["epoch"]), McisOptions())
    ours["total"].backward()
    assert ours.keys() == {"total", *TERMS}
    near(ours["total"], scenario["total"], absolute=TOTAL)
    near(torch.stack([ours[name] for name in TERMS]), scenario["terms"], absolute=EACH)
    near(logits.grad, scenario["grad_logits"], absolute=GRADIENT)
    near(co_logits.grad, scenario["grad_co_logits"], absolute=GRADIENT)


def test_every_array_is_used() -> None:
    """`lr_per_epoch` by test_mcis_schedule."""
    names = (*LABELS, *LOGITS, "epoch", *TARGETS.values(), "total", "terms", *(f"grad_{name}" for name in LOGITS))
    used = {f"{scenario}_{name}" for scenario in SCENARIOS for name in names}
    assert len(SCENARIOS) == ARRAYS["num_scenarios"]
    assert_all_used(ARRAYS, {"num_scenarios", "lr_per_epoch"} | used)
