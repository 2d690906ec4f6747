"""A finished pipeline in miniature: every file that the comparison reads, made up so that EPS beats CAM."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from report import made_study

from seedbed.errors import UserError
from seedbed.evaluate.bootstrap import interval
from seedbed.evaluate.confusion import confusion, save_confusions
from seedbed.evaluate.saliency import SaliencyScores
from seedbed.evaluate.scores import PRIMARY, miou_variants, scores
from seedbed.files import read_json, write_json
from seedbed.params import Params, check_params
from seedbed.paths import Paths
from seedbed.report.results import Sources
from seedbed.tracking.record import Logged, Record

CLASSES = ("kite", "boat", "lantern", "cactus", "tram")
SIZE = (96, 72)
IMAGES = {"train": [f"train_{i:03d}" for i in range(24)], "val": [f"val_{i:03d}" for i in range(16)]}
ERROR = {"cam": 7.0, "eps": 2.5}  # how far a method's outline is from the true one, pixels
LOSSES = {
    "cam": ("total",),
    "eps": ("total", "classification", "saliency"),
    "mcis": ("total", "single", "common", "difference1", "difference2", "self_single", "self_common"),
}


@dataclass
class Workspace:
    """A repository root with the results of all stages before `compare`."""

    root: Path
    methods: tuple[str, ...] = ("cam", "eps")
    has_masks: bool = True
    imported: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def paths(self) -> Paths:
        return Paths(self.root)

    @property
    def params(self) -> Params:
        theirs = {method: {"method": "imported", "options": origin} for method, origin in self.imported.items()}
        block = {method: {} for method in self.methods}
        raw = {
            "methods": list(self.methods),
            "data": {"name": "tiny", "classes": list(CLASSES)},
            "evaluate": {"bootstrap": 100},
            "study": {"rules": list(made_study.RULES)},
        }
        return check_params(raw | {"localiser": block | theirs, "fusion": block})

    @property
    def sources(self) -> Sources:
        return Sources(CLASSES, image, self.mask, saliency, self.cams, predict)

    def cams(self, method: str, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        return None if "pseudo" in self.imported.get(method, {}) else cams(method, name)

    def mask(self, name: str) -> np.ndarray:
        if name in IMAGES["train"] and not self.has_masks:
            raise UserError(f"{name} has no mask")
        return mask(name)

    def drop_masks(self) -> Workspace:
        """Leave what the stages write where training images have no masks: no scores, no matrices, nothing swept."""
        self.has_masks = False
        for method in self.methods:
            path = self.paths.metrics("pseudo", method)
            measured = read_json(path)
            nothing = dict.fromkeys(("miou", "interval", "precision", "recall", "coverage", "accuracy"))
            nested = {name: dict.fromkeys(measured[name]) for name in ("variants", "per_class")}
            write_json(path, measured | nothing | nested | {"images": 0, "choose": "published"})
            empty = np.zeros((0, len(CLASSES) + 1, len(CLASSES) + 2), np.int64)
            save_confusions(self.paths.confusion("pseudo", method), [], empty)
        return self.change_studies(made_study.without_masks)

    def bring(self, method: str, **origin: str) -> Workspace:
        """Leave what the stages write where the class maps or pseudo-labels of `method` were imported."""
        self.imported[method] = origin
        path = self.paths.metrics("pseudo", method)
        ready = {"rule": None, "values": {}, "choose": "imported"} if "pseudo" in origin else {}
        write_json(path, read_json(path) | ready | {"imported": origin})
        self.paths.curves("train-localiser", method).write_text("step,lr,total\n")
        if "pseudo" in origin:
            made_study.skipped(self.paths.study(method) / "study.json")
        return self

    def change_studies(self, change: Callable[[Path], None]) -> Workspace:
        """Apply one of made_study's changes to the study.json of every method."""
        for method in self.methods:
            change(self.paths.study(method) / "study.json")
        return self

    def build(self) -> Workspace:
        for method in self.methods:
            self._measure("pseudo", method, IMAGES["train"], self.paths.pseudo_labels(method))
            self._measure("evaluate-segmenter", method, IMAGES["val"], self.paths.predictions(method))
            self._study(method)
            for stage in ("train-localiser", "train-segmenter"):
                self._curve(stage, method, LOSSES.get(method, ("total",)) if stage == "train-localiser" else ("total",))
                self._record(stage, method)
        self._curve("train-saliency", None, ("total", "bce", "iou"))
        self._record("train-saliency", None)
        write_json(
            self.paths.metrics("evaluate-saliency"),
            {"data": "tiny", "source": "fpn", "sets": {"DUTS-TE": _saliency_scores()}},
        )
        check = {
            "data": "tiny",
            "classes": list(CLASSES),
            "splits": {"train_aug": {"images": 32}, "val": {"images": 16}},
        }
        write_json(self.paths.metrics("check-data"), check)
        return self

    def _measure(self, stage: str, method: str, ids: list[str], folder: Path) -> None:
        folder.mkdir(parents=True)
        per_image = []
        for name in ids:
            label = guess(method, name)
            Image.fromarray(label).save(folder / f"{name}.png")
            per_image.append(confusion(mask(name), label, len(CLASSES) + 1))
        stacked = np.stack(per_image)
        save_confusions(self.paths.confusion(stage, method), ids, stacked)
        total = scores(stacked.sum(axis=0))
        measured = {
            "method": method,
            "data": "tiny",
            "split": "train without 8 tuning images" if stage == "pseudo" else "val",
            "images": len(ids),
            "rule": "threshold",
            "values": {"threshold": 0.25},
            "choose": "study",
            "crf": None if stage == "pseudo" else False,
            "miou": float(total.miou),
            "interval": list(interval(stacked, samples=100, seed=0)),
            "variant": PRIMARY,
            "variants": miou_variants(stacked.sum(axis=0)),
            "per_class": {
                name: None if np.isnan(iou) else float(iou)
                for name, iou in zip(("background", *CLASSES), total.iou, strict=True)
            },
            "precision": float(total.mean_precision),
            "recall": float(total.mean_recall),
            "coverage": float(total.coverage),
            "accuracy": float(total.accuracy),
            "seed": 0,
        }
        write_json(self.paths.metrics(stage, method), measured)

    def _study(self, method: str) -> None:
        per_image = np.stack([confusion(mask(name), guess(method, name), len(CLASSES) + 1) for name in IMAGES["train"]])
        score = 0.75 - ERROR.get(method, 4.0) / 20
        made_study.write_study(self.paths.study(method), score, IMAGES["train"], per_image)

    def _curve(self, stage: str, method: str | None, losses: tuple[str, ...]) -> None:
        path = self.paths.curves(stage, method)
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(len(stage))
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("step", "lr", *losses))
            for step in range(20, 401, 20):
                fall = np.exp(-step / 120) + 0.12 + rng.normal(0, 0.02)
                writer.writerow((step, 0.01, *(fall / (place + 1) for place in range(len(losses)))))

    def _record(self, stage: str, method: str | None) -> None:
        started = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
        run = Logged(
            uri="sqlite:///mlflow.db", experiment=f"seedbed/{stage}", run_id="0123456789abcdef0123456789abcdef"
        )
        if method == "eps" and stage == "train-segmenter":
            run = Logged(
                uri="http://example.invalid",
                experiment=f"seedbed/{stage}",
                logged=False,
                missing=["run"],
                reason="no answer",
            )
        Record(
            id="a" * 16,
            stage=stage,
            method=method,
            started=started,
            ended=started + timedelta(seconds=95),
            git={"commit": "f" * 40, "dirty": False},
            data="d" * 32 + ".dir",
            mlflow=run,
        ).write(self.paths.record(stage, method))


def mask(name: str) -> np.ndarray:
    """One or two objects of the image, with an ignored border."""
    return _draw(name, shift=0.0, border=True)


def guess(method: str, name: str) -> np.ndarray:
    """Labels whose outline is off by the method's error."""
    return _draw(name, shift=ERROR.get(method, 4.0), border=False)


def _draw(name: str, shift: float, border: bool) -> np.ndarray:
    rng = np.random.default_rng([int(name[-3:]), len(name)])
    canvas = Image.new("L", SIZE, 0)
    draw = ImageDraw.Draw(canvas)
    for _ in range(1 + int(name[-1]) % 2):
        x, y, width, height = rng.uniform(8, 50), rng.uniform(8, 30), rng.uniform(20, 36), rng.uniform(18, 34)
        label, wobble = int(rng.integers(1, len(CLASSES) + 1)), shift * rng.uniform(0.2, 1.2)
        draw.ellipse(
            (x + wobble, y + wobble, x + width + wobble, y + height), fill=label, outline=255 if border else label
        )
    return np.array(canvas)


def image(name: str) -> np.ndarray:
    """A soft background with the objects in their own hues."""
    labels = mask(name)
    rng = np.random.default_rng([int(name[-3:]), 7])
    ground = np.asarray(
        Image.fromarray(rng.integers(60, 200, (9, 12, 3), dtype=np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    )
    hues = np.random.default_rng(3).integers(40, 255, (256, 3), dtype=np.uint8)
    return np.where(((labels > 0) & (labels < 255))[..., None], hues[labels], ground)


def predict(method: str, names: list[str]) -> dict[str, np.ndarray]:
    return {name: guess(method, name) for name in names}


def saliency(name: str) -> np.ndarray:
    blurred = Image.fromarray(np.where(mask(name) > 0, 230, 15).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2))
    return np.asarray(blurred)


def cams(method: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    labels = guess(method, name)
    classes = np.unique(labels[labels > 0])
    maps = [
        Image.fromarray((255 * (labels == label)).astype(np.uint8)).filter(
            ImageFilter.GaussianBlur(ERROR.get(method, 4.0))
        )
        for label in classes
    ]
    return np.stack([np.asarray(one) / np.float32(255) for one in maps]).astype(np.float16), classes.astype(
        np.int64
    ) - 1


def _saliency_scores() -> dict[str, float]:
    measures = SaliencyScores()
    for name in IMAGES["val"]:
        measures.add(saliency(name), np.where(mask(name) > 0, 255, 0).astype(np.uint8))
    return {"images": measures.images, **measures.result()}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A fresh workspace that a test may damage."""
    return Workspace(tmp_path).build()


@pytest.fixture
def make_workspace(tmp_path: Path) -> Callable[[tuple[str, ...]], Workspace]:
    """Return a function that makes a workspace of the given methods."""
    return lambda methods: Workspace(tmp_path, methods).build()
