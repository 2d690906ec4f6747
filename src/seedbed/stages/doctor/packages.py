"""The installed packages against requirements.lock."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from seedbed.stages.doctor.line import Line, listed, note, ok, problem

INSTALL = "python -m pip install -r requirements.lock"
_PINNED = re.compile(r"^([\w.-]+)(?:\[[\w,.-]+\])?==([^\s;\\]+)", re.MULTILINE)


def probe_packages(lock: Path) -> list[Line]:
    """Compare what seedbed needs, and what is locked, with what is installed."""
    try:
        needed = importlib.metadata.requires("seedbed") or []
    except importlib.metadata.PackageNotFoundError:
        return [note("seedbed runs from its source, not installed", "python -m pip install --no-deps -e .")]
    names = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in needed if "extra ==" not in text]
    missing = [name for name in names if installed_version(name) is None]
    if missing:
        return [problem(f"packages are not installed: {listed(missing)}", INSTALL)]
    if not lock.is_file():
        return [note(f"{lock.name} is not here: versions were not compared", f"git checkout {lock.name}")]
    return [lock_line(locked_versions(lock.read_text()))]


def locked_versions(text: str) -> dict[str, str]:
    """Return name -> version of the content of a lock file."""
    return dict(_PINNED.findall(text))


def lock_line(locked: dict[str, str]) -> Line:
    """Compare versions of the packages that are installed; those of the development tools may be missing."""
    found = {name: installed_version(name) for name in locked}
    other = [
        f"{name} {found[name]} (locked {version})"
        for name, version in locked.items()
        if found[name] not in (None, version)
    ]
    if other:
        return note(f"{len(other)} of {len(locked)} packages are not as locked: {listed(other)}", INSTALL)
    here = sum(version is not None for version in found.values())
    return ok(f"{here} packages, all as in requirements.lock")


def installed_version(name: str) -> str | None:
    """Return the installed version of a package, None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
