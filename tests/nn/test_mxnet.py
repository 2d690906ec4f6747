import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nn.mxnet_writer import CODES, HEADERS, array_header, params

from seedbed.errors import UserError
from seedbed.nn.mxnet import from_mxnet, read_params, state_name

START = struct.pack("<QQQ", 0x112, 0, 1)
FLOAT = struct.pack("<iii", 1, 0, 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "net-0001.params"


def some_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"arg:conv1a_weight": (4, 3, 3, 3), "arg:bn7_gamma": (5,), "aux:bn7_moving_var": (1, 2), "arg:ä": (1,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("header", [*HEADERS, None])
@pytest.mark.parametrize("dtype", CODES)
def test_arrays_come_back_whatever_header_and_type(file, header, dtype):
    arrays = {name: (9 * np.abs(array)).astype(dtype) for name, array in some_arrays().items()}
    file.write_bytes(params(arrays, header))
    state = read_params(file)
    assert list(state) == list(arrays)
    for name, array in arrays.items():
        assert state[name].shape == array.shape
        assert state[name].dtype == torch.from_numpy(array).dtype
        np.testing.assert_array_equal(state[name].numpy(), array)


def test_a_file_without_arrays_is_empty(file):
    file.write_bytes(params({}))
    assert read_params(file) == {}


def test_every_truncation_is_refused(file):
    content = params(some_arrays())
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(UserError, match="is not a readable MXNet parameter file"):
            read_params(file)


@given(st.data())
def test_no_damage_ends_in_anything_but_an_error_for_the_user(tmp_path_factory, data):
    content = bytearray(params(some_arrays()))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("damaged") / "net.params"
    file.write_bytes(content)
    try:
        state = read_params(file)
    except UserError:
        return
    assert sum(value.numel() * value.itemsize for value in state.values()) < len(content)


def with_shape(header: str, *shape: int) -> bytes:
    return START + array_header(shape, header) + FLOAT


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG" + bytes(100), "does not begin with MXNet's mark"),
        (struct.pack("<QQQ", 0x112, 0, 2**63), "more bytes are due"),
        (with_shape("legacy", 2**31, 2**31, 2**31), "more bytes are due"),
        (with_shape("v1", 2**62, 2**62), "more bytes are due"),
        (with_shape("v2", -1, -1), r"array 0 has the shape \[-1, -1\]"),
        (with_shape("v2", 0, 2**62), "array 0 has the shape"),
        (with_shape("v2"), "array 0 has 0 dimensions"),
        (START + struct.pack("<I", 4_000_000_000), "array 0 has 4000000000 dimensions"),
        (START + struct.pack("<Ii", 0xF993FAC9, 1), "array 0 is sparse"),
        (START + array_header((1,), "v1") + struct.pack("<iii", 1, 0, 7), "unknown element type 7"),
        (START + array_header((1,), "v1") + struct.pack("<iii", 1, 0, -1), "unknown element type -1"),
        (with_shape("v1", 1) + bytes(4) + struct.pack("<Q", 0), "not one name for each array"),
        (with_shape("v1", 1) + bytes(4) + struct.pack("<QQ", 1, 2**63), "more bytes are due"),
        (with_shape("v1", 1) + bytes(4) + struct.pack("<QQ", 1, 1) + b"\xff", "a name is no text"),
        (params({"arg:a": np.zeros(1, np.float32)}) + b"\n", "1 bytes follow its end"),
    ],
)
def test_files_that_are_something_else_are_refused(file, content, reason):
    file.write_bytes(content)
    with pytest.raises(UserError, match=reason):
        read_params(file)


def test_two_arrays_of_one_name_are_refused(file):
    zero = np.zeros(1, np.float32)
    file.write_bytes(params({"arg:a": zero, "arg:b": zero}).replace(b"arg:b", b"arg:a"))
    with pytest.raises(UserError, match="two arrays have one name"):
        read_params(file)


@pytest.mark.parametrize(
    ("mxnet_name", "name"),
    [
        ("arg:conv1a_weight", "conv1a.weight"),
        ("arg:bn7_beta", "bn7.bias"),
        ("arg:res4b3_branch2b1_weight", "b4_3.conv_branch2b1.weight"),
        ("aux:bn6a_branch2b2_moving_var", "b6.bn_branch2b2.running_var"),
        ("arg:linear1000_weight", None),
        ("arg:linear1000_bias", None),
    ],
)
def test_names_follow_the_rule(mxnet_name, name):
    assert state_name(mxnet_name) == name


@pytest.mark.parametrize(
    "name", ["data", "arg:fc1_weight", "arg:res4a_branch1_gamma", "aux:bn7_gamma", "arg:bn7_moving_mean", "fc8.weight"]
)
def test_other_names_stay_what_they_are(name):
    assert state_name(name) == name


def test_states_lose_the_imagenet_classifier_only():
    state = {name: torch.zeros(1) for name in ("arg:conv1a_weight", "arg:linear1000_weight", "arg:other", "b2.x")}
    assert list(from_mxnet(state)) == ["conv1a.weight", "arg:other", "b2.x"]
