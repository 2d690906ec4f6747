"""What the study of a method writes, made up: surfaces with one peak, a choice near it, intervals around both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from seedbed.evaluate.confusion import save_confusions
from seedbed.evaluate.scores import PRIMARY
from seedbed.files import read_json, write_json

IMAGES = {"tune": 8, "report": 24, "all": 32}
GRID = {
    "cam": [i / 12 for i in range(12)],
    "saliency": [i / 6 for i in range(6)],
    "alpha": [float(round(2 ** (i / 2), 3)) for i in range(13)],
}
RULES: dict[str, dict[str, float]] = {
    "threshold": {"threshold": 0.2},
    "alpha": {"alpha": 16.0},
    "saliency-gate": {"cam_low": 0.0, "cam_high": 0.0, "saliency_low": 0.5, "saliency_high": 0.5},
    "mcis": {"foreground": 0.3, "conflict": 0.99, "peak": 0.95, "salient": 32.0},
    "argmax": {},
}
SWEPT = ("threshold", "alpha", "saliency-gate")
CHOSEN = {
    "threshold": {"threshold": 0.3},
    "alpha": {"alpha": 5.657},
    "saliency-gate": {"cam_low": 0.2, "cam_high": 0.35, "saliency_low": 0.3, "saliency_high": 0.5},
    "mcis": dict.fromkeys(RULES["mcis"], 0.3),
    "argmax": {},
}
CRF = {"iterations": 5, "bilateral_xy": 19.761}
NEW = {
    "rule": ("per_class", "oracle_gap", "optimum", "curve"),
    "surface": ("precision", "recall", "coverage", "band"),
    "protocol": ("oracle",),
}
"""Entries that a study of the first release of this project lacks."""


def write_study(folder: Path, score: float, report: list[str], per_image: np.ndarray) -> None:
    """Write the study of a method that reaches `score`; `per_image`: the matrices of the `report` images."""
    protocol = {
        "statement": "8 training images with masks choose the thresholds; the other 24 report.",
        "variant": PRIMARY,
        "seed": 0,
        "images": IMAGES,
        "missing_classes": [],
        "oracle": False,
    }
    rules = {rule: _rule(rule, score) for rule in RULES}
    for rule, entry in rules.items():
        for point in entry["points"]:
            save_confusions(folder / f"confusion-{rule}-{point}.npz", report, per_image)
    write_json(folder / "split.json", {"tune": [f"tune_{i}" for i in range(8)], "report": report})
    grid = {axis: GRID[axis] for axis in ("cam", "saliency")}
    write_json(folder / "study.json", {"protocol": protocol, "grid": grid, "rules": rules, "crf": _crf(score)})


def without_masks(path: Path) -> None:
    """Leave what a study without tuning images writes."""
    study = read_json(path)
    study["crf"] = None
    study["protocol"]["images"] = IMAGES | {"tune": 0, "report": 32}
    for rule in study["rules"].values():
        unmeasured = {"values": rule["points"]["published"]["values"], "miou": None, "interval": None}
        points = {"published": unmeasured, "chosen": unmeasured}
        nothing = dict.fromkeys(("surface", "regret", *NEW["rule"]))
        rule |= nothing | {"trials": 0, "points": points}
        rule.pop("first_release", None)
    write_json(path, study)


def skipped(path: Path) -> None:
    """Leave what is written where pseudo-labels were imported: there was nothing to study."""
    for matrices in path.parent.glob("*.npz"):
        matrices.unlink()
    study = read_json(path)
    study["protocol"] |= {"statement": "Nothing was chosen here.", "oracle": False}
    write_json(path, study | {"rules": {}, "crf": None, "grid": {"cam": [], "saliency": []}})


def of_the_first_release(path: Path) -> None:
    """Leave what studies wrote before they had curves, optima by class and CRF gains."""
    study = read_json(path)
    for entry in study["rules"].values():
        for part, holder in (("rule", entry), ("surface", entry["surface"] or {})):
            for name in NEW[part]:
                holder.pop(name, None)
    del study["protocol"]["oracle"]
    found = {"params": CRF, "miou": 0.62}
    study["crf"] = {key: study["crf"][key] for key in ("rule", "values", "images", "trials", "pruned")}
    study["crf"] |= {"without": 0.55, "published": found, "chosen": found}
    write_json(path, study)


def tuned_on_all(path: Path) -> None:
    """Leave what a study with tune_images "all" writes: the images that choose report too."""
    study = read_json(path)
    study["protocol"] |= {
        "oracle": True,
        "images": dict.fromkeys(IMAGES, 32),
        "statement": "All images choose: oracle.",
    }
    write_json(path, study)


def _rule(rule: str, score: float) -> dict[str, Any]:
    settings = {"published": RULES[rule], "chosen": CHOSEN[rule]}
    if rule in SWEPT:
        grid = CHOSEN[rule] if rule != "saliency-gate" else dict.fromkeys(RULES[rule], 0.3)
        settings |= {"grid": grid, "oracle": {name: 0.8 * value for name, value in grid.items()}}
    gains = {"published": -0.04 if RULES[rule] else 0.0, "chosen": 0.0, "grid": 0.001, "oracle": 0.012}
    points = {}
    for point, values in settings.items():
        miou = score + gains[point]
        interval = [miou - 0.03, miou + 0.03]
        points[point] = {"values": values, "miou": dict.fromkeys(IMAGES, miou), "interval": interval}
    parameters = {
        name: {"low": 0, "high": 64, "published": value, "meaning": name} for name, value in RULES[rule].items()
    }
    entry = {"summary": f"the rule {rule} in one line", "parameters": parameters, "points": points, "trials": 20}
    found = _sweep(rule, score) if rule in SWEPT else dict.fromkeys(("regret", "surface", *NEW["rule"]))
    return entry | found | {"curve": _curve(score) if RULES[rule] else None}


def _sweep(rule: str, score: float) -> dict[str, Any]:
    """What a study says of a rule that it swept."""
    found: dict[str, Any] = {
        "regret": 0.0 if rule == "alpha" else 0.001 if rule == "threshold" else 0.0003,
        "oracle_gap": 0.012,
        "optimum": {
            "split": "tune",
            "values": {name: [0.8 * value, 1.3 * value] for name, value in CHOSEN[rule].items()},
            "miou": [score - 0.04, score + 0.05],
            "samples": 200,
        },
        "per_class": [
            {"class": index, "values": CHOSEN[rule], "iou": score - 0.1 + index / 20} for index in range(4)
        ] + [{"class": 4, "values": None, "iou": None}],
        "surface": _surface(rule, score),
    }  # fmt: skip
    if rule == "threshold":
        thresholds = [0.15, 0.16, 0.17]
        reached = {
            split: [score / 2, score / 2 + 0.01, score / 2 - place] for place, split in enumerate(("all", "tune"))
        }
        found["first_release"] = {"thresholds": thresholds, "miou": reached, "variant": "drop-zero"}
    return found


def _surface(rule: str, score: float) -> dict[str, Any]:
    cam = np.exp(-((np.array(GRID["cam"]) - 0.3) ** 2) / 0.08)
    grey = np.exp(-((np.array(GRID["saliency"]) - 0.45) ** 2) / 0.2)
    if rule == "saliency-gate":
        names, peak = ["cam", "saliency"], cam[:, None] * grey
        rise = (np.array(GRID["cam"])[:, None] + np.array(GRID["saliency"])) / 2
    elif rule == "alpha":
        names, peak = ["alpha"], np.exp(-((np.log2(GRID["alpha"]) - 2.5) ** 2) / 6)
        rise = 1 - np.linspace(0, 1, 13)
    else:
        names, peak, rise = ["threshold"], cam, np.array(GRID["cam"])
    precision = np.where(rise == rise.max(), np.nan, score / 2 + 0.6 * rise)
    measured = {
        "miou": score * peak,
        "precision": precision,
        "recall": 0.9 - 0.7 * rise,
        "coverage": np.ones_like(rise),
    }
    surface: dict[str, Any] = {
        "axes": [{"parameter": name, "values": GRID.get(name, GRID["cam"])} for name in names],
        **{name: dict.fromkeys(IMAGES, nested(values)) for name, values in measured.items()},
    }
    if rule == "saliency-gate":
        surface["band"] = _band(score)
    return surface


def _band(score: float) -> dict[str, Any]:
    low, high = np.meshgrid(GRID["saliency"], GRID["saliency"], indexing="ij")
    measured = {
        "miou": score - 0.3 * (high - low),
        "precision": score + 0.25 * high,
        "recall": 0.9 - 0.5 * high,
        "coverage": 1 - 0.8 * (high - low),
    }
    return {
        "axes": [{"parameter": f"saliency_{end}", "values": GRID["saliency"]} for end in ("low", "high")],
        **{name: {"all": nested(np.where(low > high, np.nan, values))} for name, values in measured.items()},
    }


def _curve(score: float) -> list[dict[str, Any]]:
    """mIoU that rises with the labelled images, and varies less."""
    reached = [
        (0, 1, -0.04, 0.03),
        (2, 5, -0.03, 0.05),
        (5, 5, -0.01, 0.02),
        (12, 5, -0.002, 0.008),
        ("all", 1, 0.012, 0.03),
    ]
    return [
        {
            "tune_images": images,
            "oracle": images == "all",
            "seeds": seeds,
            "miou": score + gain,
            "low": score + gain - spread,
            "high": score + gain + spread / 2,
            "each": [score + gain] * seeds,
        }
        for images, seeds, gain, spread in reached
    ]  # fmt: skip


def _crf(score: float) -> dict[str, Any]:
    def point(params: dict[str, float] | None, gain: float) -> dict[str, Any]:
        miou = score + gain
        return {"params": params, "miou": {"tune": miou + 0.01, "report": miou}, "interval": [miou - 0.03, miou + 0.03]}

    return {
        "rule": "threshold",
        "values": {"threshold": 0.3},
        "images": 4,
        "tune_images": 8,
        "report_images": 24,
        "subset": {"published": score + 0.02, "chosen": score + 0.05},
        "points": {
            "without": point(None, 0.0),
            "published": point({"iterations": 10, "bilateral_xy": 80.0}, -0.004),
            "chosen": point(CRF, 0.031),
        },
        "gain": {"miou": 0.031, "interval": [0.02, 0.04]},
        "published_gain": {"miou": -0.004, "interval": [-0.01, 0.002]},
        "trials": 9,
        "pruned": 3,
    }


def nested(values: np.ndarray) -> list[Any]:
    """Return nested lists with null for NaN."""
    holder = values.astype(object)
    holder[np.isnan(values)] = None
    return list(holder.tolist())
