"""The house rules that a machine can check: no import runs upward or across, files and functions stay short."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "seedbed"
ROWS = (
    {"errors", "files", "params", "paths", "progress", "trees", "validation"},
    {"data", "nn", "engine", "evaluate", "crf", "tracking"},
    {"acquire", "intake", "saliency", "methods", "seeds", "segment"},
    {"exchange", "study", "report"},
    {"stages"},
    {"cli"},
)
BELOW_STUDY = {"seeds", "crf", "evaluate", "tracking"}
BELOW_REPORT = {"evaluate", "tracking"}
BELOW_EXCHANGE = {"data", "seeds", "tracking"}
INSIDE_THE_FIRST_ROW = {"files": {"errors"}, "params": {"errors", "validation"}, "trees": {"errors", "files"}}
MODULES = sorted(SOURCE.rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def allowed(package: str) -> set[str]:
    row = next(i for i, names in enumerate(ROWS) if package in names)
    if row == 0:
        return INSIDE_THE_FIRST_ROW.get(package, set())
    below = set().union(*ROWS[:row])
    restricted = {
        "study": BELOW_STUDY | ROWS[0],
        "report": BELOW_REPORT | ROWS[0],
        "exchange": BELOW_EXCHANGE | ROWS[0],
    }
    return restricted.get(package, below)


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("seedbed."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("seedbed.")}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_import_runs_upward(path: Path) -> None:
    package = package_of(path)
    if package == "__init__":
        assert imported(path) == set()
        return
    assert imported(path) - {package} <= allowed(package)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") < 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 50, f"{node.name} is too long"
