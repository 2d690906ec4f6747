"""EPS's losses, maps and gradients agree with the published code on every recorded case."""

from __future__ import annotations

import pytest
import torch
from golden.conftest import assert_all_used
from torch import Tensor

from seedbed.methods.eps import EpsOptions, estimate_saliency, losses

GOLDEN = ("eps", "loss")
INPUTS = ("cam", "saliency", "label")
MAPS = {"foreground": "fg_map", "background": "bg_map", "estimate": "estimate"}
"""Our names to the published ones."""
RESULTS = ("loss", "grad", "loss_cls", "loss_total", "grad_total")
ABSOLUTE, RELATIVE = 1e-6, 1e-5


@pytest.fixture
def arrays(golden, case):
    prefix = f"{case}_"
    return {name.removeprefix(prefix): values for name, values in golden(*GOLDEN)[1].items() if name.startswith(prefix)}


@pytest.fixture
def inputs(golden, case, arrays) -> tuple[Tensor, Tensor, Tensor, EpsOptions]:
    """Raw maps, which ask for a gradient, saliency, labels and options."""
    setting = golden(*GOLDEN)[0][case]
    maps, saliency, label = (torch.from_numpy(arrays[name]) for name in INPUTS)
    return maps.requires_grad_(), saliency, label, EpsOptions(tau=setting["tau"], lam=setting["lam"])


def test_saliency_loss_and_its_gradient(near, inputs, arrays):
    loss = losses(*inputs)["saliency"]
    loss.backward()
    near(loss, arrays["loss"], absolute=ABSOLUTE)
    near(inputs[0].grad, arrays["grad"], relative=RELATIVE)


def test_estimated_saliency(near, inputs, arrays):
    estimated = estimate_saliency(*inputs)
    for ours, name in MAPS.items():
        near(getattr(estimated, ours), arrays[name], absolute=ABSOLUTE)


def test_total_loss_and_its_gradient(near, inputs, arrays):
    ours = losses(*inputs)
    ours["total"].backward()
    near(ours["classification"], arrays["loss_cls"], absolute=ABSOLUTE)
    near(ours["total"], arrays["loss_total"], absolute=ABSOLUTE)
    near(inputs[0].grad, arrays["grad_total"], relative=RELATIVE)


def test_every_array_is_used(golden):
    settings, arrays = golden(*GOLDEN)
    names = (*INPUTS, *MAPS.values(), *RESULTS)
    assert_all_used(arrays, [f"{case}_{name}" for case in settings for name in names])
