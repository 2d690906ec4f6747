"""Studies as a user runs them: the stage of the pipeline, and searches beside it."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from pipeline import tiny

from seedbed.cli import main


def read(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture
def command(done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return a function that runs a command in the finished project and returns what it printed."""
    monkeypatch.chdir(done)

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["seedbed", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        assert not stopped.value.code, said.err
        return said.out

    return run


def study_files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (root / "reports" / "study").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("fusion", ("--rule", "alpha")),
        ("crf", ()),
        ("joint", ("--rule", "mcis", "--pruner", "none")),
        ("crf", ("--timed", "--sampler", "random")),
        ("crf", ("--sampler", "grid", "--pruner", "halving")),
    ],
)
def test_a_search_beside_the_pipeline(done: Path, command, kind: str, words: tuple[str, ...]) -> None:
    before = study_files(done)
    said = command("study", "-m", "eps", "--kind", kind, "--trials", "4", "--images", "5", *words)
    rule = words[1] if "--rule" in words else "saliency-gate"
    folder = done / "studies" / "eps" / f"{kind}-{rule}"
    summary = read(folder / "summary.json")
    assert summary["trials"] + summary["pruned"] == 4
    assert summary["images"]["tune"] == 5
    with (folder / "trials.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 4
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert best["rules"] == {summary["rule"]: summary["points"]["chosen"]["values"]}
    assert (best["crf"] is None) == (kind == "fusion")
    assert all((folder / plot).is_file() for plot in summary["plots"])
    assert summary["points"]["chosen"]["miou"]["trials"] >= summary["points"]["published"]["miou"]["trials"]
    assert ("regret" in said) == (kind == "fusion")
    assert ("Pareto" in said) == ("--timed" in words)
    assert study_files(done) == before
    record = read(done / "reports" / "runs" / f"study-{kind}-eps.json")
    assert len(record["children"]) == 4


def test_the_stage_leaves_plots_and_children_in_mlflow(finished: Path) -> None:
    client = MlflowClient(f"sqlite:///{finished / 'mlflow.db'}")
    record = read(finished / "reports" / "runs" / "study-eps.json")
    run_id = record["mlflow"]["run_id"]
    studies = {child["name"].rpartition(" ")[0] for child in record["children"]}
    assert studies == {"fusion/threshold", "fusion/saliency-gate", "fusion/mcis", "crf"}
    folders = {artifact.path for artifact in client.list_artifacts(run_id, "plots")}
    assert "plots/crf" in folders
    names = {Path(artifact.path).name for artifact in client.list_artifacts(run_id, "plots/crf")}
    assert {"history.png", "slice.png", "contour.png"} <= names


def test_show_lists_every_study(command) -> None:
    said = command("study", "show")
    for words in ("fusion/threshold", "fusion/mcis", "crf", "3 complete"):
        assert words in said


def test_a_search_shares_nothing_with_the_pipeline(done: Path, command) -> None:
    """Even of the same rule, images and seed: what a search of many processes tried must not reach `dvc repro`."""
    before = (done / "studies" / "cam.journal").read_bytes()
    command("study", "-m", "cam", "--kind", "fusion", "--trials", "3")
    assert (done / "studies" / "cam.journal").read_bytes() == before


def test_a_search_on_all_images_is_an_oracle(done: Path, command) -> None:
    said = command("study", "-m", "cam", "--kind", "fusion", "--trials", "2", "--images", "all")
    assert "oracle" in said
    assert "study.tune_images: all" in said
    assert read(done / "studies" / "cam" / "fusion-threshold" / "summary.json")["oracle"]


def test_what_a_search_chose_on_other_images_says_so(done: Path, command) -> None:
    said = command("study", "-m", "cam", "--kind", "fusion", "--trials", "2", "--images", "6")
    assert "study.tune_images: 6" in said
    split = read(done / "studies" / "cam" / "fusion-threshold" / "split.json")
    assert (len(split["tune"]), len(split["report"])) == (6, 6)


def test_a_few_masks_are_enough(done: Path, command) -> None:
    """The case of use: most training images have no mask; they neither choose nor report."""
    masks = sorted((done / "data/VOCdevkit/VOC2012/SegmentationClassAug").glob("train_*.png"))
    for mask in masks[6:]:
        mask.unlink()
    command("data", "check")
    assert "6 of 12 training images have no mask" in (done / "reports/data/check.json").read_text()
    for method in tiny.METHODS:
        command("study", "-m", method)
        command("pseudo", "-m", method)
    command("compare")
    metrics = read(done / "reports" / "metrics" / "pseudo-cam.json")
    assert metrics["images"] == 2
    assert metrics["split"] == "train_aug without the 4 tuning images and 6 without mask"


def test_a_search_in_a_database(done: Path, command, postgres: str) -> None:
    for trials in ("2", "4"):
        command("study", "-m", "cam", "--kind", "fusion", "--trials", trials, "--storage", postgres)
    assert read(done / "studies" / "cam" / "fusion-threshold" / "summary.json")["trials"] == 4
    assert "4 complete" in command("study", "show", "--storage", postgres)


def test_an_oracle_is_called_so_everywhere(done: Path, command, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    params = tiny.parameters()
    params["study"]["tune_images"] = "all"
    tiny.write_parameters(done, params)
    for method in tiny.METHODS:
        command("study", "-m", method)
        command("pseudo", "-m", method)
    command("compare")
    study = read(done / "reports" / "study" / "cam" / "study.json")
    assert study["protocol"]["oracle"]
    assert "threshold oracle miou" in caplog.text
    assert "report miou" not in caplog.text
    assert study["protocol"]["statement"].startswith("Oracle")
    metrics = read(done / "reports" / "metrics" / "pseudo-cam.json")
    assert metrics["images"] == 12
    assert "oracle" in metrics["split"]
    assert "oracle" in (done / "reports" / "index.html").read_text()
    assert metrics["miou"] == pytest.approx(study["rules"]["threshold"]["points"]["chosen"]["miou"]["all"])


def test_the_study_repeats_byte_for_byte(done: Path, command) -> None:
    before = study_files(done)
    shutil.rmtree(done / "studies")
    for method in ("eps", "mcis"):
        command("study", "-m", method)
    assert study_files(done) == before
