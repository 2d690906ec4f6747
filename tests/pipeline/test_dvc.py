"""The pipeline as its users run it: dvc repro, a second one, an experiment, a queued one, MLflow out of reach."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pipeline import tiny

from seedbed.data.masks import read_mask, write_mask
from seedbed.params import check_params

ROOT = Path(__file__).parents[2]
VOC = Path("data/VOCdevkit/VOC2012")
STAGES = 4 + 6 * len(tiny.METHODS) + 1


def run(root: Path, *words: str, **more: str) -> str:
    """Run a program of the environment in `root` and return what it said. It must succeed."""
    done = subprocess.run(words, cwd=root, env=tiny.environment(**more), capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def dvc(root: Path, *words: str, **more: str) -> str:
    return run(root, sys.executable, "-m", "dvc", *words, **more)


@pytest.fixture(scope="module")
def repository(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a git repository with this pipeline, tiny data and parameters, after its first `dvc repro`."""
    root = tmp_path_factory.mktemp("dvc") / "repository"
    root.mkdir()
    for name in (
        ".dvc/config",
        ".dvc/.gitignore",
        ".dvcignore",
        ".gitignore",
        "dvc.yaml",
        "models/pretrained/README.md",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    # The code is a dependency of the stages; a link would be another kind of file to DVC.
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(fresh / "data", root / "data")
    tiny.write_parameters(root, check_params(tiny.parameters()).model_dump())  # complete: DVC knows no defaults
    for words in (["init", "-q"], ["config", "user.email", "test@localhost"], ["config", "user.name", "Test"]):
        run(root, "git", *words)
    dvc(root, "add", "-q", "data")
    run(root, "git", "add", "--all")
    run(root, "git", "commit", "-qm", "Tiny project")
    said = dvc(root, "repro")
    assert said.count("Running stage") == STAGES, said
    run(root, "git", "add", "--all")
    run(root, "git", "commit", "-qm", "Results")
    return root


def test_repro_leaves_page_metrics_and_a_clean_tree(repository: Path) -> None:
    comparison = json.loads((repository / "reports" / "compare.json").read_text())
    assert set(comparison["methods"]) == set(tiny.METHODS)
    assert "<html" in (repository / "reports" / "index.html").read_text()
    assert run(repository, "git", "status", "--porcelain") == ""
    assert "miou" in dvc(repository, "metrics", "show")
    assert "train-localiser-eps.csv" in dvc(repository, "plots", "diff", "--json", "HEAD")


def test_a_second_repro_runs_nothing(repository: Path) -> None:
    said = dvc(repository, "repro")
    assert "Running stage" not in said
    assert "up to date" in said


def test_a_second_clone_pulls_and_has_nothing_to_do(repository: Path, tmp_path: Path) -> None:
    clone, store = tmp_path / "clone", ("remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    dvc(repository, *store)
    dvc(repository, "push")
    run(tmp_path, "git", "clone", "-q", str(repository), "clone")
    dvc(clone, *store)
    dvc(clone, "pull")
    assert "Data and pipelines are up to date" in dvc(clone, "status")
    assert "Running stage" not in dvc(clone, "repro")
    assert run(clone, "git", "status", "--porcelain") == ""
    for name in ("reports/index.html", "reports/compare.json"):
        assert (clone / name).read_bytes() == (repository / name).read_bytes()


def test_what_a_desktop_leaves_in_data_changes_nothing(repository: Path) -> None:
    for name in (".DS_Store", "DUTS-TR/Images/Thumbs.db", "DUTS-TE/._Images"):
        (repository / "data" / name).write_text("clutter")
    assert begun(repository) == set()
    assert "Running stage" not in dvc(repository, "repro")
    said = run(repository, sys.executable, "-m", "seedbed.cli", "data", "check")
    assert "data/ is usable" in said
    assert run(repository, "git", "status", "--porcelain") == ""


def val_mask(root: Path) -> None:
    path = root / VOC / "SegmentationClassAug" / "val_0000.png"
    mask = read_mask(path)
    mask[:2] = 255
    write_mask(path, mask)


def one_label(root: Path) -> None:
    path = root / "data" / "image_labels.json"
    labels = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps({**labels, "train_0000": ["train"]}))


def saliency_test(root: Path) -> None:
    masks = root / "data" / "DUTS-TE" / "Masks"
    (masks / "pair_2_0000.png").unlink()
    shutil.copy(masks / "pair_2_0001.png", masks / "pair_2_0000.png")


def saliency_train(root: Path) -> None:
    masks = root / "data" / "DUTS-TR" / "Masks"
    (masks / "pair_1_0000.png").unlink()
    shutil.copy(masks / "pair_1_0001.png", masks / "pair_1_0000.png")


def notes(root: Path) -> None:
    (root / "data" / "notes.txt").write_text("notes")


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        (notes, set()),
        (val_mask, {"evaluate-segmenter", "compare"}),
        (one_label, {"train-localiser", "seeds", "study", "pseudo"}),
        (saliency_test, {"evaluate-saliency"}),
        (saliency_train, {"train-saliency"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_change_of_data_reruns_what_reads_it(
    repository: Path, change: Callable[[Path], None], stages: set[str]
) -> None:
    """And then what depends on its results, where those become others."""
    change(repository)
    assert begun(repository) == {"check-data"}
    dvc(repository, "repro", "check-data")
    # The metrics of the check are on the comparison page.
    assert begun(repository) - {"compare"} == stages - {"compare"}
    run(repository, "git", "checkout", "-q", ".")
    dvc(repository, "checkout", "-q", "--force")
    assert begun(repository) == set()


def begun(root: Path) -> set[str]:
    """Return the stages that `dvc repro` would begin with: those whose own inputs have changed."""
    return {stage.split("@")[0] for stage in json.loads(dvc(root, "status", "--json"))} - {"data.dvc"}


def test_an_experiment_reruns_what_depends_on_its_change(repository: Path) -> None:
    said = dvc(repository, "exp", "run", "--name", "fewer-samples", "-S", "segmenter.train.steps=3")
    ran = {line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")}
    stages = {f"{stage}@{method}" for stage in ("train-segmenter", "evaluate-segmenter") for method in tiny.METHODS}
    assert ran == {*stages, "compare"}
    record = json.loads((repository / "reports" / "runs" / "train-segmenter-eps.json").read_text())
    assert record["dvc"]["experiment"] == "fewer-samples"
    assert "fewer-samples" in dvc(repository, "exp", "show", "--csv")
    run(repository, "git", "checkout", "-q", ".")
    dvc(repository, "checkout", "-q")


def test_a_queued_experiment_logs_to_the_same_store(repository: Path) -> None:
    """DVC runs it in another folder; its runs must reach the MLflow store of the repository."""
    dvc(repository, "exp", "run", "--queue", "--name", "queued", "-S", "evaluate.flip=true")
    dvc(repository, "exp", "run", "--run-all")
    assert "queued" in dvc(repository, "exp", "show", "--csv")
    dvc(repository, "exp", "apply", "queued")
    record = json.loads((repository / "reports" / "runs" / "evaluate-segmenter-eps.json").read_text())
    assert record["parameters"]["evaluate.flip"] is True
    said = run(repository, sys.executable, "-m", "seedbed.cli", "track")
    assert record["mlflow"]["run_id"][:8] in said
    assert "re-created" not in said
    run(repository, "git", "checkout", "-q", ".")
    dvc(repository, "checkout", "-q")


def test_without_mlflow_the_stage_ends_and_track_brings_the_run(repository: Path) -> None:
    command = [sys.executable, "-m", "seedbed.cli"]
    said = run(repository, *command, "train-localiser", "-m", "cam", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert "not logged to MLflow" in said
    assert "seedbed track" in said
    first = run(repository, *command, "track")
    assert first.count("re-created") == 1, first
    second = run(repository, *command, "track")
    assert "re-created" not in second
