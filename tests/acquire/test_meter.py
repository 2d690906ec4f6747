from __future__ import annotations

import logging

import pytest
from rich.console import Console

from seedbed.acquire import meter
from seedbed.acquire.meter import ByteMeter


@pytest.fixture
def no_terminal(monkeypatch, caplog):
    monkeypatch.setattr(meter, "QUIET_SECONDS", 0.0)
    caplog.set_level(logging.INFO, logger="seedbed.acquire.meter")
    return caplog


def test_without_a_terminal_it_logs(no_terminal) -> None:
    with ByteMeter("a.tar") as shown:
        shown.at(1_000)
        shown.begin(500_000, 2_000_000)
        shown.at(1_500_000)
    assert no_terminal.messages == ["a.tar: 1.0 kB", "a.tar: 1.5 MB of 2.0 MB"]


def test_it_can_be_silent(no_terminal) -> None:
    with ByteMeter("a.tar", 10, enabled=False) as shown:
        shown.at(5)
    assert no_terminal.messages == []


def test_in_a_terminal_it_draws_a_bar(no_terminal, monkeypatch, capsys) -> None:
    monkeypatch.setattr(meter, "Console", lambda **given: Console(**given, force_terminal=True, width=100))
    with ByteMeter("a.tar", 2_000_000) as shown:
        shown.at(1_500_000)
    assert "1.5/2.0 MB" in capsys.readouterr().err
    assert no_terminal.messages == []
