from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from torch import nn

from seedbed import files
from seedbed.engine import checkpoint
from seedbed.engine.checkpoint import State
from seedbed.errors import UserError

IDENTITY = {"fingerprint": "a", "seed": 0}


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).to(memory_format=torch.channels_last)


@pytest.fixture
def optimizer(network: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(1, 2, 5, 5)).square().sum().backward()
    optimizer.step()
    return optimizer


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_restores_weights_buffers_optimizer_and_state(tmp_path, network, optimizer):
    state = State(5, [{"step": 3, "lr": 0.1, "cls": 1 / 3}], [[0.1, 0.2]])
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    momentum = [optimizer.state[parameter]["momentum_buffer"].clone() for parameter in network.parameters()]
    checkpoint.save(tmp_path, IDENTITY, state, network, optimizer)
    for tensor in [*network.state_dict().values(), *(entry["momentum_buffer"] for entry in optimizer.state.values())]:
        tensor.zero_()

    assert checkpoint.load(tmp_path, IDENTITY, network, optimizer) == state
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, weights[name])
    for parameter, buffer in zip(network.parameters(), momentum, strict=True):
        assert torch.equal(optimizer.state[parameter]["momentum_buffer"], buffer)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_new_checkpoint_replaces_the_others(tmp_path, network, optimizer):
    for step in (5, 10):
        checkpoint.save(tmp_path, IDENTITY, State(step), network, optimizer)
    assert names(tmp_path) == ["step-00000010"]
    checkpoint.save(tmp_path, IDENTITY | {"seed": 1}, State(10), network, optimizer)
    assert names(tmp_path) == ["step-00000010"]
    assert checkpoint.load(tmp_path, IDENTITY, network, optimizer) is None


def test_the_newest_of_this_training_is_loaded(tmp_path, network, optimizer, monkeypatch):
    monkeypatch.setattr(checkpoint.shutil, "rmtree", lambda path, ignore_errors: None)  # killed before removing
    checkpoint.save(tmp_path, IDENTITY, State(5), network, optimizer)
    checkpoint.save(tmp_path, IDENTITY, State(10), network, optimizer)
    checkpoint.save(tmp_path, IDENTITY | {"seed": 1}, State(15), network, optimizer)
    assert len(names(tmp_path)) == 3
    assert checkpoint.load(tmp_path, IDENTITY, network, optimizer) == State(10)


@pytest.mark.parametrize("missing", ["weights.safetensors", "optimizer.pt", "state.json"])
def test_a_half_removed_checkpoint_counts_for_nothing(tmp_path, network, optimizer, missing):
    checkpoint.save(tmp_path, IDENTITY, State(5), network, optimizer)
    (tmp_path / "step-00000005" / missing).unlink()
    assert checkpoint.load(tmp_path, IDENTITY, network, optimizer) is None


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(tmp_path, network, optimizer, monkeypatch):
    checkpoint.save(tmp_path, IDENTITY, State(5), network, optimizer)

    def no_room(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", no_room)
    with pytest.raises(UserError, match="the disk is full"):
        checkpoint.save(tmp_path, IDENTITY, State(10), network, optimizer)
    assert names(tmp_path) == ["step-00000005"]
    assert checkpoint.load(tmp_path, IDENTITY, network, optimizer) == State(5)


def test_discard_removes_everything_and_asks_for_nothing(tmp_path, network, optimizer):
    checkpoint.save(tmp_path / "here", IDENTITY, State(5), network, optimizer)
    checkpoint.discard(tmp_path / "here")
    checkpoint.discard(tmp_path / "here")
    assert names(tmp_path) == []


def test_digest_sees_names_shapes_and_values(network):
    first = checkpoint.digest(network)
    assert checkpoint.digest(network.to(memory_format=torch.contiguous_format)) == first
    assert checkpoint.digest(nn.Sequential(network)) != first
    network[1].num_batches_tracked += 1
    assert checkpoint.digest(network) != first
