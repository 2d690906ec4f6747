"""The entry of the command line, with every command at hand."""

from __future__ import annotations

import logging
import os
import sys

import typer

from seedbed.cli import data, exchange, pipeline, study, tools, weights
from seedbed.cli.common import app
from seedbed.errors import UserError

__all__ = ["app", "data", "exchange", "main", "pipeline", "study", "tools", "weights"]


def main() -> None:
    """Run the command line; a UserError becomes its message and exit status 2, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # A stage's own output must not drown in other libraries' notes.
    for noisy in ("alembic", "mlflow", "urllib3", "timm", "matplotlib", "PIL", "accelerate", "fontTools"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        app()
    except UserError as error:
        typer.secho(f"seedbed: {error}", err=True, fg=typer.colors.RED)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.secho("seedbed: interrupted; what was complete is kept", err=True)
        sys.exit(130)
