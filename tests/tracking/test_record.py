from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.errors import UserError
from seedbed.tracking.record import (
    CURVE_POINTS,
    Artifact,
    Child,
    Curve,
    Dataset,
    Logged,
    Record,
    flat_metrics,
    flat_parameters,
    number,
    read_record,
)

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)


def full_record() -> Record:
    return Record(
        id="0f",
        stage="study",
        method="eps",
        started=MOMENT,
        ended=MOMENT,
        parameters={"lr": 0.1, "flip": True, "steps": 3, "weights": None, "name": "x"},
        tags={"data set": "sample"},
        metrics={"miou": 0.5, "iou.cat": None},
        timings={"total": 1.5},
        curves={"loss": Curve(step=[0, 1], value=[1.0, None], time=[5, 6])},
        datasets=[Dataset(name="sample", digest="d", source="data")],
        images={"one": "aGk="},
        artifacts=[Artifact(path="models/w", folder="model", sha256="aa", bytes=3)],
        children=[
            Child(name="t", parameters={"a": 1.0}, metrics={"m": 0.1}, status="KILLED", ended=MOMENT, seconds=2.0)
        ],
        environment={"python": "3.11"},
        git={"commit": "c", "dirty": False},
        data="abc.dir",
        dvc={"stage": "study@eps", "experiment": None},
        mlflow=Logged(uri="sqlite:///mlflow.db", experiment="seedbed/study", logged=False, missing=["metrics"]),
    )


def test_round_trip(tmp_path: Path) -> None:
    full_record().write(tmp_path / "runs" / "study-eps.json")
    read = read_record(tmp_path / "runs" / "study-eps.json")
    assert read == full_record()
    # Equality takes True for 1: the types count too.
    types = {name: type(value) for name, value in read.parameters.items()}
    assert types == {"lr": float, "flip": bool, "steps": int, "weights": type(None), "name": str}


@given(st.integers(0, 4 * CURVE_POINTS))
def test_a_thinned_curve_keeps_its_ends_and_its_order(length: int) -> None:
    curve = Curve(step=list(range(length)), value=[float(i) for i in range(length)], time=list(range(length)))
    thinned = curve.thinned()
    assert len(thinned.step) == min(length, CURVE_POINTS)
    assert thinned.step == sorted(set(thinned.step))
    assert thinned.step[:1] + thinned.step[-1:] == curve.step[:1] + curve.step[-1:]
    assert thinned.value == [float(step) for step in thinned.step]
    assert thinned.time == thinned.step


@pytest.mark.parametrize("content", ["{", '{"id": "x"}', "[]", '{"format": 2}'])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken.json").write_text(content)
    with pytest.raises(UserError, match=r"broken\.json"):
        read_record(tmp_path / "broken.json")


def test_flat_parameters() -> None:
    nested = {"train": {"lr": 0.1, "augment": {"flip": True}}, "scales": [0.5, 1.0], "weights": None, "path": Path("a")}
    assert flat_parameters(nested) == {
        "train.lr": 0.1,
        "train.augment.flip": True,
        "scales": "[0.5, 1.0]",
        "weights": None,
        "path": '"a"',
    }


def test_flat_metrics() -> None:
    nested = {"miou": np.float32(0.5), "interval": (0.25, 0.75), "per_class": {"cat": None}, "split": "val", "n": 3}
    assert flat_metrics(nested) == {
        "miou": 0.5,
        "interval.0": 0.25,
        "interval.1": 0.75,
        "per_class.cat": None,
        "n": 3.0,
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, np.float32("nan")])
def test_undefined_numbers_are_none(value: float | None) -> None:
    assert number(value) is None
