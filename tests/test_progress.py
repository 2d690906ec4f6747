from __future__ import annotations

import logging

import pytest

from seedbed import progress
from seedbed.progress import Meter


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_a_line_now_and_then(clock, caplog):
    caplog.set_level(logging.INFO)
    with Meter("train", 100, done=20) as meter:
        for _ in range(4):
            clock[0] += 20
            meter.advance(10, "cls 0.5")
    assert [record.getMessage() for record in caplog.records] == [
        "train: 40/100, 0.5 images/s, 0:02:00 left cls 0.5",
        "train: 60/100, 0.5 images/s, 0:01:20 left cls 0.5",
    ]
    assert (meter.done, meter.rate, meter.seconds) == (60, 0.5, 80)


def test_in_a_terminal_a_bar(monkeypatch, capsys, caplog):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    caplog.set_level(logging.INFO)
    with Meter("train", 100, unit="items") as meter:
        meter.advance(40, "cls 0.5")
    shown = capsys.readouterr().err
    assert "train" in shown
    assert "40/100" in shown
    assert "items/s" in shown
    assert "cls 0.5" in shown
    assert caplog.records == []


def test_disabled_shows_nothing(clock, monkeypatch, capsys, caplog):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    caplog.set_level(logging.INFO)
    with Meter("train", 100, enabled=False) as meter:
        clock[0] += 1000
        meter.advance(40)
    assert capsys.readouterr().err == ""
    assert caplog.records == []
    assert meter.rate == 0.04
