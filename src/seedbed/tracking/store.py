"""The MLflow store behind one narrow door: what seedbed logs, cut to MLflow's limits.

Everything but `create` may be sent twice without a second trace: MLflow drops a point it already holds, and overwrites
tags, parameters of equal value and artifacts. Retrying and completing a run lean on that.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import mlflow.store.db.utils
from mlflow import MlflowClient
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, LifecycleStage, Metric, Param, RunTag
from mlflow.entities import Run as StoredRun
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
)
from mlflow.utils.validation import (
    MAX_DATASET_DIGEST_SIZE,
    MAX_DATASET_NAME_SIZE,
    MAX_ENTITY_KEY_LENGTH,
    MAX_METRICS_PER_BATCH,
    MAX_PARAM_VAL_LENGTH,
    MAX_PARAMS_TAGS_PER_BATCH,
    MAX_TAG_VAL_LENGTH,
)
from sqlalchemy.exc import SQLAlchemyError

from seedbed.tracking.record import Child, Dataset, Number, Record, Scalar, Status
from seedbed.tracking.uri import artifact_folder, sqlite_file

STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError, ImportError)
"""What a store that is down, full, misconfigured or of another version raises (ImportError: no database driver)."""

RUN_TAG = "seedbed.run"
"""Tag with the id of the record: the same in every store that holds the run."""
COMPLETE_TAG = "seedbed.complete"
"""Tag set last, when nothing of the run is missing."""
PROCESS_TAG = "seedbed.process"
"""Tag with the process that works on the run."""
ERROR_TAG = "seedbed.error"
"""Tag with what made the stage fail."""

_ITEM = TypeVar("_ITEM")


class Store:
    """The MLflow store at `uri`. Connects at the first call; every method may raise one of STORE_ERRORS."""

    def __init__(self, uri: str, root: Path) -> None:
        self.uri = uri
        self._root = root
        self._client: MlflowClient | None = None

    @property
    def client(self) -> MlflowClient:
        """The client, connected. Processes that start at once create a SQLite store one after the other."""
        if self._client is None:
            _silence()
            with self._creating():
                self._client = MlflowClient(self.uri)
        return self._client

    def experiment(self, name: str) -> str:
        """Return the id of the experiment `name`, created or restored where needed."""
        client = self.client
        with self._creating():
            found = client.get_experiment_by_name(name)
            if found is None:
                # A server decides itself where artifacts lie; behind a SQLite file there is nobody else to.
                artifacts = artifact_folder(self._root).as_uri() if sqlite_file(self.uri) else None
                return str(client.create_experiment(name, artifact_location=artifacts))
        if found.lifecycle_stage == LifecycleStage.DELETED:
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def create(
        self, experiment: str, name: str, started: datetime, tags: Mapping[str, str], parent: str | None = None
    ) -> str:
        """Create a run, as a child of `parent` where given, and return its id."""
        if parent is not None:
            tags = {**tags, MLFLOW_PARENT_RUN_ID: parent}
        created = self.client.create_run(
            experiment, start_time=milliseconds(started), tags=_tags(tags), run_name=_key(name)
        )
        return str(created.info.run_id)

    def find(self, experiment: str, filter_string: str) -> list[StoredRun]:
        """Return all runs of `experiment` that MLflow's `filter_string` selects."""
        found: list[StoredRun] = []
        token = None
        while True:
            page = self.client.search_runs([experiment], filter_string, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def points(self, run_id: str, points: Sequence[Metric]) -> None:
        """Add points to the metrics of a run."""
        for chunk in _chunks(points, MAX_METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics=chunk)

    def parameters(self, run_id: str, parameters: Mapping[str, Scalar]) -> None:
        """Log parameters; values beyond MLflow's limit are cut (the record holds them whole)."""
        for chunk in _chunks(_params(parameters), MAX_PARAMS_TAGS_PER_BATCH):
            self.client.log_batch(run_id, params=chunk)

    def tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        entities = [RunTag(name, value) for name, value in _tags(tags).items()]
        for chunk in _chunks(entities, MAX_PARAMS_TAGS_PER_BATCH):
            self.client.log_batch(run_id, tags=chunk)

    def dataset(self, run_id: str, dataset: Dataset) -> None:
        """Log the data set that the run reads."""
        entity = DatasetEntity(
            name=_cut(dataset.name, MAX_DATASET_NAME_SIZE),
            digest=_cut(dataset.digest, MAX_DATASET_DIGEST_SIZE),
            source_type="local",
            source=json.dumps({"uri": dataset.source}),
        )
        context = InputTag(key=MLFLOW_DATASET_CONTEXT, value="input")
        self.client.log_inputs(run_id, [DatasetInput(entity, [context])])

    def file(self, run_id: str, path: Path, folder: str) -> None:
        """Copy a file into `folder` of the run's artifacts ('' = the top)."""
        self.client.log_artifact(run_id, str(path), folder or None)

    def content(self, run_id: str, name: str, content: bytes) -> None:
        """Write `content` as the artifact `name` (may hold folders)."""
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / Path(name).name
            path.write_bytes(content)
            self.file(run_id, path, str(Path(name).parent) if "/" in name else "")

    def json(self, run_id: str, name: str, value: Mapping[str, Any]) -> None:
        """Write `value` as the artifact `name`."""
        self.content(run_id, name, json.dumps(value, indent=1, sort_keys=True).encode())

    def fill_child(self, run_id: str, child: Child) -> None:
        """Log parameters, metrics and end of a trial to its run."""
        ended = milliseconds(child.ended)
        points = [point(name, value, ended, 0) for name, value in child.metrics.items()]
        self.client.log_batch(run_id, metrics=points, params=_params(child.parameters))
        self.end(run_id, child.status, child.ended)

    def end(self, run_id: str, status: Status, ended: datetime) -> None:
        """Close a run."""
        self.client.set_terminated(run_id, status, milliseconds(ended))

    @contextlib.contextmanager
    def _creating(self) -> Iterator[None]:
        """Keep other processes from creating the same SQLite store, or the same experiment in it, meanwhile."""
        file = sqlite_file(self.uri)
        if file is None:
            yield
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with Path(f"{file}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file closes, also by a dying process
            yield


def point(name: str, value: Number, time: int, step: int) -> Metric:
    """Return a point of the metric `name`; an undefined value becomes NaN. `time` in milliseconds since 1970."""
    return Metric(_key(name), float("nan") if value is None else value, time, step)


def run_tags(record: Record) -> dict[str, str]:
    """Return the tags of a run: what its record says about its origin, in words that MLflow's own pages know too."""
    known = {
        "stage": record.stage,
        "method": record.method,
        "git.commit": record.git.get("commit"),
        "git.dirty": record.git.get("dirty"),
        "data.hash": record.data,
        "dvc.stage": record.dvc.get("stage"),
        "dvc.experiment": record.dvc.get("experiment"),
        MLFLOW_GIT_COMMIT: record.git.get("commit"),
        MLFLOW_SOURCE_NAME: f"seedbed {record.stage}",
        MLFLOW_SOURCE_TYPE: "LOCAL",
        RUN_TAG: record.id,
    }
    return record.tags | {name: _text(value) for name, value in known.items() if value is not None}


def child_tags(record: Record, index: int) -> dict[str, str]:
    """Return the tags of the trial number `index` of a run."""
    tags = {"stage": record.stage, RUN_TAG: f"{record.id}.{index}"}
    return tags | ({"method": record.method} if record.method else {})


def final_points(record: Record) -> list[Metric]:
    """Return the results and timings of a finished run as points at its last step."""
    ended = milliseconds(record.ended)
    last = max((step for curve in record.curves.values() for step in curve.step), default=0)
    results = record.metrics | {f"timing.{name}": value for name, value in record.timings.items()}
    return [point(name, value, ended, last) for name, value in results.items()]


def milliseconds(moment: datetime) -> int:
    """Return a moment as MLflow counts it: milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def refused(error: BaseException) -> bool:
    """Return whether the store answered and will not take this (status 4xx), as opposed to not answering."""
    return isinstance(error, MlflowException) and 400 <= error.get_http_status_code() < 500


def reason(error: BaseException) -> str:
    """Return the first line of an error, for people: shortened, and without the credentials that a URL may hold."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _cut(re.sub(r"//[^/@\s]+@", "//", lines[0]), 300)


def _silence() -> None:
    """Keep MLflow's own lines off the terminal: what fails reaches us as an exception, the rest is noise."""
    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    mlflow.store.db.utils.MAX_RETRY_COUNT = 3  # 10 means a wait of 100 s for a database that is down


def _key(name: str) -> str:
    """Return `name` as MLflow allows it: letters, digits, `_-.: /`, no empty or dotted parts, 250 characters."""
    parts = (part for part in re.sub(r"[^/\w.\- :]", "_", name).split("/") if part not in ("", ".", ".."))
    return "/".join(parts)[:MAX_ENTITY_KEY_LENGTH] or "_"


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {_key(name): _cut(value, MAX_TAG_VAL_LENGTH) for name, value in tags.items()}


def _params(parameters: Mapping[str, Scalar]) -> list[Param]:
    return [Param(_key(name), _cut(_text(value), MAX_PARAM_VAL_LENGTH)) for name, value in parameters.items()]


def _text(value: Scalar) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _chunks(items: Sequence[_ITEM], size: int) -> Iterator[list[_ITEM]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
