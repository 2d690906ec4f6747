"""MLflow: where the runs go, whether that can be reached, and which records it does not hold."""

from __future__ import annotations

import contextlib
import os
import socket
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from seedbed.errors import UserError
from seedbed.paths import Paths
from seedbed.stages.doctor.line import Line, listed, note, ok, problem
from seedbed.tracking.record import Record, read_record
from seedbed.tracking.uri import public_uri, sqlite_file, tracking_uri

_SYNC = "seedbed track"
_SERVER = "start the server, or unset MLFLOW_TRACKING_URI to use the file mlflow.db"
_PATIENCE = 3  # seconds
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def probe_mlflow(paths: Paths) -> list[Line]:
    """Look at the store of MLFLOW_TRACKING_URI, else mlflow.db, and at the records of runs beside it."""
    uri = tracking_uri(paths.root)
    shown = public_uri(uri, paths.root)
    records, lines = read_records(paths.records)
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        return [*lines, *absent_store(shown, len(records))]
    unanswered = knock(uri)
    if unanswered is not None:
        return [*lines, _out_of_reach(f"MLflow at {shown} does not answer: {unanswered}")]
    return [*lines, *_compare(uri, shown, paths.root, records)]


def read_records(folder: Path) -> tuple[list[Record], list[Line]]:
    """Return the records in `folder`, and a line for every file that is none."""
    records, lines = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(read_record(path))
        except UserError as error:
            lines.append(problem(error.message, error.fix or f"rm {path}"))
    return records, lines


def absent_store(shown: str, records: int) -> list[Line]:
    """Judge a store that is no file yet: the first run makes it."""
    if not records:
        return [ok(f"{shown}, made by the first run")]
    return [note(f"{shown} is not here; {records} records of runs are", _SYNC)]


def knock(uri: str) -> str | None:
    """Return why nobody listens at `uri`, None when somebody does or when it names no host.

    MLflow's own client waits and tries again; a connection says the same in an instant.
    """
    parts = urlsplit(uri)
    try:
        port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
        if parts.hostname is None or port is None:
            return None
        with socket.create_connection((parts.hostname, port), timeout=_PATIENCE):
            return None
    except (OSError, ValueError) as error:  # ValueError: no number where the port should stand
        return str(error)


def _out_of_reach(what: str) -> Line:
    """Judge a server that cannot be used: stages run without it, and their records wait."""
    return note(f"{what}; runs are kept as records until it does", f"{_SERVER}; then {_SYNC}")


def _compare(uri: str, shown: str, root: Path, records: list[Record]) -> list[Line]:
    """Say which `records` the store holds; imported here, so that a broken MLflow becomes a line like any other."""
    try:
        from seedbed.tracking.store import COMPLETE_TAG, RUN_TAG, STORE_ERRORS, Store, reason
    except ImportError as error:
        return [problem(f"mlflow cannot be imported: {error}", "python -m pip install -r requirements.lock")]
    store = Store(uri, root)
    by_experiment: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_experiment[record.mlflow.experiment].append(record)
    complete = f"tags.`{COMPLETE_TAG}` = 'true'"
    absent = []
    try:
        with _impatient():
            store.client.search_experiments(max_results=1)  # without records, nothing else would ask
            for name, here in by_experiment.items():
                experiment = store.client.get_experiment_by_name(name)
                runs = store.find(experiment.experiment_id, complete) if experiment else []
                known = {run.data.tags.get(RUN_TAG) for run in runs}
                absent += [record.name for record in here if record.id not in known]
    except STORE_ERRORS as error:
        what, file = f"MLflow at {shown} cannot be used: {reason(error)}", sqlite_file(uri)
        return [problem(what, f"mv {file} {file}.broken && {_SYNC}") if file else _out_of_reach(what)]
    if absent:
        return [ok(shown), note(f"{len(absent)} of {len(records)} runs are not there: {listed(absent)}", _SYNC)]
    return [ok(f"{shown}, with all {len(records)} runs whose records are here" if records else shown)]


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Let MLflow's client wait `_PATIENCE` and try once: who asks for a diagnosis wants it now."""
    names = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(_PATIENCE), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
