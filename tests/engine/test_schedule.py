from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seedbed.engine.schedule import Schedule, factor, poly
from seedbed.params import TrainParams

POWERS = st.floats(0.1, 3)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.1), (1, 0.08704581), (4, 0.0466467), (6, 0.01735449), (7, 0.01735449), (9, 0.01735449)]
)
def test_poly_is_the_published_one(step, rate):
    """Rates that the optimiser of halbielee/EPS takes with lr 0.1 over 7 steps, and past them."""
    assert 0.1 * poly(step, 7, 0.9) == pytest.approx(rate, rel=1e-6)


@given(st.integers(1, 1000), POWERS)
def test_poly_falls_from_one_and_stays_positive(steps, power):
    factors = [poly(step, steps, power) for step in range(steps)]
    assert factors[0] == 1
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] > 0


SCHEDULES = st.sampled_from(
    [{}, {"horizon": 7}, {"horizon": 900}, {"power": 2.5}, {"schedule": "steps", "milestones": [3, 20], "gamma": 0.5}]
)


@given(st.integers(2, 200), st.integers(1, 50), SCHEDULES)
def test_warmup_scales_its_own_steps_alone(steps, warmup, keys):
    warm, cold = TrainParams(steps=steps, warmup=warmup, **keys), TrainParams(steps=steps, **keys)
    for step in range(steps):
        assert factor(step, warm) / factor(step, cold) == pytest.approx(min(1, (step + 1) / (warmup + 1)))


def test_poly_falls_over_its_horizon_and_stays():
    params = TrainParams(steps=10, horizon=4, power=0.9)
    assert [factor(step, params) for step in range(10)] == [poly(min(step, 3), 4, 0.9) for step in range(10)]


def test_poly_ends_early_where_the_horizon_lies_beyond_the_steps():
    assert factor(9, TrainParams(steps=10, horizon=20, power=1)) == pytest.approx(1 - 9 / 20)


def test_every_milestone_multiplies_the_rate_from_its_own_step_on():
    params = TrainParams(steps=8, schedule="steps", milestones=[2, 5], gamma=0.1)
    assert [factor(step, params) for step in range(8)] == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


def test_every_group_keeps_its_own_rate_after_a_resume():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(2))], "lr": rate} for rate in (0.1, 1.0)]
    params = TrainParams(steps=10, lr=0.1)
    optimizer = torch.optim.SGD(groups, lr=0.1)
    schedule = Schedule(optimizer, params)
    assert schedule.set(5) == pytest.approx(0.1 * 0.5**0.9)
    optimizer.load_state_dict(optimizer.state_dict())
    schedule.set(5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1 * 0.5**0.9, 0.5**0.9])
