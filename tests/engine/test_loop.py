from __future__ import annotations

import csv
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from engine import tiny
from engine.tiny import PlainNetwork, TinyImages, TinyNetwork, fit, params
from torch import Tensor, nn

from seedbed.engine import Batch, discard, seed_modules
from seedbed.errors import UserError

SCRIPT = Path(tiny.__file__)


@pytest.fixture(autouse=True)
def one_thread():
    """Equal bits need equal thread counts: the subprocesses run with one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(*arguments: str | Path) -> int:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], check=False).returncode


def test_killed_training_ends_bit_for_bit_like_an_uninterrupted_one(tmp_path):
    points: list[tuple[int, dict[str, float]]] = []
    _, weights = fit(tmp_path / "whole", points=points)

    killed = tmp_path / "killed"
    killed.mkdir()
    assert run(killed, "--die-at-step", "8") == -signal.SIGKILL
    assert [path.name for path in (killed / "checkpoint").iterdir()] == ["step-00000005"]
    assert run(killed, "--die-in-save") == -signal.SIGKILL
    assert sorted(path.name for path in (killed / "checkpoint").iterdir()) == [".part", "step-00000005"]
    resumed: list[tuple[int, dict[str, float]]] = []
    result, again = fit(killed, points=resumed)

    assert result.resumed_from == 5
    assert (again, resumed) == (weights, points)
    assert (killed / "curve.csv").read_bytes() == (tmp_path / "whole" / "curve.csv").read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "lr": 0.001},
        {"clip_norm": 0.1, "warmup": 4},
        {"channels_last": False},
        {"precision": "bf16"},
        {"keep_last": True, "nesterov": True, "schedule": "steps", "milestones": [4, 9]},
    ],
)
@pytest.mark.parametrize("killed_at", [1, 6, 16])
def test_resume_is_exact_for_every_setting(tmp_path, changes, killed_at):
    _, weights = fit(tmp_path / "whole", params(**changes))
    calls = iter(range(1, 100))

    def dying(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if next(calls) == killed_at:
            raise KeyboardInterrupt
        return tiny.loss(network, batch)

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "killed", params(**changes), loss=dying)
    result, again = fit(tmp_path / "killed", params(**changes))
    assert (result.resumed_from, again) == ((killed_at - 1) // 5 * 5, weights)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with a single core
def test_workers_do_not_change_the_weights(tmp_path):
    assert fit(tmp_path / "none", workers=0)[1] == fit(tmp_path / "two", workers=2)[1]


@pytest.mark.parametrize(("keep_last", "sizes"), [(False, [4] * 12), (True, [4, 4, 4, 4, 4, 1] * 2)])
def test_last_batch_of_an_epoch_is_trained_on_where_asked(tmp_path, keep_last, sizes):
    seen: list[int] = []

    def watched(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        seen.append(len(batch["image"]))
        return tiny.loss(network, batch)

    fit(tmp_path, params(steps=12, keep_last=keep_last), loss=watched)
    assert seen == sizes


def test_seed_changes_the_weights(tmp_path):
    results = {fit(tmp_path / str(seed), network=constant_network(), seed=seed)[1] for seed in (0, 1)}
    assert len(results) == 2


def constant_network() -> TinyNetwork:
    seed_modules(7)
    return TinyNetwork()


def test_done_training_is_not_repeated_until_its_checkpoint_is_discarded(tmp_path):
    first: list[tuple[int, dict[str, float]]] = []
    again: list[tuple[int, dict[str, float]]] = []
    result, weights = fit(tmp_path, points=first)
    (tmp_path / "curve.csv").unlink()
    repeated, same = fit(tmp_path, points=again)
    assert (result.resumed_from, repeated.resumed_from) == (0, 16)
    assert (weights, first, result.losses) == (same, again, repeated.losses)
    assert (tmp_path / "curve.csv").exists()
    discard(tmp_path / "checkpoint")
    assert fit(tmp_path)[0].resumed_from == 0


@pytest.mark.parametrize("change", ["fingerprint", "seed", "parameters", "initial weights", "images"])
def test_another_training_starts_anew_and_says_what_differs(tmp_path, caplog, change):
    def start(checkpoint_folder: Path, changed: bool) -> tuple[int, str]:
        network = constant_network()
        if changed and change == "initial weights":
            nn.init.zeros_(network.head.bias)
        result, weights = fit(
            checkpoint_folder,
            params(momentum=0.5) if changed and change == "parameters" else params(),
            network=network,
            dataset=FewerImages() if changed and change == "images" else None,
            seed=int(changed and change == "seed"),
            fingerprint="other" if changed and change == "fingerprint" else "tiny",
        )
        return result.resumed_from, weights

    start(tmp_path / "here", False)
    with caplog.at_level(logging.WARNING):
        resumed_from, weights = start(tmp_path / "here", True)
    assert resumed_from == 0
    assert weights == start(tmp_path / "fresh", True)[1]
    assert f"another training ({change} differ): starting anew" in caplog.text


class FewerImages(TinyImages):
    def __len__(self) -> int:
        return 20


def test_loss_that_is_not_finite_names_step_and_parts_and_keeps_the_checkpoint(tmp_path):
    calls = iter(range(1, 100))

    def diverging(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        losses = tiny.loss(network, batch)
        return losses | {"total": losses["total"] * (float("nan") if next(calls) == 7 else 1.0)}

    with pytest.raises(UserError, match=r"not finite at step 7: cls 0\.\d+, total nan") as caught:
        fit(tmp_path, loss=diverging)
    assert "train.lr" in str(caught.value.fix)
    assert fit(tmp_path)[0].resumed_from == 5


def test_curve_holds_the_mean_of_the_steps_between_points(tmp_path):
    seen: list[float] = []

    def watched(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        losses = tiny.loss(network, batch)
        seen.append(losses["cls"].item())
        return losses

    points: list[tuple[int, dict[str, float]]] = []
    result, _ = fit(tmp_path, loss=watched, points=points)
    assert [step for step, _ in points] == [3, 6, 9, 12, 15, 16]
    assert points[1][1]["cls"] == pytest.approx(sum(seen[3:6]) / 3)
    assert points[-1][1]["cls"] == pytest.approx(seen[15])
    assert points[0][1]["lr"] == pytest.approx(0.05 * (1 - 2 / 16) ** 0.9)
    assert result.losses == {name: points[-1][1][name] for name in ("cls", "total")}
    rows = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert [(int(row["step"]), float(row["cls"])) for row in rows] == [(step, values["cls"]) for step, values in points]


def test_bf16_computes_the_network_alone_in_bf16(tmp_path):
    inside: set[torch.dtype] = set()
    outside: set[torch.dtype] = set()

    class Watched(PlainNetwork):
        def forward(self, images: Tensor) -> Tensor:
            inside.add(self.backbone(images).dtype)
            return super().forward(images)

    def watched(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        outside.add(network(batch["image"]).dtype)
        return tiny.loss(network, batch)

    network = Watched()
    fit(tmp_path, params(precision="bf16"), network=network, loss=watched)
    assert (inside, outside) == ({torch.bfloat16}, {torch.float32})
    assert network(torch.zeros(1, 3, 5, 5)).dtype == torch.float32
    inside.clear()
    fit(tmp_path, params(precision="fp32"), network=network, loss=watched)
    assert inside == {torch.float32}


@pytest.mark.parametrize("channels_last", [True, False])
def test_channels_last_holds_for_weights_and_images_and_ends_with_the_training(tmp_path, channels_last):
    layouts: set[tuple[bool, bool]] = set()
    last = torch.channels_last

    def watched(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        weight = network.get_parameter("backbone.weight")
        layouts.add((weight.is_contiguous(memory_format=last), batch["image"].is_contiguous(memory_format=last)))
        return tiny.loss(network, batch)

    network = PlainNetwork()
    fit(tmp_path, params(channels_last=channels_last), network=network, loss=watched)
    assert layouts == {(channels_last, channels_last)}
    assert network.backbone.weight.is_contiguous()


def test_frozen_parameters_stay(tmp_path):
    network = constant_network()
    network.backbone.requires_grad_(False)
    before = network.backbone[0].weight.clone(), network.head.weight.clone()
    fit(tmp_path, network=network)
    assert torch.equal(network.backbone[0].weight, before[0])
    assert not torch.equal(network.head.weight, before[1])


def test_two_processes_do_what_one_does_with_twice_the_batch(tmp_path):
    seed_modules(0)
    single = PlainNetwork()
    points: list[tuple[int, dict[str, float]]] = []
    fit(tmp_path / "one", params(batch=8), network=single, points=points)

    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*launch, str(SCRIPT), str(tmp_path), "--plain"], check=True)
    reports = [json.loads((tmp_path / f"report-{rank}.json").read_text()) for rank in (0, 1)]
    assert reports[0]["digest"] == reports[1]["digest"]
    for name, tensor in single.state_dict().items():
        torch.testing.assert_close(torch.tensor(reports[0]["state"][name]), tensor, rtol=1e-4, atol=1e-6)
    assert [step for step, _ in reports[0]["points"]] == [step for step, _ in points]
    for (_, ours), (_, theirs) in zip(reports[0]["points"], points, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert reports[1]["points"] == []
