"""What the stages leave behind, on the tiny project."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from pipeline import tiny

from seedbed.evaluate.confusion import confusion, load_confusions
from seedbed.evaluate.scores import scores
from seedbed.params import load_params
from seedbed.seeds.fusion import find_rule
from seedbed.seeds.store import MapStore


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_comparison_has_every_number(finished: Path) -> None:
    methods = read(finished / "reports" / "compare.json")["methods"]
    assert set(methods) == set(tiny.METHODS)
    for entry in methods.values():
        for part, images in (("pseudo", 8), ("val", 6)):
            low, high = entry[part]["interval"]
            assert 0 <= low <= high <= 1
            assert 0 <= entry[part]["miou"] <= 1
            assert entry[part]["images"] == images
            assert entry[part]["split"]
    for part in ("pseudo", "val"):
        against = methods["eps"]["against_cam"][part]
        expected = methods["eps"][part]["miou"] - methods["cam"][part]["miou"]
        assert against["difference"] == pytest.approx(expected)
        assert len(against["interval"]) == 2


def test_pseudo_labels_follow_from_seeds_rule_and_study(finished: Path) -> None:
    """Plain CAM has no CRF here: its labels and its mIoU can be computed again from the artifacts."""
    metrics = read(finished / "reports" / "metrics" / "pseudo-cam.json")
    split = read(finished / "reports" / "study" / "cam" / "split.json")
    store = MapStore(finished / "maps" / "seeds" / "cam")
    total = np.zeros((6, 7), np.int64)
    for name in store:
        label = np.asarray(Image.open(finished / "maps" / "pseudo" / "cam" / f"{name}.png"))
        np.testing.assert_array_equal(label, find_rule("threshold").apply(*store.maps(name), None, metrics["values"]))
        if name not in split["tune"]:
            mask = finished / "data/VOCdevkit/VOC2012/SegmentationClassAug" / f"{name}.png"
            total += confusion(np.asarray(Image.open(mask)), label, 6)
    assert len(split["tune"]) == 4
    assert metrics["images"] == 8
    assert metrics["miou"] == pytest.approx(float(scores(total).miou))


def test_crf_labels_only_classes_of_the_image(finished: Path) -> None:
    labels = read(finished / "data" / "image_labels.json")
    classes = load_params(finished / "params.yaml").data.classes
    for path in (finished / "maps" / "pseudo" / "eps").glob("*.png"):
        allowed = {0, *(classes.index(name) + 1 for name in labels[path.stem])}
        assert set(np.unique(np.asarray(Image.open(path)))) <= allowed
    assert read(finished / "reports" / "metrics" / "pseudo-eps.json")["crf"]


@pytest.mark.parametrize("method", tiny.METHODS)
def test_matrices_are_those_of_the_metrics(finished: Path, method: str) -> None:
    for stage in ("pseudo", "evaluate-segmenter"):
        metrics = read(finished / "reports" / "metrics" / f"{stage}-{method}.json")
        ids, matrices = load_confusions(finished / "reports" / "confusion" / f"{stage}-{method}.npz")
        assert len(ids) == metrics["images"]
        assert float(scores(matrices.sum(0)).miou) == pytest.approx(metrics["miou"])


def test_every_run_is_in_mlflow_with_curves_and_children(finished: Path) -> None:
    client = MlflowClient(f"sqlite:///{finished}/mlflow.db")
    records = sorted((finished / "reports" / "runs").glob("*.json"))
    assert len(records) == 2 + 5 * len(tiny.METHODS)
    for path in records:
        record = read(path)
        assert record["mlflow"]["logged"], record["mlflow"]
        run = client.get_run(record["mlflow"]["run_id"])
        assert run.info.status == "FINISHED"
        assert run.data.tags["data"] == "tiny"
        assert run.data.tags["saliency source"] == "fpn"
        assert run.inputs.dataset_inputs
        if record["stage"].startswith("train-"):
            history = client.get_metric_history(run.info.run_id, "total")
            assert [point.step for point in history] == [1, 2, 3, 4]
            names = {item.path for item in client.list_artifacts(run.info.run_id)}
            assert {"weights.safetensors", "config.json", "images"} <= names
        if record["stage"] == "study":
            experiment = run.info.experiment_id
            parent = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
            trials = client.search_runs([experiment], parent)
            assert len(trials) == len(tiny.RULES) * tiny.TRIALS + tiny.CRF_TRIALS


@pytest.mark.parametrize("method", ["eps", "mcis"])
def test_a_stage_run_again_gives_the_same_bytes(done: Path, method: str) -> None:
    before = {
        path: path.read_bytes()
        for folder in (f"models/localiser/{method}", f"maps/seeds/{method}", "reports/metrics", "reports/curves")
        for path in (done / folder).rglob("*")
        if path.is_file()
    }
    for stage in ("train-localiser", "seeds", "pseudo"):
        result = tiny.seedbed(done, stage, "-m", method)
        assert result.returncode == 0, result.stderr
    assert before
    for path, content in before.items():
        assert path.read_bytes() == content, path


def test_ready_made_saliency_maps(done: Path) -> None:
    """A folder of maps is a source like any other: no training, the same files come out."""
    shutil.copytree(done / "maps" / "saliency", done / "data" / "official-maps")
    params = tiny.parameters()
    params["saliency"] |= {"source": "folder", "folder": "official-maps"}
    tiny.write_parameters(done, params)
    for stage in ("train-saliency", "evaluate-saliency", "predict-saliency"):
        result = tiny.seedbed(done, stage)
        assert result.returncode == 0, result.stderr
    given, taken = done / "data" / "official-maps", done / "maps" / "saliency"
    result = tiny.seedbed(done, "compare")
    assert result.returncode == 0, result.stderr
    names = sorted(path.name for path in given.iterdir())
    assert sorted(path.name for path in taken.iterdir()) == names
    for name in names:
        np.testing.assert_array_equal(np.asarray(Image.open(given / name)), np.asarray(Image.open(taken / name)))
    next(given.iterdir()).unlink()
    result = tiny.seedbed(done, "predict-saliency")
    assert result.returncode == 2
    assert "1 of 18 images have no saliency map" in result.stderr


def test_trained_weights_are_taken_instead_of_training(done: Path) -> None:
    shutil.copytree(done / "models" / "localiser" / "mcis", done / "models" / "pretrained" / "mcis")
    params = tiny.parameters()
    params["localiser"]["mcis"]["trained"] = "models/pretrained/mcis"
    tiny.write_parameters(done, params)
    before = (done / "models/localiser/mcis/weights.safetensors").read_bytes()
    shutil.rmtree(done / "models" / "localiser" / "mcis")
    for words in (("train-localiser", "-m", "mcis"), ("seeds", "-m", "mcis"), ("compare",)):
        result = tiny.seedbed(done, *words)
        assert result.returncode == 0, result.stderr
    assert (done / "models/localiser/mcis/weights.safetensors").read_bytes() == before
    assert read(done / "models/localiser/mcis/config.json")["trained"] == "models/pretrained/mcis"
    assert read(done / "reports/metrics/train-localiser-mcis.json") == {"steps": 0, "trained": "models/pretrained/mcis"}


def test_without_masks_of_training_images(done: Path) -> None:
    """The usual case outside benchmarks: published thresholds, unscored pseudo-labels, and still a page."""
    for path in (done / "data/VOCdevkit/VOC2012/SegmentationClassAug").glob("train_*.png"):
        path.unlink()
    params = tiny.parameters()
    params["study"]["tune_images"] = 0
    tiny.write_parameters(done, params)
    for stage, method in itertools.product(("study", "pseudo"), tiny.METHODS):
        result = tiny.seedbed(done, stage, "-m", method)
        assert result.returncode == 0, result.stderr
    result = tiny.seedbed(done, "compare")
    assert result.returncode == 0, result.stderr
    methods = read(done / "reports" / "compare.json")["methods"]
    assert methods["eps"]["pseudo"]["miou"] is None
    assert methods["eps"]["val"]["miou"] is not None
    assert read(done / "reports" / "metrics" / "pseudo-cam.json")["values"] == {"threshold": 0.2}
    assert "not scored" in tiny.seedbed(done, "where").stdout


def test_prediction_crf_starts_from_probabilities(done: Path) -> None:
    params = tiny.parameters()
    params["evaluate"]["crf"] = True
    tiny.write_parameters(done, params)
    result = tiny.seedbed(done, "evaluate-segmenter", "-m", "cam")
    assert result.returncode == 0, result.stderr
    metrics = read(done / "reports" / "metrics" / "evaluate-segmenter-cam.json")
    assert metrics["crf"]["iterations"] == 2
    assert metrics["coverage"] == 1


def test_predict(done: Path, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for name, size in (("wide", (90, 50)), ("tall", (40, 70)), ("grey", (64, 64))):
        image = Image.effect_noise(size, 80)
        (image if name == "grey" else image.convert("RGB")).save(photographs / f"{name}.jpg")
    result = tiny.seedbed(done, "predict", "-m", "eps", "--out", "masks", "--overlay", str(photographs))
    assert result.returncode == 0, result.stderr
    for name, size in (("wide", (90, 50)), ("tall", (40, 70)), ("grey", (64, 64))):
        with (
            Image.open(done / "masks" / f"{name}.png") as mask,
            Image.open(done / "masks" / f"{name}-overlay.jpg") as over,
        ):
            assert (mask.size, mask.mode) == (size, "P")
            assert np.asarray(mask).max() <= 5
            assert over.size == size
    weights = done / "models" / "segmenter" / "cam" / "weights.safetensors"
    other = tiny.seedbed(done, "predict", "-m", "eps", "--checkpoint", str(weights), "--out", "b", str(photographs))
    assert other.returncode == 0
    assert len(list((done / "b").glob("*.png"))) == 3
