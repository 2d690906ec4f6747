import io
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from nn.mxnet_writer import params
from safetensors.torch import save_file
from torch import nn

from seedbed.errors import UserError
from seedbed.nn.weights import (
    check_numbers,
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


def written(content, **options):
    """Return the bytes that torch.save writes."""
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


OBJECTS = "it holds Python objects besides tensors, and those are never loaded"
DAMAGED = "it is cut off, damaged, or an archive that torch.save did not write"
OTHER = "it does not begin as torch files do"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (written({"weight": torch.ones(3)})[:-9], DAMAGED),
        (b"\x80\x02", DAMAGED),  # IndexError
        (b"\x80\x02X\x05\x00\x00\x00ab", DAMAGED),  # EOFError
        (b"\x80\x02h\x05.", DAMAGED),  # KeyError
        (b"\x80\x02G\x00\x00", DAMAGED),  # struct.error
        (b"\x80\x02\x95.", DAMAGED),  # UnpicklingError of bytes that are no pickle
        (pickle.dumps({"epoch": 1}, protocol=2), DAMAGED),
        (written(nn.Linear(2, 2)), OBJECTS),
        (written({"weight": torch.ones(3), "best": np.float64(1)}), OBJECTS),
        (written({"weight": np.ones(3)}, _use_new_zipfile_serialization=False), OBJECTS),
        (b"<html>not found</html>", OTHER),
        (b"version https://git-lfs", OTHER),
    ],
)
def test_reasons_are_told_in_own_words(tmp_path, content, reason):
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_state(tmp_path / "model.pth")
    assert error.value.message.startswith(f"{tmp_path / 'model.pth'} is not a readable weight file: {reason}")
    assert ("torch.save(model.state_dict(), 'weights.pth')" in error.value.fix) is (reason == OBJECTS)
    text = error.value.message + error.value.fix
    assert not any(foreign in text for foreign in ("\x1b", "\n", "weights_only", "torch.load"))


@pytest.mark.parametrize("zipped", [True, False])
def test_no_damage_ends_in_another_error(tmp_path, zipped):
    whole = written({"state_dict": {"weight": torch.ones(2)}, "lr": 0.1}, _use_new_zipfile_serialization=zipped)
    said = []
    for place in range(0, min(len(whole), 600), 3):
        for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x5F]) + whole[place + 1 :]):
            (tmp_path / "model.pth").write_bytes(content)
            try:
                read_state(tmp_path / "model.pth")
            except UserError as error:
                said.append(str(error))
    assert len(said) > 200
    assert not any("weights_only" in text for text in said)


@pytest.mark.parametrize("content", [b"", b"<html>", bytes(100)])
def test_a_safetensors_file_is_damaged_in_own_words(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    reason = "it is cut off, damaged, or no safetensors file" if content else "it is empty"
    with pytest.raises(UserError, match=reason):
        read_state(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["dpl_init.caffemodel", "DPL.CaffeModel"])
def test_caffe_models_are_refused_with_what_to_do(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x0a\x04")
    with pytest.raises(UserError, match="is a Caffe model, and those are not read here") as error:
        read_state(tmp_path / name)
    assert "docs/methods.md" in error.value.fix
    assert "--as deeplab-resnet101" in error.value.fix


ODD = {
    "a sparse or nested tensor": lambda: torch.eye(3).to_sparse(),
    "a quantised tensor": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "a tensor without values": lambda: torch.ones(3, device="meta"),
    "a complex tensor": lambda: torch.ones(3) * 1j,
    "a tensor of float8_e4m3fn": lambda: torch.ones(3).to(torch.float8_e4m3fn),
}


@pytest.mark.parametrize("oddity", ODD)
def test_only_dense_tensors_of_real_numbers_are_read(tmp_path, oddity):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, on quantised tensors
        torch.save({"module.good": torch.ones(1), "module.odd": ODD[oddity]()}, tmp_path / "model.pth")
    with pytest.raises(UserError, match=f"odd of .*model.pth is {oddity}"):
        read_state(tmp_path / "model.pth")


def test_compressed_sparse_and_nested_tensors_are_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, on prototypes
        odd = torch.eye(3).to_sparse_csr(), torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
        for number, value in enumerate(odd):
            torch.save({"odd": value}, tmp_path / f"{number}.pth")
    for number in range(len(odd)):
        with pytest.raises(UserError, match="is a sparse or nested tensor"):
            read_state(tmp_path / f"{number}.pth")


def test_names_that_clash_without_their_prefix_are_refused(tmp_path):
    torch.save({"module.weight": torch.ones(1), "weight": torch.zeros(1)}, tmp_path / "model.pth")
    with pytest.raises(UserError, match="holds weight twice, with and without the prefix"):
        read_state(tmp_path / "model.pth")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_are_no_weights(dtype):
    network = Mixed()
    state = {**network.state_dict(), "conv.weight": torch.ones(3, 3, 3, 3, dtype=dtype)}
    before = network.conv.weight.clone()
    said = f"conv.weight of file is of {str(dtype)[6:]}, where the network has float32"
    for check in (check_numbers, load_state):
        with pytest.raises(UserError, match=said):
            check(network, state, "file")
    assert torch.equal(network.conv.weight, before)


def test_counters_are_whole_numbers_or_floats():
    for dtype in (torch.int32, torch.float32):
        network = Mixed()
        load_state(network, {**network.state_dict(), "norm.num_batches_tracked": torch.tensor(7, dtype=dtype)}, "file")
        assert network.norm.num_batches_tracked == 7


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_cast_to_the_network(tmp_path, dtype):
    network, other = Mixed(), {n: v.to(dtype) if v.is_floating_point() else v for n, v in Mixed().state_dict().items()}
    torch.save(other, tmp_path / "model.pth")
    load_state(network, read_state(tmp_path / "model.pth"), source="file")
    assert network.conv.weight.dtype == torch.float32
    assert torch.equal(network.conv.weight, other["conv.weight"].float())


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
