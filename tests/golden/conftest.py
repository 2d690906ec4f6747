"""Where the golden cases lie: `cases/<method>`, or the folder that the environment variable SEEDBED_GOLDEN names.

`pytest -v tests/golden` ends with the worst deviation of every test from its cases.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Case = tuple[dict[str, Any], dict[str, np.ndarray]]


FOLDER = Path(os.environ.get("SEEDBED_GOLDEN") or Path(__file__).parent / "cases")


def read(method: str, name: str) -> Case:
    """Return (settings of the JSON file, arrays of the npz file) of the cases `name` of `method`."""
    settings = json.loads((FOLDER / method / f"{name}.json").read_text())
    with np.load(FOLDER / method / f"{name}.npz", allow_pickle=False) as arrays:
        return settings, dict(arrays)


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
            metafunc.parametrize(argument, [case for case in settings if array is None or f"{case}_{array}" in arrays])


@pytest.fixture
def near(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Return a check of values against golden ones, at one of the READMEs' kinds of tolerance.

    `absolute`: of the difference (0 = exact); `relative`: of the largest difference over the largest golden value;
    `each`: of every difference over its own golden value. NaN must meet NaN.
    """

    def check(ours: Any, golden: Any, **tolerance: float) -> None:
        ((kind, limit),) = tolerance.items()
        ours, golden = (np.asarray(values, np.float64) for values in (ours, golden))
        assert ours.shape == golden.shape
        assert np.array_equal(np.isnan(ours), np.isnan(golden))
        ours, golden = ours[~np.isnan(ours)], golden[~np.isnan(golden)]
        gap, size = np.abs(ours - golden), np.abs(golden)
        unit = {"absolute": np.ones_like(size), "relative": np.full_like(size, size.max(initial=0)), "each": size}[kind]
        worst = np.divide(gap, unit, out=np.zeros_like(gap), where=gap > 0).max(initial=0)
        record_property("parity", (kind, limit, float(worst)))
        assert worst <= limit

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
