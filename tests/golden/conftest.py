"""Where the golden cases lie: `cases/<method>`, or the folder that the environment variable SEEDBED_GOLDEN names."""

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `case` on every case of the file that its module names: GOLDEN = (method, name)."""
    if "case" in metafunc.fixturenames and hasattr(metafunc.module, "GOLDEN"):
        method, name = metafunc.module.GOLDEN
        metafunc.parametrize("case", json.loads((FOLDER / method / f"{name}.json").read_text()))


@pytest.fixture(scope="session")
def golden() -> Callable[[str, str], Case]:
    """Return a reader of cases: (method, name) -> (settings of the JSON file, arrays of the npz file)."""

    def read(method: str, name: str) -> Case:
        settings = json.loads((FOLDER / method / f"{name}.json").read_text())
        with np.load(FOLDER / method / f"{name}.npz", allow_pickle=False) as arrays:
            return settings, dict(arrays)

    return read
