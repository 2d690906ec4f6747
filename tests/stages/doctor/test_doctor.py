from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from seedbed.errors import UserError
from seedbed.stages import doctor as package
from seedbed.stages.doctor import attempt, doctor, examine
from seedbed.stages.doctor.line import headline, listed, ok

GROUPS = ["machine", "packages", "GPU", "parameters", "data", "weights", "library", "disk", "git", "DVC", "MLflow"]


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "SEEDBED_DATASETS", "SEEDBED_CATALOGUE"):
        monkeypatch.delenv(name, raising=False)


def files(root: Path) -> list[Path]:
    return sorted(root.rglob("*"))


def test_every_group_has_its_lines_and_nothing_is_changed(project: Path) -> None:
    before = files(project)
    groups = examine(project, project / "params.yaml")
    assert list(groups) == GROUPS
    assert all(groups.values())
    assert {line.state for name in GROUPS[:8] for line in groups[name]} <= {"ok", "note"}
    assert groups["git"][0].state == groups["DVC"][0].state == "problem"
    assert files(project) == before


def test_problems_end_in_an_error_after_the_table(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"git: no git repository.* and 1 more") as caught:
        doctor(project, project / "params.yaml", as_json=False)
    assert "git init" in caught.value.fix
    assert "MLflow" in capsys.readouterr().out


def test_json_is_for_programs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError):
        doctor(project, project / "params.yaml", as_json=True)
    content = json.loads(capsys.readouterr().out)
    assert list(content) == GROUPS
    assert content["DVC"] == [{"state": "problem", "what": "no DVC repository: there is no .dvc/", "fix": "dvc init"}]


def test_without_problems_there_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(package, "examine", lambda root, params_file: {"machine": [ok("fine")]})
    doctor(tmp_path, tmp_path / "params.yaml", as_json=False)


@pytest.mark.parametrize("broken", ["nothing", "data", "params", "lists", "labels", "files"])
def test_a_broken_project_is_described_not_fled_from(project: Path, broken: str) -> None:
    lists = project / "data" / "VOCdevkit" / "VOC2012" / "ImageSets"
    if broken == "nothing":
        shutil.rmtree(project)
        project.mkdir()
    elif broken == "data":
        shutil.rmtree(project / "data")
        (project / "data").write_text("a file")
    elif broken == "params":
        (project / "params.yaml").write_bytes(b"\xff\xfe")
    elif broken == "lists":
        shutil.rmtree(lists)
    elif broken == "labels":
        (project / "data" / "image_labels.json").write_text("{")
    else:
        for name in ("data.dvc", "requirements.lock", "mlflow.db", "reports/data/check.json", "reports/runs/a.json"):
            (project / name).mkdir(parents=True)
    groups = examine(project, project / "params.yaml")
    assert list(groups) == GROUPS
    problems = [line for lines in groups.values() for line in lines if line.state == "problem"]
    assert problems
    assert all(line.fix for line in problems)


def test_what_a_probe_stumbles_over_becomes_its_line() -> None:
    def unreadable() -> list[package.Line]:
        raise PermissionError(13, "Permission denied", "data")

    (line,) = attempt(unreadable)
    assert (line.state, line.what) == ("problem", "PermissionError: [Errno 13] Permission denied: 'data'")
    assert line.fix == "ls -ld data"


def test_errors_of_several_lines_are_told_with_their_place(project: Path) -> None:
    (project / "params.yaml").write_text("seed: 0\nmethods: [a\n")
    with pytest.raises(
        UserError, match=r"not valid YAML: while parsing a flow sequence \(line 3, column 1\)"
    ) as caught:
        doctor(project, project / "params.yaml", as_json=False)
    assert caught.value.fix == f"edit {project / 'params.yaml'}"
    assert headline("one line") == "one line"


def test_long_lists_are_cut() -> None:
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert listed(list("ab")) == "a, b"
