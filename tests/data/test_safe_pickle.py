import contextlib
import io
import os
import pickle
import pickletools
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seedbed.data.safe_pickle import load_npy, loads, parse, read_limited
from seedbed.errors import UserError


class Attack:
    """A pickle of it runs a command."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers_come_through(protocol):
    value = {
        "vector": np.array([0, 1, 1], np.float32),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big-endian": np.arange(3, dtype=">i4"),
        "scalar": np.float64(0.5),
        "nested": [(1, 2.5, None, True, "text", b"bytes"), {3}],
        "objects": np.array([{"a": 1}, [2, 3]], object),
    }
    result = loads(pickle.dumps(value, protocol))
    assert result.keys() == value.keys()
    for name in ("vector", "fortran", "big-endian"):
        np.testing.assert_array_equal(result[name], value[name])
        assert result[name].dtype == value[name].dtype
    assert result["scalar"] == 0.5
    assert result["nested"] == value["nested"]
    assert result["objects"].tolist() == [{"a": 1}, [2, 3]]


def test_label_files_of_the_community_are_read(tmp_path):
    np.save(tmp_path / "labels.npy", {"2007_000032": np.eye(3, dtype=np.float32)[1]})
    assert load_npy(tmp_path / "labels.npy")["2007_000032"].tolist() == [0, 1, 0]


def test_plain_arrays_are_read(tmp_path):
    np.save(tmp_path / "plain.npy", np.arange(4))
    assert load_npy(tmp_path / "plain.npy").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: {"id": a}, lambda a: np.array([a, a], object)])
def test_nothing_in_the_file_is_run(tmp_path, wrap):
    marker = tmp_path / "run"
    np.save(tmp_path / "labels.npy", np.array(wrap(Attack(marker)), object), allow_pickle=True)
    with pytest.raises(UserError, match="not allowed"):
        load_npy(tmp_path / "labels.npy")
    assert not marker.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy\nndarray\n((I4\ntS'O'\ntR.",  # the array type may be named, not called
        b"cnumpy\ndtype\n(S'V8'\ntR.",
        b"Ppersistent\n.",
        b"c_codecs\nencode\n(S'aa'\nS'hex'\ntR.",
        b"cnumpy\ndtype\n.",
        b"cnumpy\ndtype\n(S'b38'\ntR.",
        b"(inumpy\n\\u\n.",
        b"(cnumpy\ndtype\no.",
        b"\x82\x01.",
        b"}",
    ],
)
def test_other_pickles_are_refused(pickled):
    with pytest.raises(pickle.UnpicklingError):
        loads(pickled)


def test_truncated_pickles_are_refused_at_every_length():
    whole = pickletools.optimize(pickle.dumps({"id": np.ones(3, np.float32)}, 2))
    for length in range(len(whole)):
        with pytest.raises(pickle.UnpicklingError):
            loads(whole[:length])


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "labels.npy").write_bytes(b"PK not numpy")
    with pytest.raises(UserError, match=r"not a \.npy file"):
        load_npy(tmp_path / "labels.npy")
    with pytest.raises(UserError, match="does not exist"):
        load_npy(tmp_path / "other.npy")


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "labels.npy").write_bytes(b"12345")
    assert read_limited(tmp_path / "labels.npy", 5) == b"12345"
    with pytest.raises(UserError, match="5 bytes; more than 4"):
        read_limited(tmp_path / "labels.npy", 4)
    with pytest.raises(UserError, match="is a folder"):
        read_limited(tmp_path)


def test_object_scalars_are_refused():
    stream = io.BytesIO()
    pickle.Pickler(stream, 2).dump(np.dtype(object))
    with pytest.raises(pickle.UnpicklingError):
        loads(stream.getvalue())


def npy(value) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value, allow_pickle=True)
    return stream.getvalue()


ARRAY_OF_PYTHON_2 = (
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n(S'i8'\nI0\nI1\ntR"
    b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n%stb"
)


@pytest.mark.parametrize(
    "content",
    [
        rb"S'\x03\x00\x00\x00\x00\x00\x00\x00\xff\x01\x00\x00\x00\x00\x00\x00'" + b"\n",
        b"U\x10\x03\0\0\0\0\0\0\0\xff\x01\0\0\0\0\0\0",
    ],
)
def test_pickles_of_python_2_are_read(content):
    value = parse(b"(dp0\nS'it\\'s\\t\\\\'\n" + ARRAY_OF_PYTHON_2 % content + b"s.", "tags.pkl")
    assert list(value) == ["it's\t\\"]
    assert value["it's\t\\"].tolist() == [3, 511]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_npy_is_read(order, version):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.arange(6, dtype=">f4").reshape(2, 3, order=order), version)
    np.testing.assert_array_equal(parse(stream.getvalue(), "a"), np.arange(6).reshape(2, 3, order=order))


@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_become_arrays(protocol):
    whole = torch.arange(24, dtype=torch.float64).reshape(2, 3, 4)
    value = {
        "whole": whole,
        "view": whole[:, 1:, ::2],
        "turned": whole.permute(2, 0, 1),
        "half": whole.half(),
        "keys": torch.nonzero(torch.tensor([0, 1, 1]))[:, 0],
        "bool": whole > 3,
        "empty": whole[:0],
        "number": torch.tensor(3),
    }
    result = loads(pickle.dumps(value, protocol))
    for name, tensor in value.items():
        np.testing.assert_array_equal(result[name], tensor.numpy())
        assert result[name].dtype == tensor.numpy().dtype


def test_tensors_that_repeat_their_numbers_or_have_no_numpy_type_are_refused():
    for tensor in (torch.zeros(1).expand(10**9), torch.zeros(2, dtype=torch.bfloat16)):
        with pytest.raises(pickle.UnpicklingError):
            loads(pickle.dumps(tensor))


def test_an_object_that_is_referred_to_twice_stays_one():
    array = np.arange(3)
    value = loads(pickle.dumps([array, array]))
    assert value[0] is value[1]


def laughs(levels: int, opener: bytes, closer: bytes) -> bytes:
    """Return a pickle of containers of twice the container before: small in memory, 2^levels when written out."""
    return (
        b"]q\0"
        + b"".join(b"(" + b"h%c" % level * 2 + closer + b"q%c" % (level + 1) for level in range(levels))
        + opener
    )


BOMBS = {
    "memo": b"Nr\xff\xff\xff\x7f0N",  # Python's own unpickler reserves 32 GB for it
    "length": b"\x8e\0\0\0\0\0\x01\0\0x.",
    "long": b"\x8b\xff\xff\xff\x7f1.",
    "zeros": pickle.dumps(np.zeros(3))[:-20] + b".",
    "bytes(n)": ARRAY_OF_PYTHON_2 % b"J\xff\xff\xff\x7f" + b".",
    "contents": b"]T\0\0\x10\0" + bytes(2**20) + b"q\1\x30(" + b"c_codecs\nencode\n(h\1U\6latin1tR" * 100 + b"e.",
    "nested": b"]" + b"(" * 10**5 + b"l" * 10**5 + b".",
    "sets": b"\x8f" * 2_000_000 + b".",
    "memo of nothing": b"N" + b"\x94" * 3_000_000 + b".",
    "calls": b"c__builtin__\nset\nq\0)q\1" + b"h\0h\1R" * 1_000_000 + b".",
    "dtype": b"cnumpy\ndtype\n(X\xff\xff\x0f\0" + b"f4," * 349525 + b"tR.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_without_the_memory_that_they_ask_for(name):
    tracemalloc.start()
    try:
        with pytest.raises(UserError):
            parse(BOMBS[name], "bomb.pkl")
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


def test_a_header_that_claims_petabytes_is_refused():
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**14,)})
    with pytest.raises(UserError, match="not as long as its header says"):
        parse(stream.getvalue() + bytes(64), "map.npy")


def test_containers_that_share_members_take_no_more_than_they_are():
    value = loads(laughs(60, b".", b"l"))
    assert len(value) == 2
    assert value[0] is value[1]


@pytest.mark.parametrize("use", [b"}q\x7fh%cNs.", b"\x8fq\x7f(h%c\x90.", b"(h%c\x91."])
def test_nested_tuples_are_no_keys(use):  # their hash would take 2^60 steps
    with pytest.raises(pickle.UnpicklingError, match="as a key"):
        loads(laughs(60, use % 60, b"t"))


def test_what_holds_itself_is_refused():
    value: list = []
    value.append(value)
    with pytest.raises(pickle.UnpicklingError, match="holds itself"):
        loads(pickle.dumps(value))
    array = np.array([None], object)
    array[0] = array
    with pytest.raises(pickle.UnpicklingError, match="holds itself"):
        loads(pickle.dumps(array))


@given(st.binary(max_size=200))
def test_random_bytes_end_in_a_value_or_a_user_error(content):
    for start in (b"", b"\x80\x04", b"\x93NUMPY\x01\x00"):
        with contextlib.suppress(UserError):
            parse(start + content, "random")


INTACT = [
    pickle.dumps({"a": np.ones(3, np.float32), "b": [{1, 2}, (None, True), b"x", 2.5, np.int64(3)]}, protocol)
    for protocol in range(6)
] + [npy({"a": np.arange(3)}), npy(np.arange(4)), pickle.dumps(torch.ones(2, 2)), npy({"keys": torch.ones(2)})]


@given(draws=st.data())
def test_damaged_files_end_in_a_value_or_a_user_error_and_run_nothing(draws, tmp_path_factory):
    marker = tmp_path_factory.getbasetemp() / "run"
    content = bytearray(draws.draw(st.sampled_from([*INTACT, pickle.dumps([np.ones(2), Attack(marker)])])))
    for _ in range(draws.draw(st.integers(1, 4))):
        place = draws.draw(st.integers(0, len(content)))
        content[place : place + draws.draw(st.integers(0, 2))] = draws.draw(st.binary(max_size=3))
    with contextlib.suppress(UserError):
        parse(bytes(content), "damaged")
    assert not marker.exists()
