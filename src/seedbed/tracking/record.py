"""The record of a run: all it takes to show which run made what is on disk, and to make that run again in MLflow."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, SupportsFloat

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seedbed.errors import UserError
from seedbed.files import read_json, write_json

Status = Literal["FINISHED", "FAILED", "KILLED"]
Scalar = bool | int | float | str | None
Number = float | None
"""A metric: None stands for undefined (NaN, infinite), which JSON cannot hold."""

CURVE_POINTS = 500
"""Points of a curve that a record keeps."""


_MEND = "move the file away, or run its stage again: the stage writes it anew"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Curve(_Part):
    """History of one metric; `time` in milliseconds since 1970, as MLflow counts."""

    step: list[int] = Field(default_factory=list)
    value: list[Number] = Field(default_factory=list)
    time: list[int] = Field(default_factory=list)

    def add(self, step: int, value: Number, time: int) -> None:
        """Append a point."""
        self.step.append(step)
        self.value.append(value)
        self.time.append(time)

    def thinned(self) -> Curve:
        """Return at most CURVE_POINTS points, evenly chosen, the first and the last among them."""
        last = len(self.step) - 1
        if last < CURVE_POINTS:
            return self
        chosen = [round(i * last / (CURVE_POINTS - 1)) for i in range(CURVE_POINTS)]
        return Curve(
            step=[self.step[i] for i in chosen],
            value=[self.value[i] for i in chosen],
            time=[self.time[i] for i in chosen],
        )


class Dataset(_Part):
    """The data set a run read: its name, its hash and where it lies."""

    name: str
    digest: str
    source: str


class Artifact(_Part):
    """A file the run made: its path from the repository's root, and the folder it has among the run's artifacts."""

    path: str
    folder: str
    sha256: str
    bytes: int


class Child(_Part):
    """A trial of a study."""

    name: str
    parameters: dict[str, Scalar]
    metrics: dict[str, Number]
    status: Status
    ended: datetime
    seconds: float


class Logged(_Part):
    """What became of the run in MLflow; `missing` names what is not there, `reason` says why."""

    uri: str
    experiment: str
    run_id: str | None = None
    logged: bool = True
    missing: list[str] = Field(default_factory=list)
    reason: str | None = None


class Record(_Part):
    """One finished run of a stage: the content of `reports/runs/<stage>[-<method>].json`."""

    format: Literal[1] = 1
    id: str
    stage: str
    method: str | None
    started: datetime
    ended: datetime
    parameters: dict[str, Scalar] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, Number] = Field(default_factory=dict)
    timings: dict[str, Number] = Field(default_factory=dict)
    curves: dict[str, Curve] = Field(default_factory=dict)
    datasets: list[Dataset] = Field(default_factory=list)
    images: dict[str, str] = Field(default_factory=dict, description="sample images as base64 JPEG")
    artifacts: list[Artifact] = Field(default_factory=list)
    children: list[Child] = Field(default_factory=list)
    environment: dict[str, Any] = Field(default_factory=dict)
    git: dict[str, str | bool | None] = Field(default_factory=dict, description="commit, dirty")
    data: str | None = Field(None, description="hash of data/ in data.dvc")
    dvc: dict[str, str | None] = Field(default_factory=dict, description="stage, experiment")
    mlflow: Logged

    @property
    def name(self) -> str:
        """`<stage>[-<method>]`, the name of the run."""
        return f"{self.stage}-{self.method}" if self.method else self.stage

    def write(self, path: Path) -> None:
        """Write the record to `path`, its curves thinned."""
        thinned = self.model_copy(update={"curves": {name: curve.thinned() for name, curve in self.curves.items()}})
        write_json(path, thinned.model_dump(mode="json"))


def read_record(path: Path) -> Record:
    """Read a record. Raises UserError when `path` is missing or holds no record."""
    try:
        return Record.model_validate(read_json(path, _MEND))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path} is not the record of a run: {where}: {first['msg']}", _MEND) from None


def number(value: SupportsFloat | None) -> Number:
    """Return `value` (Python, numpy or torch number) as a finite float, None when it is undefined."""
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else None


def flat_parameters(values: Mapping[str, Any], prefix: str = "") -> dict[str, Scalar]:
    """Return nested parameters under dotted names; lists become JSON text."""
    flat: dict[str, Scalar] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_parameters(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str | None):
            flat[f"{prefix}{key}"] = value
        else:
            flat[f"{prefix}{key}"] = json.dumps(value, default=str)
    return flat


def flat_metrics(values: Any, prefix: str = "") -> dict[str, Number]:
    """Return the numbers of nested metrics under dotted names (lists by index). Text is left out: tags are for text."""
    if isinstance(values, Mapping):
        pairs = [(str(key), value) for key, value in values.items()]
    elif isinstance(values, Sequence) and not isinstance(values, str):
        pairs = [(str(index), value) for index, value in enumerate(values)]
    elif isinstance(values, str):
        return {}
    else:
        return {prefix: number(values)}
    flat: dict[str, Number] = {}
    for key, value in pairs:
        flat |= flat_metrics(value, f"{prefix}.{key}" if prefix else key)
    return flat


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
