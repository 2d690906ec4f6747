"""Killed at any moment, the same command continues, and the weights are those of an uninterrupted run, bit for bit."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pipeline import tiny

STEPS = {"steps": 60, "checkpoint_every": 3}


def patient(params: dict) -> dict:
    """Return parameters whose trainings last long enough to be killed."""
    train = {**tiny.TRAIN, **STEPS}
    params["localiser"]["eps"] = {**params["localiser"]["eps"], "dropout": 0.3, "train": train}
    params["segmenter"] = {**params["segmenter"], "train": train}
    return params


def kill_after_a_checkpoint(root: Path, stage: str, method: str) -> None:
    """Start the stage, and send SIGKILL as soon as its second checkpoint lies on disk."""
    command = [sys.executable, "-m", "seedbed.cli", stage, "--method", method]
    checkpoints = root / ".seedbed" / "checkpoints" / f"{stage}-{method}"
    process = subprocess.Popen(command, cwd=root, env=tiny.environment(), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if any(int(path.name.removeprefix("step-")) >= 6 for path in checkpoints.glob("step-*")):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the training ended before it could be killed"


@pytest.mark.parametrize(("stage", "kind"), [("train-localiser", "localiser"), ("train-segmenter", "segmenter")])
def test_killed_and_continued_training_is_bit_identical(done: Path, stage: str, kind: str) -> None:
    tiny.write_parameters(done, patient(tiny.parameters()))
    weights = done / "models" / kind / "eps" / "weights.safetensors"
    whole = tiny.seedbed(done, stage, "--method", "eps")
    assert whole.returncode == 0, whole.stderr
    expected = hashlib.sha256(weights.read_bytes()).hexdigest()
    weights.unlink()

    kill_after_a_checkpoint(done, stage, "eps")
    assert not weights.exists()
    resumed = tiny.seedbed(done, stage, "--method", "eps")
    assert resumed.returncode == 0, resumed.stderr
    assert "continuing after step" in resumed.stderr
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == expected
    assert not (done / ".seedbed" / "checkpoints" / f"{stage}-eps").exists()
    curve = (done / "reports" / "curves" / f"{stage}-eps.csv").read_text().splitlines()
    assert len(curve) == 1 + STEPS["steps"]


def test_the_number_of_loader_workers_does_not_matter(done: Path) -> None:
    weights = done / "models" / "localiser" / "eps" / "weights.safetensors"
    before = weights.read_bytes()
    tiny.write_parameters(done, {**tiny.parameters(), "workers": 2})
    result = tiny.seedbed(done, "train-localiser", "--method", "eps")
    assert result.returncode == 0, result.stderr
    assert weights.read_bytes() == before


def test_killed_seeds_are_continued(done: Path) -> None:
    store = done / "maps" / "seeds" / "cam"
    complete = {path.name: path.read_bytes() for path in store.iterdir()}
    index = store / "index.json"
    text = index.read_text()
    last = sorted(path for path in store.glob("shard-*"))[-1]
    kept = {name: shard for name, shard in json.loads(text)["images"].items() if shard != last.name}
    assert kept
    index.write_text(json.dumps({**json.loads(text), "images": kept}))
    result = tiny.seedbed(done, "seeds", "--method", "cam")
    assert result.returncode == 0, result.stderr
    assert f"seeds of {12 - len(kept)} images" in result.stderr
    assert {path.name: path.read_bytes() for path in store.iterdir()} == complete
