from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from seedbed.stages.doctor import packages
from seedbed.stages.doctor.packages import INSTALL, lock_line, locked_versions, probe_packages

LOCK = Path(__file__).parents[3] / "requirements.lock"


def test_every_pin_of_a_lock_file_is_read() -> None:
    text = "# made by\nnumpy==2.3.1 \\\n    --hash=sha256:abc\n    # via x==9\nruamel-yaml[a,b]==0.18\n"
    assert locked_versions(text) == {"numpy": "2.3.1", "ruamel-yaml": "0.18"}
    assert len(locked_versions(LOCK.read_text())) == LOCK.read_text().count("==")


def test_versions_that_differ_are_named() -> None:
    line = lock_line({"numpy": "0.1", "pillow": version("pillow"), "nothing-of-this-name": "1"})
    assert line.state == "note"
    assert line.what == f"1 of 3 packages are not as locked: numpy {version('numpy')} (locked 0.1)"
    assert line.fix == INSTALL


def test_equal_versions_are_fine_and_development_tools_may_be_missing() -> None:
    line = lock_line({"numpy": version("numpy"), "nothing-of-this-name": "1"})
    assert (line.state, line.what) == ("ok", "1 packages, all as in requirements.lock")


def test_a_missing_package_is_a_problem(monkeypatch) -> None:
    monkeypatch.setattr(packages, "installed_version", lambda name: None if name == "timm" else "1")
    (line,) = probe_packages(LOCK)
    assert (line.state, line.what) == ("problem", "packages are not installed: timm")


def test_without_a_lock_nothing_is_compared(tmp_path: Path) -> None:
    assert [line.state for line in probe_packages(tmp_path / "requirements.lock")] == ["note"]


def test_without_an_installation_it_says_so(monkeypatch) -> None:
    def fail(name: str) -> list[str]:
        raise packages.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages.importlib.metadata, "requires", fail)
    assert "not installed" in probe_packages(LOCK)[0].what
