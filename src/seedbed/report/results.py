"""What the comparison is made of: the files of the stages before it, read once and checked against each other."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from seedbed.errors import UserError
from seedbed.evaluate.confusion import Confusions, load_sparse
from seedbed.files import read_json
from seedbed.params import Params
from seedbed.paths import Paths
from seedbed.tracking.record import Record, read_record

BASELINE = "cam"
"""The method that the others are compared with, where it takes part."""

PARTS = {"pseudo": "pseudo", "val": "evaluate-segmenter"}
"""The parts of a method that are measured, and their stages: pseudo-labels, and predictions on validation images."""

RUNS: list[tuple[str, bool]] = [
    ("train-saliency", False),
    ("evaluate-saliency", False),
    ("train-localiser", True),
    ("study", True),
    ("pseudo", True),
    ("train-segmenter", True),
    ("evaluate-segmenter", True),
]
"""The stages that leave a record of their run, and whether there is one per method."""

POINTS = ("published", "chosen", "grid", "oracle")
"""The settings of a rule that a study reports, the last two of swept rules alone (seedbed.study.protocol)."""

Json = dict[str, Any]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sources:
    """Where the pictures of the gallery come from, and the names of the classes.

    `classes`: object classes in id order, without background. `image(id)`: RGB uint8 [H,W,3] or a PIL image.
    `mask(id)`: true ids uint8 [H,W]; UserError for a training image without a mask. `saliency(id)`: uint8 [H,W];
    None of a validation image without one, since ready-made maps may be of training images only.
    `cams(method, id)`: class maps in 0..1 [K,H,W] and their 0-based classes [K], or None of a method that has none (its
    pseudo-labels were imported). `predict(method, ids)`: what the
    segmenter of `method` makes of these images, id -> uint8 [H,W]; called once per method.
    """

    classes: tuple[str, ...]
    image: Callable[[str], Pixels | Image.Image]
    mask: Callable[[str], Pixels]
    saliency: Callable[[str], Pixels | None]
    cams: Callable[[str, str], tuple[npt.NDArray[Any], npt.NDArray[Any]] | None]
    predict: Callable[[str, list[str]], Mapping[str, Pixels]]


@dataclass(frozen=True)
class Measured:
    """The metrics of one stage of one method, and the matrices of the images `ids` behind them.

    Without masks of these images there are none: N = 0, and the scores are null.
    """

    metrics: Json
    ids: list[str]
    confusions: Confusions

    @property
    def scored(self) -> bool:
        """Whether there is an mIoU."""
        return self.metrics["miou"] is not None


@dataclass(frozen=True)
class Curve:
    """Losses over the steps of one training stage."""

    stage: str
    method: str | None
    steps: list[float]
    losses: dict[str, list[float]]


@dataclass(frozen=True)
class Surface:
    """A measure, [X] or [X,Y], over the swept values of the parameters `names`, a list per axis; NaN = undefined."""

    names: list[str]
    axes: list[list[float]]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Results:
    """All inputs of the comparison.

    `measured[part][method]`; `points[method][rule][point]`: matrices [N,K,K+1] of the report split.
    """

    methods: list[str]
    measured: dict[str, dict[str, Measured]]
    studies: dict[str, Json]
    points: dict[str, dict[str, dict[str, Confusions]]]
    saliency: Json
    data: Json
    curves: list[Curve] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    @property
    def ruled(self) -> list[str]:
        """The methods whose pseudo-labels are made by a rule here, and not imported."""
        return [method for method in self.methods if self.studies[method]["rules"]]


def read_results(paths: Paths, params: Params) -> Results:
    """Read the results of every method of `params`.

    Raises UserError, naming the file and the command that makes it, when one is missing, or when methods were measured
    on different images.
    """
    methods = list(params.methods)
    measured = {part: {method: _measured(paths, stage, method) for method in methods} for part, stage in PARTS.items()}
    for part, stage in PARTS.items():
        _check_same_images(measured[part], stage)
    studies = {method: read_json(paths.study(method) / "study.json", mend("study", method)) for method in methods}
    return Results(
        methods=methods,
        measured=measured,
        studies=studies,
        points={method: _points(paths, method, studies[method]) for method in methods},
        saliency=read_json(paths.metrics("evaluate-saliency"), mend("evaluate-saliency")),
        data=read_json(paths.metrics("check-data"), mend("check-data")),
        curves=_curves(paths, methods),
        records=sorted(
            (read_record(path) for stage, method in _runs(methods) if (path := paths.record(stage, method)).exists()),
            key=lambda record: (record.started, record.name),
        ),
    )


def surface(study: Json, rule: str, measure: str = "miou") -> Surface | None:
    """Return what the sweep of `rule` found on the report split; None where nothing was swept, or defined."""
    return _surface(study["rules"].get(rule, {}).get("surface"), measure, "report")


def band(study: Json, rule: str, measure: str) -> Surface | None:
    """Return `measure` on ALL images over the ends of the ignore band of `rule`; None where it has none."""
    swept = study["rules"].get(rule, {}).get("surface") or {}
    return _surface(swept.get("band"), measure, "all")


def _surface(swept: Json | None, measure: str, split: str) -> Surface | None:
    if swept is None or measure not in swept:
        return None
    values = np.array(swept[measure][split], np.float64)
    if np.isnan(values).all():
        return None
    axes = swept["axes"]
    return Surface([axis["parameter"] for axis in axes], [axis["values"] for axis in axes], values)


def scored_points(rule_study: Json) -> dict[str, Json]:
    """Return the settings of a rule that have a score on the report split, by name."""
    points = {point: rule_study["points"].get(point, {}) for point in POINTS}
    return {point: found for point, found in points.items() if (found.get("miou") or {}).get("report") is not None}


def report_images(paths: Paths, method: str) -> list[str]:
    """Return the training images that chose nothing, in list order: those that pseudo-labels are measured on."""
    split = read_json(paths.study(method) / "split.json", mend("study", method))
    return list(split["report"])


def mend(stage: str, method: str | None = None) -> str:
    """Return the command that makes the outputs of `stage` (for `method`) anew."""
    if method is None:
        return f"dvc repro {stage}, or seedbed {stage}"
    return f"dvc repro {stage}@{method}, or seedbed {stage} --method {method}"


def require(path: Path, stage: str, method: str | None = None) -> Path:
    """Return `path`. Raises UserError with the command that makes it when there is no such file."""
    if not path.exists():
        raise UserError(f"{path} does not exist", mend(stage, method))
    return path


def _measured(paths: Paths, stage: str, method: str) -> Measured:
    file = require(paths.confusion(stage, method), stage, method)
    metrics = read_json(paths.metrics(stage, method), mend(stage, method))
    ids, confusions = load_sparse(file)
    if len(ids) != metrics["images"]:
        found = f"{paths.metrics(stage, method)} counts {metrics['images']} images, {file} holds {len(ids)}"
        raise UserError(f"{found}: they come from different runs", mend(stage, method))
    return Measured(metrics, ids, confusions)


def _check_same_images(measured: dict[str, Measured], stage: str) -> None:
    first, *others = measured
    for other in others:
        if measured[other].ids != measured[first].ids:
            raise UserError(
                f"{stage}: methods '{first}' and '{other}' were measured on different images",
                f"dvc repro {stage}@{other}",
            )


def _points(paths: Paths, method: str, study: Json) -> dict[str, dict[str, Confusions]]:
    folder = paths.study(method)
    return {
        rule: {
            point: load_sparse(require(folder / f"confusion-{rule}-{point}.npz", "study", method))[1]
            for point in scored_points(rule_study)
        }
        for rule, rule_study in study["rules"].items()
    }


def _runs(methods: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the stage and the method of every run behind the results."""
    for stage, per_method in RUNS:
        yield from ((stage, method) for method in methods) if per_method else ((stage, None),)


def _curves(paths: Paths, methods: list[str]) -> list[Curve]:
    """Read the training curves there are: ready-made saliency maps train nothing and leave a table without rows."""
    files = [(paths.curves(stage, method), stage, method) for stage, method in _runs(methods)]
    curves = [_curve(path, stage, method) for path, stage, method in files if path.exists()]
    return [curve for curve in curves if curve.steps]


def _curve(path: Path, stage: str, method: str | None) -> Curve:
    try:
        with path.open(newline="") as stream:
            table = csv.DictReader(stream)
            rows = [{name: float(value) for name, value in row.items()} for row in table]
            columns = {name: [row[name] for row in rows] for name in table.fieldnames or ()}
        return Curve(
            stage,
            method,
            columns["step"],
            {name: values for name, values in columns.items() if name not in ("step", "lr")},
        )
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is no table of step, lr and losses ({error!r})", mend(stage, method)) from None
