"""A project small enough to run the whole pipeline in a test: a dozen images, tiny networks, a few steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from seedbed.data.sample import SAMPLE_CLASSES, Counts, write_sample

METHODS = ("cam", "eps", "mcis")
RULES = ("threshold", "saliency-gate", "mcis")
TRIALS, CRF_TRIALS = 3, 2
COUNTS = Counts(train=12, val=6, saliency_train=8, saliency_test=4)
BACKBONE = {"backbone": "timm/test_byobnet", "weights": None}
CROP = {"resize": "long-side", "low": 64, "high": 80, "crop": 64}
SQUARE = {"resize": "square", "low": 48, "high": 48, "crop": 48, "flip": 0.0, "interpolation": "bilinear"}
TRAIN = {"steps": 4, "batch": 4, "lr": 0.001, "checkpoint_every": 2, "log_every": 1}


def parameters() -> dict[str, Any]:
    """Return the parameters of the project, to be changed at will."""
    localiser = {**BACKBONE, "output_stride": 16, "batchnorm": "train", "augment": CROP, "train": TRAIN}
    pairs = {**localiser, "options": {"width": 8}, "augment": SQUARE}
    return {
        "methods": list(METHODS),
        "jobs": 1,
        "data": {"name": "tiny", "classes": list(SAMPLE_CLASSES)},
        "saliency": {**BACKBONE, "channels": 8, "size": 64, "augment": CROP, "train": TRAIN},
        "localiser": {"cam": localiser, "eps": localiser, "mcis": pairs},
        "seeds": {"scales": [0.5, 1.0], "batch": 4, "related": 2, "shard": 8},
        "fusion": {
            "cam": {"rule": "threshold"},
            "eps": {"rule": "saliency-gate", "crf": True},
            "mcis": {"rule": "mcis", "choose": "published"},
        },
        "crf": {"iterations": 2},
        "study": {
            "rules": list(RULES),
            "tune_images": 4,
            "cam_steps": 5,
            "saliency_steps": 3,
            "trials": TRIALS,
            "crf_trials": CRF_TRIALS,
            "crf_images": 2,
        },
        "segmenter": {**BACKBONE, "channels": 8, "augment": CROP, "train": TRAIN},
        "evaluate": {"bootstrap": 100, "batch": 4},
    }


def write_parameters(root: Path, params: dict[str, Any]) -> None:
    """Write params.yaml."""
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def make(root: Path, params: dict[str, Any] | None = None) -> Path:
    """Write data/ and params.yaml into `root`."""
    root.mkdir(parents=True, exist_ok=True)
    write_sample(root / "data", COUNTS)
    write_parameters(root, params or parameters())
    return root


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a command: one thread, no tracking server, the tests' interpreter on the path."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_TRACKING", "DVC_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", "")])
    return {**inherited, "PATH": path, "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1", **more}


def seedbed(root: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in `root`, as a user would."""
    command = [sys.executable, "-m", "seedbed.cli", *words]
    return subprocess.run(command, cwd=root, env=environment(**more), capture_output=True, text=True, timeout=300)
