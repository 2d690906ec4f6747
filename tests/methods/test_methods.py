from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import UserError
from seedbed.methods import METHODS, get_method
from seedbed.methods.eps import EpsOptions, estimate_saliency, select_foreground
from seedbed.params import LocaliserParams

SMALL = LocaliserParams(backbone="timm/resnet10t", output_stride=16, batchnorm="train")


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_every_method_trains_and_yields_maps(method) -> None:
    torch.manual_seed(0)
    network = method.network(SMALL, num_classes=3)
    batch = {
        "image": torch.randn(2, 3, 48, 64),
        "label": torch.tensor([[1.0, 0, 1], [0, 1, 0]]),
        "saliency": torch.rand(2, 1, 48, 64),
    }
    losses = method.training_loss(SMALL)(network, batch)
    losses["total"].backward()
    assert torch.isfinite(losses["total"])
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.fc8.parameters())
    maps = method.class_maps(network(batch["image"]))
    assert maps.shape == (2, 3, 3, 4)
    assert (maps >= 0).all()


def test_frozen_batchnorm_and_stem_stay_as_they_are() -> None:
    params = SMALL.model_copy(update={"batchnorm": "frozen"})
    network = get_method("cam").network(params, 3).train()
    before = {name: value.clone() for name, value in network.state_dict().items() if "running" in name}
    network(torch.randn(2, 3, 48, 48))
    after = network.state_dict()
    assert before
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_unknown_options_and_methods_are_named() -> None:
    with pytest.raises(UserError, match="did you mean 'tau'"):
        get_method("eps").check_options({"tua": 0.3})
    with pytest.raises(UserError, match=r"localiser.eps.options: lam"):
        get_method("eps").check_options({"lam": 3})
    with pytest.raises(UserError, match="did you mean 'eps'"):
        get_method("epss")


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), tau=st.floats(0, 1), lam=st.floats(0, 1))
def test_eps_invariants(seed: int, tau: float, lam: float) -> None:
    """Parts and estimate lie in 0..1; absent classes are never selected, and with tau = 1 no class is."""
    generator = torch.Generator().manual_seed(seed)
    maps = 4 * torch.randn(2, 5, 6, 7, generator=generator)
    saliency = torch.rand(2, 1, 13, 9, generator=generator)
    label = (torch.rand(2, 4, generator=generator) > 0.5).float()
    estimated = estimate_saliency(maps, saliency, label, EpsOptions(tau=tau, lam=lam))
    for part in (estimated.foreground, estimated.background, estimated.estimate):
        assert part.shape == (2, 1, 6, 7)
        assert (part > -1e-5).all()
        assert (part < 1 + 1e-5).all()
    chosen = select_foreground(maps.softmax(1)[:, :-1], estimated.target, label, tau)
    assert (chosen[:, :, 0, 0] <= label).all()
    assert not select_foreground(maps.softmax(1)[:, :-1], estimated.target, label, 1.0).any()


def test_eps_without_labels_is_finite() -> None:
    maps = torch.randn(1, 4, 5, 5, requires_grad=True)
    batch = {"label": torch.zeros(1, 3), "saliency": torch.zeros(1, 1, 5, 5)}
    loss = get_method("eps").loss(maps, batch, EpsOptions())["total"]
    loss.backward()
    assert np.isfinite(loss.item())
    assert torch.isfinite(maps.grad).all()
