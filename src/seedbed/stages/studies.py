"""What the storages of Optuna hold, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from seedbed.errors import UserError
from seedbed.paths import Paths
from seedbed.study.show import StudySummary, describe_studies


def show(paths: Paths, storage: str | None) -> None:
    """Print every study in `storage` (None = the journals in studies/): trials, images, best mIoU and setting."""
    places: list[str | Path] = [storage] if storage else sorted(paths.studies.glob("*.journal"))
    if not places:
        raise UserError(f"there is no study in {paths.studies}", "seedbed study --method METHOD")
    for place in places:
        _print_studies("studies in the storage given" if storage else str(place), describe_studies(place))


def _print_studies(title: str, studies: list[StudySummary]) -> None:
    narrow = [Column(name, no_wrap=True) for name in ("study", "method", "trials", "best mIoU")]
    table = Table(*narrow, "setting", title=title, title_justify="left")
    for one in studies:
        trials = "\n".join(f"{count} {state}" for state, count in one.trials.items())
        best = "-" if one.miou is None else f"{100 * one.miou:.2f}"
        best += f"\non {one.images} images" if one.images else ""
        best += "" if one.pareto is None else f"\n{one.pareto} on the front"
        table.add_row(one.kind or one.name, one.method or "-", trials, best, setting(one.setting))
    Console().print(table)


def setting(values: Mapping[str, float]) -> str:
    """Return a setting as people read it."""
    return ", ".join(f"{name} {value:g}" for name, value in values.items())
