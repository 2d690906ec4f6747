"""EPS's losses, maps and gradients agree with the published code on every recorded case."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seedbed.methods.eps import EpsOptions, estimate_saliency, losses

GOLDEN = ("eps", "loss")
ABSOLUTE, RELATIVE = 1e-6, 1e-5


@pytest.fixture
def arrays(golden, case):
    prefix = f"{case}_"
    return {name.removeprefix(prefix): values for name, values in golden(*GOLDEN)[1].items() if name.startswith(prefix)}


@pytest.fixture
def inputs(golden, case, arrays) -> tuple[Tensor, Tensor, Tensor, EpsOptions]:
    """Raw maps, which ask for a gradient, saliency, labels and options."""
    setting = golden(*GOLDEN)[0][case]
    maps, saliency, label = (torch.from_numpy(arrays[name]) for name in ("cam", "saliency", "label"))
    return maps.requires_grad_(), saliency, label, EpsOptions(tau=setting["tau"], lam=setting["lam"])


def test_saliency_loss_and_its_gradient(near, inputs, arrays):
    loss = losses(*inputs)["saliency"]
    loss.backward()
    near(loss.detach(), arrays["loss"], absolute=ABSOLUTE)
    near(inputs[0].grad, arrays["grad"], relative=RELATIVE)


def test_estimated_saliency(near, inputs, arrays):
    estimated = estimate_saliency(*inputs)
    for ours, name in (("foreground", "fg_map"), ("background", "bg_map"), ("estimate", "estimate")):
        near(getattr(estimated, ours).detach(), arrays[name], absolute=ABSOLUTE)


def test_total_loss_and_its_gradient(near, inputs, arrays):
    ours = losses(*inputs)
    ours["total"].backward()
    near(ours["classification"].detach(), arrays["loss_cls"], absolute=ABSOLUTE)
    near(ours["total"].detach(), arrays["loss_total"], absolute=ABSOLUTE)
    near(inputs[0].grad, arrays["grad_total"], relative=RELATIVE)
