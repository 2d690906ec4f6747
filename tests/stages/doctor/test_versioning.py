from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seedbed.stages.doctor import versioning
from seedbed.stages.doctor.versioning import Dvc, cache_line, probe_dvc, probe_git, remote_lines


def git(root: Path, *words: str) -> None:
    names = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *names, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a committed dvc.lock."""
    git(tmp_path, "init")
    (tmp_path / "dvc.lock").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "a")
    return tmp_path


def test_committed_files_are_fine(repository: Path) -> None:
    assert [line.state for line in probe_git(repository)] == ["ok"]


def test_uncommitted_files_are_named_with_the_commands(repository: Path) -> None:
    (repository / "dvc.lock").write_text("b")
    (repository / "data.dvc").write_text("new")
    (repository / "other.txt").write_text("nothing of ours")
    (line,) = probe_git(repository)
    assert line.state == "note"
    assert line.what == "git: not committed: dvc.lock, data.dvc"
    assert line.fix == "git add dvc.lock data.dvc && git commit -m 'Results'"


def test_no_repository_is_a_problem(tmp_path: Path) -> None:
    (line,) = probe_git(tmp_path)
    assert line.state == "problem"
    assert "not a git repository" in line.what


def test_no_git_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert probe_git(tmp_path)[0].what == "git is not installed"


@pytest.fixture
def dvc(tmp_path: Path) -> Path:
    """A DVC repository without git."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    return tmp_path


def test_a_repository_without_remote_gets_a_note(dvc: Path) -> None:
    lines = probe_dvc(dvc)
    assert [line.state for line in lines] == ["ok", "ok", "note"]
    assert lines[1].what == f"cache {dvc / '.dvc' / 'cache' / 'files' / 'md5'}"


def test_remotes_are_looked_at(dvc: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    remotes = {"a": "../here", "b": "../gone", "c": "s3://bucket/x"}
    sections = [f"['remote \"{name}\"']\n    url = {url}\n" for name, url in remotes.items()]
    (dvc / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    remote = a\n" + "".join(sections))
    lines = probe_dvc(dvc)[2:]
    assert [line.state for line in lines] == ["ok", "problem", "ok"]
    assert lines[1].what == f"remote b: folder {tmp_path / 'gone'} does not exist"
    assert "not asked" in lines[2].what


def test_credentials_are_not_shown(dvc: Path) -> None:
    remote = "['remote \"a\"']\n    url = https://me:secret@host:8443/store\n"
    (dvc / ".dvc" / "config").write_text(f"[core]\n    no_scm = true\n    remote = a\n{remote}")
    assert probe_dvc(dvc)[2].what.startswith("remote a: https://host:8443/store, not asked")


def test_a_remote_must_be_the_default_to_be_pushed_to(tmp_path: Path) -> None:
    lines = remote_lines(Dvc(tmp_path, None, {"store": str(tmp_path)}))
    assert [line.state for line in lines] == ["note", "ok"]
    assert lines[0].fix == "dvc remote default store"


@pytest.mark.parametrize(("config", "words"), [(None, "no DVC repository"), ("[core", "configuration is not valid")])
def test_a_broken_repository_is_a_problem(config: str | None, words: str, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / ".dvc").mkdir()
        (tmp_path / ".dvc" / "config").write_text(config)
    (line,) = probe_dvc(tmp_path)
    assert line.state == "problem"
    assert words in line.what


def test_a_repository_whose_git_is_gone_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("")
    assert probe_dvc(tmp_path)[0].fix == "git init, or dvc config core.no_scm true"


def test_a_dvc_that_cannot_be_imported_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dvc.repo", None)
    assert "cannot be imported" in probe_dvc(tmp_path)[0].what


def test_places_without_permission_are_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versioning.os, "access", lambda place, mode: mode == os.F_OK)  # root may write anywhere
    assert cache_line(tmp_path / "cache").state == "problem"
    assert remote_lines(Dvc(tmp_path, "s", {"s": str(tmp_path)}))[0].state == "problem"
