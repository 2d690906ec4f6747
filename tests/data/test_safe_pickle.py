import io
import os
import pickle
import pickletools

import numpy as np
import pytest

from seedbed.data.safe_pickle import load_npy, loads
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
    assert load_npy(tmp_path / "labels.npy").item()["2007_000032"].tolist() == [0, 1, 0]


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


def test_object_scalars_are_refused():
    stream = io.BytesIO()
    pickle.Pickler(stream, 2).dump(np.dtype(object))
    with pytest.raises(pickle.UnpicklingError):
        loads(stream.getvalue())
