"""Where MLflow keeps runs: `MLFLOW_TRACKING_URI`, else a SQLite file at the root of the repository."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

_SQLITE = "sqlite:///"


def home(root: Path) -> Path:
    """Return the repository that runs belong to: `DVC_ROOT` inside a DVC stage, else `root`.

    DVC runs queued experiments in a temporary copy of the repository; their runs belong where they came from.
    """
    return Path(os.environ.get("DVC_ROOT") or root).resolve()


def tracking_uri(root: Path) -> str:
    """Return the URI of the MLflow store. A relative SQLite path counts from the repository, not the current folder."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
    file = sqlite_file(uri)
    if file is None or file.is_absolute():
        return uri
    return f"{_SQLITE}{home(root)}/{uri.removeprefix(_SQLITE)}"


def artifact_folder(root: Path) -> Path:
    """Return the folder that runs in a SQLite store put their artifacts in."""
    return home(root) / "mlartifacts"


def sqlite_file(uri: str) -> Path | None:
    """Return the file behind a SQLite URI, None for any other URI and for a store in memory."""
    path = uri.removeprefix(_SQLITE)
    return Path(path.partition("?")[0]) if path != uri and path else None


def public_uri(uri: str, root: Path) -> str:
    """Return `uri` as it may be written down: without credentials, relative to the repository where it lies there."""
    file = sqlite_file(uri)
    if file is not None:
        return f"{_SQLITE}{file.relative_to(home(root))}" if file.is_relative_to(home(root)) else uri
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
