"""Data under version control: recorded, pushed, cloned, tampered with, restored, changed on purpose."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline import tiny

from seedbed.intake.record import recorded
from seedbed.params import check_params

ROOT = Path(__file__).parents[2]
SETUP = (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "dvc.yaml", "models/pretrained/README.md")
IMAGE = "VOCdevkit/VOC2012/JPEGImages/train_0003.jpg"


def run(root: Path, *words: str, status: int = 0) -> str:
    """Run a program of the environment in `root`, see it end with `status`, and return what it said."""
    done = subprocess.run(words, cwd=root, env=tiny.environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def dvc(root: Path, *words: str, status: int = 0) -> str:
    return run(root, sys.executable, "-m", "dvc", *words, status=status)


def seedbed(root: Path, *words: str, status: int = 0) -> str:
    return run(root, sys.executable, "-m", "seedbed.cli", *words, status=status)


def save(root: Path, message: str) -> None:
    run(root, "git", "add", "--all")
    run(root, "git", "commit", "-qm", message)


@pytest.fixture(scope="module")
def origin(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a git repository whose data came in by `seedbed data use`, were checked, and lie in a DVC remote."""
    folder = tmp_path_factory.mktemp("versions")
    root = folder / "origin"
    for name in SETUP:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    # The code is a dependency of the stages; a link would be another kind of file to DVC.
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    tiny.write_parameters(root, check_params(tiny.parameters()).model_dump())  # complete: DVC knows no defaults
    shutil.copytree(fresh / "data", folder / "photos")
    (folder / "saliency").mkdir()
    (folder / "photos" / "DUTS-TE").rename(folder / "saliency" / "DUTS-TE")
    for words in (["init", "-q"], ["config", "user.email", "test@localhost"], ["config", "user.name", "Test"]):
        run(root, "git", *words)
    dvc(root, "remote", "add", "--default", "store", str(folder / "store"))
    seedbed(root, "data", "use", str(folder / "photos"), str(folder / "saliency"))
    dvc(root, "repro", "check-data")
    save(root, "Data")
    dvc(root, "push")
    return root


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    """Return a clone that has pulled the data and what the check left."""
    run(tmp_path, "git", "clone", "-q", str(origin), "clone")
    dvc(tmp_path / "clone", "pull", "data.dvc", "check-data")
    return tmp_path / "clone"


def test_a_clone_has_nothing_to_do(clone: Path) -> None:
    agreed = recorded(clone)
    assert agreed is not None
    assert agreed.sources == ("photos", "saliency")
    assert "Data and pipelines are up to date" in dvc(clone, "status", "check-data", "data.dvc")
    assert "Running stage" not in dvc(clone, "repro", "check-data")
    assert "as recorded" in seedbed(clone, "data", "check")
    assert run(clone, "git", "status", "--porcelain") == ""


def test_a_tampered_file_stops_everything_until_it_is_restored(clone: Path) -> None:
    """Written into, so that DVC's cache, to which data/ is linked, is damaged too."""
    path = clone / "data" / IMAGE
    before = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(before[:-9] + bytes(9))
    path.chmod(0o444)
    said = dvc(clone, "repro", status=255)
    assert f"1 modified ({IMAGE})" in said
    assert "seedbed data restore" in said
    assert said.count("Running stage") == 1
    assert "dvc fetch" in seedbed(clone, "data", "restore", status=2)
    dvc(clone, "fetch", "data.dvc")
    assert f"1 modified ({IMAGE})" in seedbed(clone, "data", "restore")
    assert path.read_bytes() == before
    dvc(clone, "repro", "check-data")
    assert run(clone, "git", "status", "--porcelain") == ""


def test_older_data_under_a_newer_commit_are_noticed(clone: Path) -> None:
    """The check of the older data is in DVC's cache of runs; its answer must not count for the newer."""
    dvc(clone, "repro", "--force", "check-data")
    (clone / "data" / "notes.txt").write_text("notes")
    assert "1 added (notes.txt)" in seedbed(clone, "data", "commit")
    dvc(clone, "repro", "check-data")
    save(clone, "Notes")
    (clone / "data" / "notes.txt").unlink()
    assert "1 missing (notes.txt)" in dvc(clone, "repro", status=255)
    assert "1 missing (notes.txt)" in seedbed(clone, "data", "restore")
    assert run(clone, "git", "status", "--porcelain") == ""
