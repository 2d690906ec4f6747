"""`seedbed doctor`: what would keep this project from running on this machine, with the command that mends it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seedbed.errors import UserError
from seedbed.paths import Paths
from seedbed.stages.doctor.content import (
    is_here,
    probe_check,
    probe_data,
    probe_inputs,
    probe_library,
    probe_lists,
    probe_names,
    probe_weights,
    read_params,
)
from seedbed.stages.doctor.disk import probe_disk, probe_maps
from seedbed.stages.doctor.line import Line, headline, problem
from seedbed.stages.doctor.machine import probe_gpu, probe_machine
from seedbed.stages.doctor.packages import INSTALL, probe_packages
from seedbed.stages.doctor.tracking import probe_mlflow
from seedbed.stages.doctor.versioning import probe_dvc, probe_git, read_dvc
from seedbed.stages.fetch import LIBRARY_VARIABLE

Probe = Callable[[], list[Line]]
_MEND = "mend what this line names, then seedbed doctor again"
_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


def doctor(root: Path, params_file: Path, as_json: bool) -> None:
    """Print what every probe saw of the project in `root`, as a table or as JSON.

    Changes nothing. Raises UserError when there is a problem, after printing.
    """
    groups = examine(root, params_file)
    if as_json:
        content = {name: [asdict(line) for line in lines] for name, lines in groups.items()}
        typer.echo(json.dumps(content, indent=1))
    else:
        Console().print(_table(groups))
    problems = [(name, line) for name, lines in groups.items() for line in lines if line.state == "problem"]
    if problems:
        name, first = problems[0]
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise UserError(f"{name}: {headline(first.what)}{more}", first.fix)


def examine(root: Path, params_file: Path) -> dict[str, list[Line]]:
    """Return the lines of every group. A probe that fails is a problem of its group, and the others go on."""
    paths = Paths(root)
    params, validity = read_params(params_file)
    groups: dict[str, list[Probe]] = {
        "machine": [lambda: probe_machine(params)],
        "packages": [lambda: probe_packages(root / "requirements.lock")],
        "GPU": [lambda: probe_gpu(params)],
        "parameters": [lambda: validity],
        "data": [lambda: probe_data(paths)],
        "weights": [],
        "library": [lambda: probe_library(root)],
        "disk": [lambda: probe_disk(_places(root))],
        "git": [lambda: probe_git(root)],
        "DVC": [lambda: probe_dvc(root)],
        "MLflow": [lambda: probe_mlflow(paths)],
    }
    if is_here(paths):
        groups["data"].append(lambda: probe_check(paths))
    if params is not None:
        groups["parameters"].append(lambda: probe_names(params_file, root))
        groups["weights"].append(lambda: probe_weights(paths, params))
        if is_here(paths):
            groups["data"] += [lambda: probe_lists(paths, params), lambda: probe_inputs(paths, params)]
            groups["disk"].append(lambda: probe_maps(paths, params))
    return {name: [line for probe in probes for line in attempt(probe)] for name, probes in groups.items()}


def attempt(probe: Probe) -> list[Line]:
    """Return what `probe` sees; what it stumbles over in a broken project is a line too."""
    try:
        return probe()
    except UserError as error:
        return [problem(error.message, error.fix or _MEND)]
    except OSError as error:
        mend = f"ls -ld {error.filename}" if error.filename else _MEND
        return [problem(f"{type(error).__name__}: {error}", mend)]
    except ImportError as error:
        return [problem(f"{type(error).__name__}: {error}", INSTALL)]


def _places(root: Path) -> dict[str, Path]:
    """Return the folders that grow."""
    dvc = read_dvc(root)
    cache = root / ".dvc" / "cache" if isinstance(dvc, Line) else dvc.cache
    library = Path(os.environ.get(LIBRARY_VARIABLE) or root / "datasets")
    return {"the project": root, "DVC's cache": cache, "the library": library}


def _table(groups: Mapping[str, list[Line]]) -> Table:
    table = Table("", "", "what", "to mend it", show_lines=False)
    for name, lines in groups.items():
        for index, line in enumerate(lines):
            state = Text(line.state, _COLOURS[line.state])
            table.add_row(Text("" if index else name), state, Text(line.what), Text(line.fix or ""))
        table.add_section()
    return table
