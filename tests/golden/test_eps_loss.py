"""EPS's losses, maps and gradients agree with the published code on every recorded case."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seedbed.methods.base import classification_loss
from seedbed.methods.eps import EPS, EpsOptions, estimate_saliency, saliency_loss

ABSOLUTE, RELATIVE = 1e-6, 1e-5
GOLDEN = ("eps", "loss")


@pytest.fixture
def stored(golden, case: str) -> dict[str, Tensor]:
    _, arrays = golden("eps", "loss")
    names = (
        "cam",
        "saliency",
        "label",
        "loss",
        "grad",
        "fg_map",
        "bg_map",
        "estimate",
        "loss_cls",
        "loss_total",
        "grad_total",
    )
    return {name: torch.as_tensor(arrays[f"{case}_{name}"]) for name in names}


@pytest.fixture
def options(golden, case: str) -> EpsOptions:
    settings, _ = golden("eps", "loss")
    return EpsOptions(tau=settings[case]["tau"], lam=settings[case]["lam"])


def relative(value: Tensor, expected: Tensor) -> float:
    return float((value - expected).abs().max() / expected.abs().max())


def test_saliency_loss(stored: dict[str, Tensor], options: EpsOptions) -> None:
    maps = stored["cam"].requires_grad_()
    loss = saliency_loss(maps, stored["saliency"], stored["label"], options)
    loss.backward()
    assert abs(loss.item() - stored["loss"].item()) <= ABSOLUTE
    assert relative(maps.grad, stored["grad"]) <= RELATIVE


def test_estimate(stored: dict[str, Tensor], options: EpsOptions) -> None:
    estimated = estimate_saliency(stored["cam"], stored["saliency"], stored["label"], options)
    for ours, theirs in (("foreground", "fg_map"), ("background", "bg_map"), ("estimate", "estimate")):
        torch.testing.assert_close(getattr(estimated, ours), stored[theirs], rtol=0, atol=ABSOLUTE)


def test_total_loss(stored: dict[str, Tensor], options: EpsOptions) -> None:
    maps = stored["cam"].requires_grad_()
    losses = EPS.loss(maps, {"label": stored["label"], "saliency": stored["saliency"]}, options)
    losses["total"].backward()
    assert abs(classification_loss(maps, stored["label"]).item() - stored["loss_cls"].item()) <= ABSOLUTE
    assert abs(losses["total"].item() - stored["loss_total"].item()) <= ABSOLUTE
    assert relative(maps.grad, stored["grad_total"]) <= RELATIVE
