"""A finished project in miniature: data, maps, metrics and records as the stages leave them, nothing trained."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from seedbed.data.masks import write_mask
from seedbed.data.sample import SAMPLE_CLASSES, Counts, write_sample
from seedbed.exchange.exports.export import CARD, PROVENANCE
from seedbed.files import read_json, write_json
from seedbed.paths import Paths
from seedbed.seeds.store import MapWriter
from seedbed.stages.context import Context
from seedbed.stages.exports import export
from seedbed.stages.saliency import write_map
from seedbed.tracking.record import Logged, Record

COUNTS = Counts(train=7, val=3, saliency_train=4, saliency_test=2)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DATA_HASH = "11112222333344445555666677778888.dir"
SPLIT = {"tune": 2, "report": 5, "all": 7}
PARAMS: dict[str, Any] = {
    "methods": ["eps"],
    "jobs": 1,
    "data": {"name": "tiny", "classes": list(SAMPLE_CLASSES)},
    "saliency": {"source": "fpn", "backbone": "timm/test_byobnet"},
    "localiser": {"eps": {"backbone": "timm/test_resnet", "options": {"tau": 0.4}}},
    "fusion": {"eps": {"rule": "threshold"}},
    "study": {"rules": ["threshold", "saliency-gate"], "tune_images": 2},
}


@dataclass(frozen=True)
class Project:
    """A project below `root`, and how a test changes its files and exports from it."""

    root: Path

    @property
    def paths(self) -> Paths:
        return Paths(self.root)

    @property
    def context(self) -> Context:
        return Context.load(self.root / "params.yaml", self.root)

    def change(self, path: Path, **changes: Any) -> None:
        """Change entries of a JSON file."""
        write_json(path, {**read_json(path), **changes})

    def parameters(self, **blocks: Any) -> None:
        """Write params.yaml with other blocks."""
        (self.root / "params.yaml").write_text(yaml.safe_dump({**PARAMS, **blocks}))

    def record(self, stage: str, method: str | None, *, day: int = 4, data: str = DATA_HASH, **parameters: Any) -> None:
        """Write the record of a run, with other `parameters`, `data` and day of May than all have."""
        when = datetime(2026, 5, day, 3, 2, 1, tzinfo=UTC)
        Record(
            id=f"id of {stage}",
            stage=stage,
            method=method,
            started=when,
            ended=when,
            parameters={"seed": 0, **parameters},
            environment={"python": "3.11.9", "packages": {"seedbed": "0.1.0", "torch": "2.11.0"}},
            git={"commit": COMMIT, "dirty": False},
            data=data,
            mlflow=Logged(uri="sqlite:///mlflow.db", experiment="seedbed", run_id=f"run of {stage}"),
        ).write(self.paths.record(stage, method))

    def export(
        self,
        layout: str,
        *extras: str,
        images: str = "none",
        out: str = "exported",
        ignore: int = 255,
        method: str = "eps",
    ) -> Path:
        """Export the pseudo-labels of `method`; return where they are."""
        export(self.context, method, layout, self.root / out, set(extras), images, ignore)
        return self.root / out

    def facts(self, out: Path) -> dict[str, Any]:
        """Return what provenance.json of an export holds."""
        return read_json(out / PROVENANCE)

    def card(self, out: Path) -> str:
        return (out / CARD).read_text()

    def cells(self, out: Path) -> dict[str, str]:
        """Return the rows of two columns of an export's card."""
        rows = [line.strip("| ").split(" | ") for line in self.card(out).splitlines() if line.startswith("| ")]
        return {row[0]: row[1] for row in rows if len(row) == 2}


def _metrics(**more: Any) -> dict[str, Any]:
    iou = {name: 0.5 + 0.05 * number for number, name in enumerate(("background", *SAMPLE_CLASSES))}
    variants = {"error-skip": 0.625, "error-zero": 0.5, "drop-skip": 0.75, "drop-zero": 0.7}
    scored = {"miou": 0.625, "interval": [0.6, 0.65], "variant": "error-skip", "variants": variants, "per_class": iou}
    return {"data": "tiny", "method": "eps", **scored, "precision": 0.7, "recall": 0.8, "coverage": 1.0, **more}


def _write_maps(project: Project) -> None:
    """Write class maps, saliency maps and pseudo-labels of noise."""
    voc, paths, rng = project.context.voc, project.paths, np.random.default_rng(1)
    labels = voc.labels()
    with MapWriter(paths.seeds("eps"), "made", shard=3) as writer:
        for image_id in voc.ids("train_aug"):
            width, height = voc.image(image_id).size
            classes = np.flatnonzero(labels[image_id])
            writer.add(image_id, rng.random((len(classes), height, width)), classes)
            mask = rng.choice([0, 255, *(classes + 1)], (height, width)).astype(np.uint8)
            write_mask(paths.pseudo_labels("eps") / f"{image_id}.png", mask)
            write_map(paths.saliency_maps(), image_id, rng.integers(0, 256, (height, width), dtype=np.uint8))


def _write_reports(project: Project) -> None:
    """Write metrics, study and records."""
    paths = project.paths
    chosen = {"rule": "threshold", "values": {"threshold": 0.4}, "choose": "study", "crf": None}
    split = "train_aug without the 2 tuning images"
    write_json(paths.metrics("pseudo", "eps"), _metrics(split=split, images=5, **chosen))
    write_json(paths.metrics("check-data"), {"label_source": "json"})
    write_json(paths.metrics("train-saliency"), {"steps": 10, "images": 4})
    scores = {"mae": 0.0123, "max_f": 0.9, "images": 2}
    write_json(paths.metrics("evaluate-saliency"), {"sets": {"DUTS-TE": scores}})
    protocol = {"images": SPLIT, "oracle": False, "seed": 3, "statement": "Chosen on 2 of 7 images."}
    write_json(paths.study("eps") / "study.json", {"protocol": protocol, "crf": None})
    saliency = {"source": "fpn", "backbone": "timm/test_byobnet", "weights": None, "folder": None}
    trained = {f"saliency.{key}": value for key, value in saliency.items()}
    project.record("train-saliency", None, **trained, **{"data.saliency_train": "DUTS-TR"})
    localiser = {"backbone": "timm/test_resnet", "weights": None, "trained": None, "options.tau": 0.4}
    project.record("train-localiser", "eps", **{f"localiser.{key}": value for key, value in localiser.items()})
    project.record("study", "eps")
    project.record("pseudo", "eps")


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A finished project that no test changes."""
    project = Project(tmp_path_factory.mktemp("finished"))
    write_sample(project.root / "data", COUNTS)
    (project.root / "data.dvc").write_text(yaml.safe_dump({"outs": [{"md5": DATA_HASH, "path": "data"}]}))
    project.parameters()
    _write_maps(project)
    _write_reports(project)
    return project.root


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A finished project to change at will."""
    return Project(shutil.copytree(finished, tmp_path / "project"))
