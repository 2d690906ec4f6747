"""Where the golden cases lie: `cases/<method>`, or the folder that the environment variable SEEDBED_GOLDEN names.

`pytest -v tests/golden` ends with the worst deviation of every test from its cases.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Arrays = dict[str, np.ndarray]
Case = tuple[dict[str, Any], Arrays]

FOLDER = Path(os.environ.get("SEEDBED_GOLDEN") or Path(__file__).parent / "cases")


def load(file: Path | str) -> Arrays:
    """Return the arrays of the npz `file`, a path from FOLDER."""
    with np.load(FOLDER / file, allow_pickle=False) as arrays:
        return dict(arrays)


def read(method: str, name: str) -> Case:
    """Return (settings of the JSON file, arrays of the npz file) of the cases `name` of `method`."""
    return json.loads((FOLDER / method / f"{name}.json").read_text()), load(f"{method}/{name}.npz")


def assert_all_used(arrays: Iterable[str], used: Iterable[str]) -> None:
    """Fail unless the names of a file's `arrays` are those that its tests use: none is passed over, none is missing."""
    assert set(arrays) == set(used)


@pytest.fixture(scope="session")
def golden() -> Callable[[str, str], Case]:
    """Return a reader of cases: see `read`."""
    return read


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `case` on every case of the file that its module names: GOLDEN = (method, name).

    Where the cases of a file are of several kinds, KINDS = {argument: array} gives each kind an argument of its own: it
    takes the cases that have this array.
    """
    if not hasattr(metafunc.module, "GOLDEN"):
        return
    for argument, array in ({"case": None} | getattr(metafunc.module, "KINDS", {})).items():
        if argument in metafunc.fixturenames:
            settings, arrays = read(*metafunc.module.GOLDEN)
            cases = [case for case in settings if array is None or f"{case}_{array}" in arrays]
            metafunc.parametrize(argument, cases or [pytest.param("none", marks=pytest.mark.no_case)] * bool(settings))


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark of tests on a kind of case that the file holds none of."""
    config.addinivalue_line("markers", "no_case: the golden file has cases, but none of this kind")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests without a case; `assert_all_used` sees to it that no array goes unused by that."""
    without = [item for item in items if item.get_closest_marker("no_case")]
    config.hook.pytest_deselected(items=without)
    items[:] = [item for item in items if item not in without]


@pytest.fixture
def near(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Return a check of values against golden ones, at one of the READMEs' kinds of tolerance.

    `absolute`: of the difference (0 = exact); `relative`: of the largest difference over the largest golden value;
    `each`: of every difference over its own golden value. Shapes are the same, and the types of array and array; NaN
    must meet NaN. `name` is for the message.
    """

    def check(ours: Any, golden: np.ndarray, name: str = "", **tolerance: float) -> None:
        ((kind, limit),) = tolerance.items()
        if isinstance(ours, torch.Tensor):
            ours = ours.detach().numpy()
        if isinstance(ours, np.ndarray):
            assert ours.dtype == golden.dtype, name
        assert golden.size > 0, name
        ours, golden = (np.asarray(values, np.float64) for values in (ours, golden))
        assert ours.shape == golden.shape, name
        assert np.array_equal(np.isnan(ours), np.isnan(golden)), name
        ours, golden = ours[~np.isnan(ours)], golden[~np.isnan(golden)]
        gap, size = np.abs(ours - golden), np.abs(golden)
        unit = {"absolute": np.ones_like(size), "relative": np.full_like(size, size.max(initial=0)), "each": size}[kind]
        worst = np.divide(gap, unit, out=np.zeros_like(gap), where=gap > 0).max(initial=0)
        record_property("parity", (kind, limit, float(worst)))
        assert worst <= limit, name

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the worst deviation of each test, over its cases."""
    worst: dict[tuple[str, str, float], float] = {}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "parity":
                kind, limit, deviation = value
                key = report.nodeid.rpartition("/")[2].partition("[")[0], kind, limit
                worst[key] = max(deviation, worst.get(key, 0.0))
    if worst and terminalreporter.verbosity >= 0:
        terminalreporter.section("worst deviations from the golden cases")
        for (test, kind, limit), deviation in worst.items():
            terminalreporter.write_line(f"{deviation:9.2g} of {limit:<6g} {kind:8} {test}")
