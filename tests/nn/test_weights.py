import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from nn.mxnet_writer import params
from safetensors.torch import save_file
from torch import nn

from seedbed.errors import UserError
from seedbed.nn.weights import (
    check_state,
    count,
    differences,
    file_hash,
    is_intact,
    load_state,
    load_weights,
    read_config,
    read_state,
    save_state,
    save_weights,
)


class Mixed(nn.Module):
    """A network with every kind of tensor."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3).to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(width)
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("table", torch.arange(4, dtype=torch.int32))


def test_what_is_saved_comes_back_in_every_type(tmp_path):
    network = Mixed()
    network.norm.num_batches_tracked.fill_(7)
    save_weights(tmp_path / "model", network, {"backbone": "mixed"})
    other = Mixed()
    load_weights(other, tmp_path / "model")
    for name, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
        assert value.dtype == other.state_dict()[name].dtype
    assert read_config(tmp_path / "model") == {"backbone": "mixed"}


def test_equal_weights_give_equal_bytes(tmp_path):
    network = Mixed()
    for folder in ("a", "b"):
        save_weights(tmp_path / folder, network, {})
    first, second = ((tmp_path / folder / "weights.safetensors").read_bytes() for folder in ("a", "b"))
    assert first == second


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
def test_torch_files_are_read_however_they_wrap_the_state(tmp_path, wrap):
    state = {f"module.{name}": value for name, value in Mixed().state_dict().items()}
    torch.save(wrap(state), tmp_path / "model.pth")
    assert read_state(tmp_path / "model.pth").keys() == Mixed().state_dict().keys()


class Payload:
    """An object whose unpickling runs code."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def test_code_in_torch_files_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.pth").write_bytes(pickle.dumps({"weight": Payload()}, protocol=2))
    torch.save({"weight": Payload()}, "worse.pth")
    for file in ("bad.pth", "worse.pth"):
        with pytest.raises(UserError, match="is not a readable weight file"):
            read_state(Path(file))
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_truncated_and_missing_files_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="does not exist"):
        read_state(tmp_path / name)
    save_weights(tmp_path, Mixed(), {})
    torch.save(Mixed().state_dict(), tmp_path / "model.pth")
    (tmp_path / "weights.safetensors").rename(tmp_path / "model.safetensors")
    content = (tmp_path / name).read_bytes()
    for length in (0, len(content) // 2):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(UserError, match="is not a readable weight file"):
            read_state(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"<html>not found</html>", b"version https://git-lfs", b"hello world", bytes(range(256))]
)
@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_files_of_another_kind_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="is not a readable weight file"):
        read_state(tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}])
def test_torch_file_without_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(UserError, match="holds no state dict"):
        read_state(tmp_path / "model.pth")


def test_missing_config_is_refused_with_its_mend(tmp_path):
    with pytest.raises(UserError, match="seedbed train"):
        read_config(tmp_path, fix="seedbed train-localiser")


def test_another_architecture_gets_a_table():
    state = {**Mixed(width=5).state_dict(), "head.weight": torch.zeros(2, 2)}
    del state["mask"], state["norm.num_batches_tracked"]
    network = Mixed()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_state(network, state, source="other.safetensors")
    text = str(error.value)
    assert (
        "other.safetensors does not fit the network (1 missing, 1 unexpected, 6 of another shape of 9 tensors)" in text
    )
    lines = [line.split() for line in text.splitlines()]
    assert ["mask", "2", "-"] in lines
    assert ["head.weight", "-", "2x2"] in lines
    assert ["conv.weight", "3x3x3x3", "5x3x3x3"] in lines
    assert not any("num_batches_tracked" in line for line in text.splitlines())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_long_table_is_cut():
    with pytest.raises(UserError, match=r"\.\.\. and 28 more"):
        check_state(nn.Module(), {f"layer{i}": torch.zeros(1) for i in range(40)}, source="file")


def test_extra_entries_only_where_they_are_admitted():
    state = {**Mixed().state_dict(), "classifier.weight": torch.zeros(2, 2)}
    with pytest.raises(UserError, match="1 unexpected"):
        check_state(Mixed(), state, source="file")
    check_state(Mixed(), state, source="file", allow_extra=True)


def test_half_precision_is_cast_to_the_network():
    network, half = Mixed(), {n: v.half() if v.is_floating_point() else v for n, v in Mixed().state_dict().items()}
    load_state(network, half, source="file")
    assert network.conv.weight.dtype == torch.float32
    assert torch.equal(network.conv.weight, half["conv.weight"].float())


def test_mxnet_files_are_read_under_their_own_names(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / "net.params").write_bytes(params({"arg:conv1a_weight": array}))
    state = read_state(tmp_path / "net.params")
    assert list(state) == ["arg:conv1a_weight"]
    np.testing.assert_array_equal(state["arg:conv1a_weight"].numpy(), array)


def test_safetensors_of_data_parallel_lose_the_prefix(tmp_path):
    save_file({"module.conv.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    assert list(read_state(tmp_path / "model.safetensors")) == ["conv.weight"]


def test_a_saved_state_knows_whether_it_is_intact(tmp_path):
    save_state(tmp_path, {"weight": torch.ones(3)}, {"as": "eps"})
    assert is_intact(tmp_path)
    assert read_config(tmp_path)["as"] == "eps"
    assert torch.equal(read_state(tmp_path)["weight"], torch.ones(3))
    content = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(content[:-1] + b"\x00")
    assert not is_intact(tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    assert not is_intact(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        file_hash(tmp_path)


def test_differences_are_told_by_kind():
    state = {**Mixed(width=5).state_dict(), "head.weight": torch.zeros(2, 2)}
    del state["mask"], state["norm.num_batches_tracked"]
    found = differences(Mixed(), state)
    assert count(found) == "1 missing, 1 unexpected, 6 of another shape"
    assert [(d.name, d.kind) for d in found if d.kind != "of another shape"] == [
        ("mask", "missing"),
        ("head.weight", "unexpected"),
    ]
    scalar = Mixed().state_dict() | {"norm.num_batches_tracked": torch.zeros(2)}
    with pytest.raises(UserError, match="1 of another shape"):
        check_state(Mixed(), scalar, source="file", allow_extra=True)
