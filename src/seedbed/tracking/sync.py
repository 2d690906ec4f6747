"""Bringing records back into MLflow: runs that the store has never seen, and runs it saw only in part."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from seedbed.errors import UserError
from seedbed.tracking.record import Record, read_record, sha256
from seedbed.tracking.store import (
    COMPLETE_TAG,
    RUN_TAG,
    STORE_ERRORS,
    Store,
    child_tags,
    final_points,
    point,
    reason,
    run_tags,
)
from seedbed.tracking.uri import public_uri, tracking_uri


@dataclass(frozen=True)
class Synced:
    """What `sync` found and did for one record; `absent` lists artifacts that are no longer on disk as they were."""

    record: Path
    run_id: str
    experiment: str
    outcome: Literal["present", "completed", "re-created"]
    absent: tuple[str, ...] = ()


def sync(records: Path, root: Path) -> list[Synced]:
    """Make every record in the folder `records` a run of the MLflow store in use; twice the same adds nothing.

    A run is known by its tag `seedbed.run`. Curves come back as thinned in the record, artifacts as far as they are
    still on disk unchanged, system metrics not at all. Raises UserError when the store cannot be used, or when a file
    in `records` is no record.
    """
    store = Store(tracking_uri(root), root)
    read = [(path, read_record(path)) for path in sorted(records.glob("*.json"))]
    try:
        return [_sync_one(store, path, record, root) for path, record in read]
    except STORE_ERRORS as error:
        raise UserError(
            f"MLflow at {public_uri(store.uri, root)} cannot be used: {reason(error)}",
            "start the server, or unset MLFLOW_TRACKING_URI to use the file mlflow.db; then: seedbed track",
        ) from error


def _sync_one(store: Store, path: Path, record: Record, root: Path) -> Synced:
    name = record.mlflow.experiment
    experiment = store.experiment(name)
    found = store.find(experiment, f"tags.`{RUN_TAG}` = '{record.id}'")
    if found and COMPLETE_TAG in found[0].data.tags:
        return Synced(path, found[0].info.run_id, name, "present")
    run_id = found[0].info.run_id if found else store.create(experiment, record.name, record.started, run_tags(record))
    absent = _fill(store, record, run_id, root)
    _fill_children(store, record, experiment, run_id)
    store.end(run_id, "FINISHED", record.ended)
    store.tags(run_id, {COMPLETE_TAG: "true"})
    return Synced(path, run_id, name, "completed" if found else "re-created", tuple(absent))


def _fill(store: Store, record: Record, run_id: str, root: Path) -> list[str]:
    """Log all that the record holds to the run, and return the artifacts that are gone or changed."""
    store.tags(run_id, run_tags(record))
    store.parameters(run_id, record.parameters)
    for dataset in record.datasets:
        store.dataset(run_id, dataset)
    for name, curve in record.curves.items():
        points = zip(curve.value, curve.time, curve.step, strict=True)
        store.points(run_id, [point(name, value, moment, step) for value, moment, step in points])
    store.points(run_id, final_points(record))
    store.json(run_id, "environment.json", record.environment)
    for name, image in record.images.items():
        store.content(run_id, f"images/{name}.jpg", base64.b64decode(image))
    absent = []
    for artifact in record.artifacts:
        file = root / artifact.path
        if file.is_file() and sha256(file) == artifact.sha256:
            store.file(run_id, file, artifact.folder)
        else:
            absent.append(artifact.path)
    return absent


def _fill_children(store: Store, record: Record, experiment: str, run_id: str) -> None:
    """Log the record's trials as children of the run, each once."""
    if not record.children:
        return
    there = store.find(experiment, f"tags.`mlflow.parentRunId` = '{run_id}'")
    known = {child.data.tags.get(RUN_TAG): child.info.run_id for child in there}
    for index, child in enumerate(record.children):
        tags = child_tags(record, index)
        started = child.ended - timedelta(seconds=child.seconds)
        child_id = known.get(tags[RUN_TAG]) or store.create(experiment, child.name, started, tags, parent=run_id)
        store.fill_child(child_id, child)
