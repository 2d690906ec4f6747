"""Runs: every stage logs here while it works, to MLflow as far as it can be reached, and to its record in any case."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from numpy.typing import NDArray
from PIL import Image

from seedbed.tracking.environment import data_hash, dvc_state, environment, git_state
from seedbed.tracking.outbox import Outbox
from seedbed.tracking.process import has_died, this_process
from seedbed.tracking.record import (
    Artifact,
    Child,
    Curve,
    Dataset,
    Logged,
    Record,
    Status,
    flat_metrics,
    flat_parameters,
    number,
    sha256,
)
from seedbed.tracking.store import (
    COMPLETE_TAG,
    ERROR_TAG,
    PROCESS_TAG,
    Store,
    child_tags,
    final_points,
    milliseconds,
    point,
    reason,
    run_tags,
)
from seedbed.tracking.uri import public_uri, tracking_uri

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
"""Seconds between visits to the store while a stage works."""

IMAGE_SIDE = 256
"""Long side of sample images, pixels: they are for the eye; the maps themselves are files."""


@contextlib.contextmanager
def start_run(
    stage: str,
    *,
    root: Path,
    record: Path,
    method: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """Log the body of the `with` statement as one run of `stage`, in the MLflow experiment `seedbed/<stage>`.

    `params` is the (nested) parameter block of the stage, `tags` what else tells runs apart (data set, saliency
    source); method, git commit, DVC stage and data hash are added here. When the body ends, the record is written to
    `record`; when it fails, the run is marked FAILED (KILLED on an interrupt), the exception goes on, and no record is
    written: the old one belongs to the artifacts on disk. MLflow out of reach changes nothing but one warning at the
    end. Of the processes of a distributed run only the first (RANK 0) logs.
    """
    run = Run(_new_record(stage, method, params or {}, tags or {}, root), root)
    try:
        yield run
    except BaseException as error:
        run.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", error)
        raise
    run.close("FINISHED")
    if run.active:
        run.record.write(record)
        run.warn(record)


class Run:
    """A run in progress. No method fails or waits long because of MLflow."""

    def __init__(self, record: Record, root: Path) -> None:
        self.record = record
        self.active = os.environ.get("RANK", "0") == "0"
        self._root = root
        self._store = Store(tracking_uri(root), root)
        self._outbox = Outbox()
        self._experiment = ""
        self._points: list[Metric] = []
        self._next_flush = 0.0
        self._monitor: SystemMetricsMonitor | None = None
        self._outbox.add("run", self._open)
        self._send("parameters", self._store.parameters, record.parameters)
        self._send("environment", self._store.json, "environment.json", record.environment, artifact=True)
        self._flush()

    def metrics(self, step: int, values: Mapping[str, SupportsFloat | None]) -> None:
        """Add points at `step` to the curves named in `values`. NaN, infinity and None count as undefined."""
        now = milliseconds(datetime.now(UTC))
        for name, value in values.items():
            defined = number(value)
            self.record.curves.setdefault(name, Curve()).add(step, defined, now)
            self._points.append(point(name, defined, now, step))
        self._flush()

    def image(self, name: str, pixels: NDArray[np.uint8]) -> None:
        """Log a sample image, uint8 [H,W,3] or [H,W], as `images/<name>.jpg`, its long side cut to IMAGE_SIDE."""
        image = Image.fromarray(pixels)
        image.thumbnail((IMAGE_SIDE, IMAGE_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=88)
        self.record.images[name] = base64.b64encode(buffer.getvalue()).decode()
        self._send(f"image {name}", self._store.content, f"images/{name}.jpg", buffer.getvalue(), artifact=True)
        self._flush()

    def artifact(self, path: Path, folder: str = "") -> None:
        """Log a file, or all files of a folder, into `folder` of the artifacts. They must stay until the run ends."""
        if not self.active:
            return
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                inside = Path(folder) / (file.relative_to(path).parent if path.is_dir() else "")
                self._file(file, inside.as_posix() if inside.parts else "")
        self._flush()

    def dataset(self, name: str, digest: str | None, source: str) -> None:
        """Log the data set that the run reads: its name, hash (None = not tracked) and place."""
        dataset = Dataset(name=name, digest=digest or "untracked", source=source)
        self.record.datasets.append(dataset)
        self._send("data set", self._store.dataset, dataset)
        self._flush()

    def child(
        self,
        name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, Any],
        *,
        seconds: float = 0.0,
        status: Status = "FINISHED",
    ) -> None:
        """Log a trial that has just ended after `seconds` as a child run (pruned: KILLED)."""
        child = Child(
            name=name,
            parameters=flat_parameters(params),
            metrics=flat_metrics(metrics),
            status=status,
            ended=datetime.now(UTC),
            seconds=seconds,
        )
        tags = child_tags(self.record, len(self.record.children))
        self.record.children.append(child)
        created: list[str] = []  # survives a failed attempt, so that the next one continues the same child

        def send() -> None:
            if not created:
                started = child.ended - timedelta(seconds=child.seconds)
                created.append(self._store.create(self._experiment, name, started, tags, parent=self._id))
            self._store.fill_child(created[0], child)

        self._outbox.add("child runs", send)
        self._flush()

    def finish(
        self, metrics: Mapping[str, Any] | None = None, timings: Mapping[str, SupportsFloat | None] | None = None
    ) -> None:
        """State the results: nested metrics (numbers are kept, text is not), and timings in seconds or as named."""
        self.record.metrics |= flat_metrics(metrics or {})
        self.record.timings |= {name: number(value) for name, value in (timings or {}).items()}

    def close(self, status: Status, error: BaseException | None = None) -> None:
        """End the run. `start_run` calls this."""
        self.record.ended = datetime.now(UTC)
        self.record.timings["total"] = (self.record.ended - self.record.started).total_seconds()
        if not self.active:
            return
        self._points += final_points(self.record)
        if error is not None:
            self._send("error", self._store.tags, {ERROR_TAG: reason(error)})
        if self._monitor is not None:
            self._monitor.finish()
            self._outbox.add("system metrics", partial(_last_sample, self._monitor))
        self._queue_points()
        self._send("status", self._store.end, status, self.record.ended)
        self._outbox.drain(last=True)
        if status == "FINISHED" and not self._outbox.missing:
            self._send("completeness", self._store.tags, {COMPLETE_TAG: "true"})
            self._outbox.drain(last=True)
        state = self.record.mlflow
        state.missing = self._outbox.missing
        state.logged = not state.missing
        state.reason = self._outbox.reason if state.missing else None

    def warn(self, record: Path) -> None:
        """Say what did not reach MLflow, if anything."""
        state = self.record.mlflow
        if not state.logged:
            logger.warning(
                "%s: not logged to MLflow at %s: %s (%s). All of it is in %s; once MLflow is back: seedbed track",
                self.record.name,
                state.uri,
                ", ".join(state.missing),
                state.reason,
                record,
            )

    @property
    def _id(self) -> str:
        if self.record.mlflow.run_id is None:
            raise MlflowException("MLflow refused to create the run", RESOURCE_DOES_NOT_EXIST)
        return self.record.mlflow.run_id

    def _open(self) -> None:
        """Create the run in the store."""
        self._experiment = self._store.experiment(self.record.mlflow.experiment)
        _close_orphans(self._store, self._experiment)
        tags = {**run_tags(self.record), PROCESS_TAG: this_process()}
        self.record.mlflow.run_id = self._store.create(self._experiment, self.record.name, self.record.started, tags)

    def _watch(self) -> None:
        """Begin to log system metrics, once there is a run to log them to."""
        if self._monitor is None and self.record.mlflow.run_id is not None:
            self._monitor = SystemMetricsMonitor(self.record.mlflow.run_id, tracking_uri=self._store.uri)
            self._monitor.start()

    def _file(self, file: Path, folder: str) -> None:
        file, root = file.absolute(), self._root.absolute()
        place = file.relative_to(root) if file.is_relative_to(root) else file
        artifact = Artifact(path=str(place), folder=folder, sha256=sha256(file), bytes=file.stat().st_size)
        self.record.artifacts.append(artifact)
        self._send(f"artifact {place}", self._store.file, file, folder, artifact=True)

    def _send(self, what: str, log: Callable[..., None], *content: Any, artifact: bool = False) -> None:
        """Queue `log(run id, *content)`, a method of the store."""
        self._outbox.add(what, lambda: log(self._id, *content), artifact)

    def _queue_points(self) -> None:
        if self._points:
            points, self._points = self._points, []
            self._send("metrics", self._store.points, points)

    def _flush(self) -> None:
        """Visit the store, unless the last visit was a moment ago."""
        if self.active and time.monotonic() >= self._next_flush:
            self._queue_points()
            self._outbox.drain()
            self._watch()
            self._next_flush = time.monotonic() + FLUSH_SECONDS


def _new_record(
    stage: str, method: str | None, params: Mapping[str, Any], tags: Mapping[str, str], root: Path
) -> Record:
    """Return the record of a run that starts now."""
    commit, dirty = git_state(root)
    now = datetime.now(UTC)
    return Record(
        id=uuid.uuid4().hex,
        stage=stage,
        method=method,
        started=now,
        ended=now,
        parameters=flat_parameters(params),
        tags=dict(tags),
        environment=environment(),
        git={"commit": commit, "dirty": dirty},
        data=data_hash(root),
        dvc=dvc_state(),
        mlflow=Logged(uri=public_uri(tracking_uri(root), root), experiment=f"seedbed/{stage}"),
    )


def _last_sample(monitor: SystemMetricsMonitor) -> None:
    """Log what the machine did since the last sample: a short stage would otherwise have none."""
    monitor.collect_metrics()
    monitor.publish_metrics(monitor.aggregate_metrics())
    monitor.mlflow_logger.flush()


def _close_orphans(store: Store, experiment: str) -> None:
    """Mark as KILLED the runs whose process on this machine died without a word (SIGKILL, power)."""
    for run in store.find(experiment, "attributes.status = 'RUNNING'"):
        process = run.data.tags.get(PROCESS_TAG)
        if process and has_died(process):
            store.end(run.info.run_id, "KILLED", datetime.now(UTC))
