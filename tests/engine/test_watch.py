from __future__ import annotations

import logging

import pytest

from seedbed.engine.watch import PriorWatch

PRIOR = {"cls": 0.2, "common": 0.3}


@pytest.fixture
def warnings_of(caplog):
    """Return a function from patience, the loss at steps 1, 2, .. and the prior to the messages of the log."""

    def run(patience: int, losses: list[float], prior: dict[str, float] = PRIOR) -> list[str]:
        logged: list[tuple[int, dict[str, float]]] = []
        watch = PriorWatch(prior, patience, lambda step, values: logged.append((step, values)))
        points = [(step, {"lr": 0.1, "cls": loss, "common": 0.1, "total": 9.0}) for step, loss in enumerate(losses, 1)]
        with caplog.at_level(logging.INFO):
            for point in points:
                watch(*point)
        assert logged == points
        return [record.getMessage() for record in caplog.records]

    return run


def test_a_loss_at_the_prior_is_told_once(warnings_of):
    (message,) = warnings_of(1, [0.5, 0.3, 0.4, 0.39, 0.41, 0.4, 0.4])
    assert "after step 5 the loss (cls + common) is 0.5000" in message
    assert "(0.5000)" in message
    assert "lower lr or head_lr_factor" in message


def test_a_loss_below_the_prior_is_not_told(warnings_of):
    assert warnings_of(1, [0.38] * 20) == []


def test_the_share_of_the_prior_that_counts(warnings_of):
    assert warnings_of(1, [0.97 * 0.5 - 0.1 - 1e-6] * 5) == []
    assert len(warnings_of(1, [0.97 * 0.5 - 0.1 + 1e-6] * 5)) == 1


def test_nothing_is_told_before_patience_ends(warnings_of):
    assert warnings_of(8, [0.6] * 7) == []
    assert "after step 8" in warnings_of(8, [0.6] * 8)[0]


def test_a_start_above_the_prior_is_forgotten(warnings_of):
    assert warnings_of(8, [0.7] * 3 + [0.2] * 20) == []


def test_a_single_high_point_is_not_told(warnings_of):
    assert warnings_of(1, [0.1] * 10 + [0.9] + [0.1] * 10) == []


def test_a_collapse_after_learning_is_told(warnings_of):
    assert "after step 15" in warnings_of(1, [0.1] * 10 + [0.4] * 5)[0]


def test_without_a_prior_nothing_is_watched(warnings_of):
    assert warnings_of(1, [9.0] * 20, {}) == []
