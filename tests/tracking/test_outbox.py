from __future__ import annotations

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from seedbed.tracking.outbox import Outbox


class Shop:
    """A receiver that can be closed, and keeps what arrived."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.calls = 0
        self.error: Exception | None = None

    def take(self, what: str) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error
        self.arrived.append(what)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the outbox reads, in seconds."""
    now = [0.0]
    monkeypatch.setattr("seedbed.tracking.outbox.time.monotonic", lambda: now[0])
    return now


def fill(outbox: Outbox, shop: Shop, *names: str, artifact: bool = False) -> None:
    for name in names:
        outbox.add(name, lambda name=name: shop.take(name), artifact)  # type: ignore[misc]


def test_items_arrive_in_order() -> None:
    outbox, shop = Outbox(), Shop()
    fill(outbox, shop, "a", "b", "c")
    outbox.drain()
    assert shop.arrived == ["a", "b", "c"]
    assert outbox.missing == []


def test_a_store_that_is_away_is_asked_again_later_and_loses_nothing(clock: list[float]) -> None:
    outbox, shop = Outbox(), Shop()
    shop.error = ConnectionError("nobody there")
    fill(outbox, shop, "a", "b")
    outbox.drain()
    outbox.drain()
    assert (shop.calls, outbox.missing, outbox.reason) == (1, ["a", "b"], "nobody there")
    shop.error = None
    clock[0] = 31.0
    outbox.drain()
    assert (shop.arrived, outbox.missing) == (["a", "b"], [])


def test_the_waits_grow(clock: list[float]) -> None:
    outbox, shop = Outbox(), Shop()
    shop.error = ConnectionError()
    fill(outbox, shop, "a")
    for second in range(3600):
        clock[0] = float(second)
        outbox.drain()
    assert shop.calls <= 10


def test_the_last_drain_does_not_wait_and_asks_once(clock: list[float]) -> None:
    outbox, shop = Outbox(), Shop()
    shop.error = ConnectionError()
    fill(outbox, shop, "a", "b")
    outbox.drain()
    outbox.drain(last=True)
    assert shop.calls == 2


def test_what_is_refused_does_not_hold_up_the_rest() -> None:
    outbox, shop = Outbox(), Shop()

    def refuse() -> None:
        raise MlflowException("no such name", INVALID_PARAMETER_VALUE)

    outbox.add("bad", refuse)
    fill(outbox, shop, "good")
    outbox.drain()
    shop.error = ConnectionError("away")
    fill(outbox, shop, "late")
    outbox.drain()
    assert (shop.arrived, outbox.missing, outbox.reason) == (["good"], ["bad", "late"], "no such name")


def test_artifact_storage_may_fail_alone_and_is_asked_once() -> None:
    outbox, shop, storage = Outbox(), Shop(), Shop()
    storage.error = PermissionError("read-only")
    fill(outbox, storage, "weights", "image", artifact=True)
    fill(outbox, shop, "metrics")
    outbox.drain()
    assert (storage.calls, shop.arrived, outbox.missing) == (1, ["metrics"], ["weights", "image"])


def test_a_mistake_of_ours_is_not_hidden() -> None:
    outbox, shop = Outbox(), Shop()
    shop.error = TypeError("bug")
    fill(outbox, shop, "a")
    with pytest.raises(TypeError, match="bug"):
        outbox.drain()
