from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.methods.eps import EPS, EpsOptions, estimate_saliency, losses, select_foreground


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), tau=st.floats(0, 1), lam=st.floats(0, 1))
def test_invariants(seed: int, tau: float, lam: float) -> None:
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


def test_without_labels_the_loss_is_finite() -> None:
    maps = torch.randn(1, 4, 5, 5, requires_grad=True)
    loss = losses(maps, torch.zeros(1, 1, 5, 5), torch.zeros(1, 3), EpsOptions())["total"]
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(maps.grad).all()


def test_one_map_more_than_classes_for_the_background(small) -> None:
    maps = EPS.network(small, num_classes=3)(torch.randn(1, 3, 32, 32))
    assert maps.shape[1] == 4
    torch.testing.assert_close(EPS.class_maps(maps), maps.softmax(dim=1)[:, :3])
