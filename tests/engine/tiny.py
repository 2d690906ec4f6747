"""A training of a fraction of a second, and its command line for the tests that kill it or run two of it."""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seedbed.engine import Batch, Task, TrainResult, checkpoint, parameter_groups, rng, seed_modules, train
from seedbed.engine.checkpoint import digest
from seedbed.params import TrainParams

Loss = Callable[[nn.Module, Batch], dict[str, Tensor]]


class TinyNetwork(nn.Module):
    """Everything that could go wrong on a resume: batch statistics, dropout, and two rates."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.3))
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)).mean((2, 3))


class PlainNetwork(nn.Module):
    """Neither dropout nor batch statistics: its gradient is the mean over the images, however they are grouped."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images).tanh()).mean((2, 3))


class TinyImages:
    """21 random images, each a function of (epoch, index)."""

    def __len__(self) -> int:
        return 21

    def __getitem__(self, item: tuple[int, int]) -> Batch:
        draws = rng("image", *item)
        image, label = draws.random((3, 7, 9), dtype="float32"), draws.integers(0, 2, 2).astype("float32")
        return {"image": torch.from_numpy(image), "label": torch.from_numpy(label), "index": torch.tensor(item[1])}


def loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    logits = network(batch["image"])
    cls = nn.functional.binary_cross_entropy_with_logits(logits, batch["label"])
    return {"total": cls + 0.1 * logits.square().mean(), "cls": cls}


def params(**changes: Any) -> TrainParams:
    return TrainParams.model_validate(
        {"steps": 16, "batch": 4, "lr": 0.05, "checkpoint_every": 5, "log_every": 3} | changes
    )


def fit(
    folder: Path,
    settings: TrainParams | None = None,
    *,
    network: nn.Module | None = None,
    dataset: Any = None,
    loss: Loss = loss,
    seed: int = 0,
    workers: int = 0,
    fingerprint: str = "tiny",
    points: list[tuple[int, dict[str, float]]] | None = None,
) -> tuple[TrainResult, str]:
    """Train; return the result and the digest of the final weights."""
    settings = settings or params()
    seed_modules(seed)
    network = network or TinyNetwork()
    groups = parameter_groups(network, settings)
    result = train(
        Task(network, dataset or TinyImages(), loss, groups),
        settings,
        seed=seed,
        device=torch.device("cpu"),
        workers=workers,
        checkpoint=folder / "checkpoint",
        fingerprint=fingerprint,
        log=lambda step, values: None if points is None else points.append((step, values)),
        curves=folder / "curve.csv",
    )
    return result, digest(network)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die-at-step", type=int)
    parser.add_argument("--die-in-save", action="store_true", help="half-way through the first checkpoint of this run")
    parser.add_argument("--plain", action="store_true", help="the network without dropout and batch statistics")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    calls = 0

    def deadly_loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls == arguments.die_at_step:
            die()
        return loss(network, batch)

    if arguments.die_in_save:
        checkpoint.write_json = lambda path, value: die()
    points: list[tuple[int, dict[str, float]]] = []
    seed_modules(0)
    network = PlainNetwork() if arguments.plain else TinyNetwork()
    result, weights = fit(arguments.folder, loss=deadly_loss, network=network, points=points)
    rank = os.environ.get("RANK", "0")
    state = {name: tensor.tolist() for name, tensor in network.state_dict().items()}
    report = {"resumed_from": result.resumed_from, "digest": weights, "points": points, "state": state}
    (arguments.folder / f"report-{rank}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
