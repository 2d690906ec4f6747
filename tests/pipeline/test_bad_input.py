"""Every failure that a user can cause ends with status 2, a message naming the place, no traceback, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pipeline import tiny
from safetensors.numpy import load_file, save_file

from seedbed.cli import main
from seedbed.seeds.store import MapStore

Command = Callable[..., str]
VOC = Path("data/VOCdevkit/VOC2012")
FIRST = "train_0000"


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a command in a folder, sees it fail with status 2, and returns what it said."""

    def run(root: Path, *words: str) -> str:
        monkeypatch.chdir(root)
        monkeypatch.setattr(sys, "argv", ["seedbed", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr().err
        assert stopped.value.code == 2, said
        assert "Traceback" not in said
        return said

    return run


def change(root: Path, path: str, value: object) -> None:
    """Set one parameter, given by its dotted path."""
    params = tiny.parameters()
    block = params
    *parents, name = path.split(".")
    for parent in parents:
        block[parent] = dict(block.get(parent, {}))
        block = block[parent]
    block[name] = value
    tiny.write_parameters(root, params)


@pytest.mark.parametrize("words", [("data", "check"), ("train-saliency",), ("train-localiser", "-m", "cam")])
def test_missing_data(project: Path, fails: Command, words: tuple[str, ...]) -> None:
    shutil.rmtree(project / "data")
    assert "seedbed data sample" in fails(project, *words)


def test_image_missing(project: Path, fails: Command) -> None:
    (project / VOC / "JPEGImages" / f"{FIRST}.jpg").unlink()
    assert FIRST in fails(project, "train-localiser", "-m", "cam")
    assert FIRST in fails(project, "data", "check")


def test_mask_missing(done: Path, fails: Command) -> None:
    (done / VOC / "SegmentationClassAug" / "val_0000.png").unlink()
    assert "val_0000" in fails(done, "evaluate-segmenter", "-m", "cam")
    assert "val_0000" in fails(done, "data", "check")


def test_mask_of_another_size(done: Path, fails: Command) -> None:
    path = done / VOC / "SegmentationClassAug" / f"{FIRST}.png"
    Image.open(path).resize((64, 48), Image.Resampling.NEAREST).save(path)
    assert FIRST in fails(done, "study", "-m", "cam")
    said = fails(done, "data", "check")
    assert FIRST in said
    assert "64x48" in said


def test_truncated_image(project: Path, fails: Command) -> None:
    path = project / VOC / "JPEGImages" / f"{FIRST}.jpg"
    path.write_bytes(path.read_bytes()[:900])
    assert FIRST in fails(project, "train-localiser", "-m", "cam")
    assert FIRST in fails(project, "data", "check")


def test_empty_list(project: Path, fails: Command) -> None:
    (project / VOC / "ImageSets" / "Segmentation" / "train_aug.txt").write_text("\n")
    assert "train_aug.txt" in fails(project, "train-localiser", "-m", "cam")


def test_unknown_class_id(done: Path, fails: Command) -> None:
    path = done / VOC / "SegmentationClassAug" / f"{FIRST}.png"
    mask = np.asarray(Image.open(path)).copy()
    mask[:4] = 77
    Image.fromarray(mask).save(path)
    for words in (("data", "check"), ("study", "-m", "cam")):
        said = fails(done, *words)
        assert "77" in said
        assert FIRST in said


def test_leakage(project: Path, fails: Command) -> None:
    lists = project / VOC / "ImageSets" / "Segmentation"
    with (lists / "train_aug.txt").open("a") as stream:
        stream.write("val_0000\n")
    assert "val_0000" in fails(project, "data", "check")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("localiser.eps.train.lrr", 0.1, ["localiser.eps.train.lrr", "did you mean 'lr'"]),
        ("evaluate.bootstrap", 3, ["evaluate.bootstrap", "100"]),
        ("localiser.eps.options", {"taau": 0.4}, ["localiser.eps.options", "did you mean 'tau'"]),
        ("saliency.source", "fnp", ["saliency source 'fnp'", "did you mean 'fpn'"]),
        ("fusion.cam.rule", "treshold", ["fusion rule 'treshold'", "did you mean 'threshold'"]),
        ("localiser.cam.backbone", "mobilnet_v2", ["backbone 'mobilnet_v2'", "did you mean 'mobilenet_v2'"]),
        ("localiser.cam.weights", "models/pretrained/none.safetensors", ["none.safetensors does not exist"]),
        ("device", "cuda", ["device 'cuda' is asked for"]),
        ("segmenter.head", "deeplab", ["segmenter head 'deeplab'"]),
    ],
)
def test_parameters(
    project: Path, fails: Command, monkeypatch: pytest.MonkeyPatch, path: str, value: object, words: list[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    change(project, path, value)
    said = fails(project, "train-localiser", "-m", "cam")
    for word in words:
        assert word in said


def test_pairs_need_squares(project: Path, fails: Command) -> None:
    change(project, "localiser.mcis.augment", tiny.CROP)
    said = fails(project, "train-localiser", "-m", "mcis")
    assert "resize: long-side" in said
    assert "set resize: square" in said


def test_pairs_need_labels(project: Path, fails: Command) -> None:
    path = project / "data" / "image_labels.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), FIRST: []}))
    assert FIRST in fails(project, "train-localiser", "-m", "mcis")


def test_trained_weights_missing(project: Path, fails: Command) -> None:
    change(project, "localiser.mcis.trained", "models/pretrained/mcis")
    said = fails(project, "train-localiser", "-m", "mcis")
    assert "no trained weights in models/pretrained/mcis" in said
    assert "localiser.mcis.trained" in said


def test_trained_weights_of_another_class_count(done: Path, fails: Command) -> None:
    """The background map of EPS makes its classifier that of one class more."""
    change(done, "localiser.cam.trained", "models/localiser/eps")
    said = fails(done, "train-localiser", "-m", "cam")
    assert "fc8.weight" in said
    assert "5x" in said
    assert "6x" in said


def test_given_values_are_checked(done: Path, fails: Command) -> None:
    change(done, "fusion.cam", {"rule": "threshold", "choose": "given", "values": {"threshold": 1.5}})
    assert "threshold must lie in 0.0..1.0" in fails(done, "pseudo", "-m", "cam")


def test_unknown_method(project: Path, fails: Command) -> None:
    assert "did you mean 'eps'" in fails(project, "train-localiser", "-m", "epss")


def test_no_parameter_file(project: Path, fails: Command) -> None:
    assert "profiles/sample.yaml" in fails(project, "data", "check", "--params", "none.yaml")


@pytest.mark.parametrize(
    ("words", "missing", "mend"),
    [
        (("predict-saliency",), "models/saliency", "seedbed train-saliency"),
        (("seeds", "-m", "eps"), "models/localiser/eps", "seedbed train-localiser --method eps"),
        (("pseudo", "-m", "eps"), "reports/study/eps", "seedbed study"),
        (("study", "-m", "eps"), "maps/seeds/eps", "seedbed seeds --method eps"),
        (("evaluate-segmenter", "-m", "eps"), "models/segmenter/eps", "seedbed train-segmenter --method eps"),
        (("compare",), "reports/metrics/pseudo-eps.json", "seedbed pseudo --method eps"),
    ],
)
def test_stages_out_of_order(done: Path, fails: Command, words: tuple[str, ...], missing: str, mend: str) -> None:
    path = done / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = fails(done, *words)
    assert mend in said or "dvc repro" in said


def test_options_of_a_search_without_its_kind(done: Path, fails: Command) -> None:
    said = fails(done, "study", "-m", "eps", "--trials", "3", "--timed")
    assert "--trials, --timed" in said
    assert "--kind" in said
    assert "--method" in fails(done, "study")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--rule", "thresold"), "threshold"),
        (("--kind", "joint", "--rule", "argmax"), "no parameters"),
        (("--sampler", "tree"), "sampler"),
        (("--pruner", "median"), "pruner"),
        (("--timed",), "seconds"),
        (("--images", "12"), "tune_images"),
        (("--storage", "postgresql+pg8000://me:secret@127.0.0.1:9/none"), "127.0.0.1:9"),
        (("--storage", "oracle://"), "oracle"),
        (("--storage", "params.yaml"), "params.yaml"),
    ],
)
def test_a_search_that_cannot_be(done: Path, fails: Command, words: tuple[str, ...], named: str) -> None:
    kind = () if "--kind" in words else ("--kind", "fusion")
    said = fails(done, "study", "-m", "eps", *kind, *words)
    assert named in said
    assert "secret" not in said


def test_a_study_on_evaluation_images(done: Path, fails: Command) -> None:
    """The list of the training images holds one that segmenters are evaluated on, and its maps are there."""
    change(done, "data.val", "train_aug")
    for words in ((), ("--kind", "fusion")):
        said = fails(done, "study", "-m", "cam", *words)
        assert "evaluation list" in said
        assert FIRST in said or "train_00" in said


def test_nan_in_the_maps(done: Path, fails: Command) -> None:
    store = MapStore(done / "maps" / "seeds" / "cam")
    name = next(iter(store))
    for shard in (done / "maps" / "seeds" / "cam").glob("*.safetensors"):
        arrays = load_file(shard)
        if name in arrays:
            save_file(arrays | {name: np.full_like(arrays[name], np.nan)}, shard)
    for words in (("study", "-m", "cam"), ("study", "-m", "cam", "--kind", "fusion", "--images", "11")):
        said = fails(done, *words)
        assert "NaN" in said
        assert name in said


def test_no_study_to_show(project: Path, fails: Command) -> None:
    assert "seedbed study" in fails(project, "study", "show")
    assert "none.db" in fails(project, "study", "show", "--storage", "sqlite:///none.db")


def test_missing_saliency_map(done: Path, fails: Command) -> None:
    (done / "maps" / "saliency" / f"{FIRST}.png").unlink()
    for words in (("train-localiser", "-m", "eps"), ("study", "-m", "eps"), ("pseudo", "-m", "mcis")):
        assert FIRST in fails(done, *words)


def test_saliency_map_of_another_size(done: Path, fails: Command) -> None:
    Image.new("L", (20, 10)).save(done / "maps" / "saliency" / f"{FIRST}.png")
    for words in (("train-localiser", "-m", "eps"), ("study", "-m", "eps"), ("pseudo", "-m", "mcis")):
        said = fails(done, *words)
        assert FIRST in said
        assert "20" in said


def test_checkpoint_of_another_architecture(done: Path, fails: Command, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.jpg")
    weights = done / "models" / "localiser" / "eps" / "weights.safetensors"
    said = fails(done, "predict", "-m", "eps", "--out", "m", "--checkpoint", str(weights), str(tmp_path / "photo.jpg"))
    assert "does not fit the network" in said
    assert "missing" in said
    assert "fc8.weight" in said


def test_weights_of_other_classes(done: Path, fails: Command) -> None:
    change(done, "data.classes", ["bird", "boat", "car", "train", "sheep"])
    for stage in ("evaluate-segmenter", "seeds"):
        assert "trained for the classes bird, boat, car, sheep, train" in fails(done, stage, "-m", "eps")


def test_predict_inputs(done: Path, fails: Command, tmp_path: Path) -> None:
    common = ("predict", "-m", "eps", "--out", "m")
    assert "none.jpg does not exist" in fails(done, *common, str(tmp_path / "none.jpg"))
    (tmp_path / "empty").mkdir()
    assert "no images" in fails(done, *common, str(tmp_path / "empty"))
    (done / "m").mkdir()
    Image.new("RGB", (40, 30)).save(done / "m" / "photo.png")
    assert "lies in the folder" in fails(done, *common, "m")
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    assert "bad.jpg" in fails(done, *common, str(tmp_path / "bad.jpg"))


def test_disk_full(done: Path, fails: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was complete before stays as it was when a stage meets a full disk."""
    kept = {path: path.read_bytes() for path in done.rglob("*") if path.is_file() and path.parts[-2] != "mlartifacts"}
    tracked = ("models", "maps", "reports")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for words in (("seeds", "-m", "eps"), ("train-localiser", "-m", "eps"), ("evaluate-segmenter", "-m", "eps")):
        assert "the disk is full" in fails(done, *words)
    for path, content in kept.items():
        if path.relative_to(done).parts[0] in tracked:
            assert path.read_bytes() == content, path


def test_other_data_is_never_overwritten(project: Path, fails: Command) -> None:
    shutil.rmtree(project / "data")
    (project / "data").mkdir()
    (project / "data" / "mine.txt").write_text("precious")
    assert "data" in fails(project, "data", "sample")
    assert (project / "data" / "mine.txt").read_text() == "precious"


def test_symlinks_are_refused(project: Path, fails: Command, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "VOCdevkit").mkdir(parents=True)
    (source / "VOCdevkit" / "link").symlink_to(tmp_path)
    said = fails(project, "data", "use", str(source))
    assert "symbolic link" in said
    assert "link" in said
