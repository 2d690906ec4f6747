from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from seedbed.engine.seeding import rng, seed_modules, seed_torch

KEYS = st.lists(st.integers(0, 2**63) | st.sampled_from(["order", "step"]), min_size=1, max_size=4)


@given(KEYS)
def test_equal_keys_draw_equally_whatever_was_drawn_before(keys):
    first = rng(*keys).random(3)
    rng(*keys).random(7)
    assert np.array_equal(rng(*keys).random(3), first)
    seed_torch(*keys)
    drawn = torch.rand(3)
    torch.rand(7)
    seed_torch(*keys)
    assert torch.equal(torch.rand(3), drawn)


@given(KEYS, KEYS)
def test_other_keys_draw_otherwise(one, other):
    assert (one == other) == np.array_equal(rng(*one).random(3), rng(*other).random(3))


def test_numpy_integers_are_integers():
    assert rng(np.int64(3)).random() == rng(3).random()


def test_initial_weights_have_a_stream_of_their_own():
    seed_modules(0)
    weights = torch.rand(3)
    seed_torch(0)
    assert not torch.equal(torch.rand(3), weights)
    seed_modules(0)
    assert torch.equal(torch.rand(3), weights)
