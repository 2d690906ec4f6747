from __future__ import annotations

import math
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.engine.sampler import StepSampler
from seedbed.errors import UserError
from seedbed.params import TrainParams


def sampler(length: int, batch: int, steps: int = 30, keep_last: bool = False, **keys: int) -> StepSampler:
    params = TrainParams(steps=steps, batch=batch, keep_last=keep_last)
    return StepSampler(length, params, **({"seed": 0} | keys))


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int, int]:
    """Length, batch and world such that there is at least one step in an epoch."""
    batch, world = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    return draw(st.integers(batch * world, 40)), batch, world


@given(sizes(), st.integers(0, 2**32), st.integers(0, 30), st.booleans())
def test_a_resumed_run_meets_the_same_batches(size, seed, start, keep_last):
    length, batch, _ = size
    whole = list(sampler(length, batch, keep_last=keep_last, seed=seed))
    rest = sampler(length, batch, keep_last=keep_last, seed=seed, start=start)
    assert len(rest) == len(whole) - start
    assert list(rest) == whole[start:]


@given(sizes(), st.integers(0, 2**32))
def test_an_epoch_shows_no_image_twice_and_drops_less_than_a_batch(size, seed):
    length, batch, _ = size
    per_epoch = length // batch
    items = [item for group in sampler(length, batch, 2 * per_epoch, seed=seed) for item in group]
    for epoch in (0, 1):
        seen = [index for of, index in items if of == epoch]
        assert len(seen) == len(set(seen)) == per_epoch * batch > length - batch
        assert all(0 <= index < length for index in seen)


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32))
def test_an_epoch_that_keeps_its_last_batch_shows_every_image_once(length, batch, seed):
    per_epoch = sampler(length, batch, keep_last=True).steps_per_epoch
    assert per_epoch == math.ceil(length / batch)
    groups = list(sampler(length, batch, 2 * per_epoch, keep_last=True, seed=seed))
    for epoch, steps in enumerate((groups[:per_epoch], groups[per_epoch:])):
        assert sorted(item for items in steps for item in items) == [(epoch, index) for index in range(length)]
        assert [len(items) for items in steps[:-1]] == [batch] * (per_epoch - 1)


def test_the_last_batch_is_kept_by_a_single_process_alone():
    with pytest.raises(UserError, match="keep_last needs a single process, not 2") as caught:
        sampler(5, 2, keep_last=True, world=2)
    assert "keep_last: false" in str(caught.value.fix)


@given(sizes(), st.integers(0, 2**32))
def test_processes_share_the_batch_of_one(size, seed):
    length, batch, world = size
    ranks = [sampler(length, batch, seed=seed, rank=rank, world=world) for rank in range(world)]
    together = [list(chain(*groups)) for groups in zip(*ranks, strict=True)]
    assert together == list(sampler(length, batch * world, seed=seed))


def test_epochs_and_seeds_shuffle_differently():
    first, second = list(sampler(40, 40, 2))
    other = sampler(40, 40, 1, seed=1).at(0)
    orders = {tuple(index for _, index in items) for items in (first, second, other)}
    assert len(orders) == 3


def test_too_few_images_name_the_largest_batch():
    with pytest.raises(UserError, match="5 training images do not fill one step of 8") as caught:
        sampler(5, 4, world=2)
    assert "at most 2 " in str(caught.value.fix)
