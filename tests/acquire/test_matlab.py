"""The reader of MATLAB 5 files: as SciPy on intact files, and a reason instead of a crash on all others."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from acquire.made_voc import mask_of, write_mat
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from seedbed.acquire import matlab
from seedbed.acquire.matlab import read_bytes_field

MASK = mask_of("2008_000002", border=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """Files of the same mask: compressed with sparse boundaries beside it, and plain."""
    folder = tmp_path_factory.mktemp("mat")
    write_mat(folder / "compressed.mat", MASK)
    savemat(folder / "plain.mat", {"GTcls": {"CategoriesPresent": [3], "Segmentation": MASK}})
    return {path.stem: path.read_bytes() for path in folder.iterdir()}


def read(content: bytes) -> np.ndarray:
    return read_bytes_field(content, "GTcls", "Segmentation")


def saved(tmp_path, content: dict, compress: bool = True) -> bytes:
    path = tmp_path / "made.mat"
    savemat(path, content, do_compression=compress)
    return path.read_bytes()


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 2), (7, 5), (375, 500)])
def test_equals_scipy(tmp_path, shape, compress) -> None:
    mask = np.random.default_rng(0).integers(0, 21, shape, np.uint8)
    others = {
        "before": [[1.5, 2.5]],
        "GTinst": {"Segmentation": mask + 1},
        "GTcls": {"A": "text", "Segmentation": mask},
    }
    content = saved(tmp_path, others, compress)
    truth = loadmat(tmp_path / "made.mat")["GTcls"][0]["Segmentation"][0]
    np.testing.assert_array_equal(read(content), truth)
    np.testing.assert_array_equal(truth, mask)


def test_passes_over_cells_and_sparse_matrices(whole) -> None:
    np.testing.assert_array_equal(read(whole["compressed"]), MASK)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"GTinst": {"Segmentation": MASK}}, "no structure GTcls"),
        ({"GTcls": MASK}, "no structure GTcls"),
        ({"GTcls": {"Boundaries": MASK}}, "no one field Segmentation"),
        ({"GTcls": np.zeros(2, [("Segmentation", object)])}, "no one field Segmentation"),
        ({"GTcls": {"Segmentation": MASK.astype(float) / 2}}, "no bytes"),
        ({"GTcls": {"Segmentation": np.zeros((2, 3, 4), np.uint8)}}, "does not fit"),
        ({"GTcls": {"Segmentation": np.zeros((0, 4), np.uint8)}}, "does not fit"),
    ],
)
def test_other_content_is_refused(tmp_path, content, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        read(saved(tmp_path, content))


@pytest.mark.parametrize("content", [b"", b"<html>", bytes(4096), b"\x89HDF\r\n" + bytes(4096)])
def test_other_files_are_refused(content) -> None:
    with pytest.raises(ValueError, match="no MATLAB 5 file"):
        read(content)


def test_a_bomb_is_refused(whole, monkeypatch) -> None:
    monkeypatch.setattr(matlab, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="too large"):
        read(whole["compressed"])


def reason(content: bytes) -> str:
    """Return why `content` is refused; nothing when its mask is as it was written."""
    try:
        np.testing.assert_array_equal(read(content), MASK)
    except ValueError as error:
        return str(error)
    return ""


def test_a_changed_byte_of_a_compressed_file_never_changes_the_mask(whole) -> None:
    content = whole["compressed"]
    reasons = []
    for position in range(136, len(content)):
        changed = bytearray(content)
        changed[position] ^= 0x40
        reasons.append(reason(bytes(changed)))
    # Where the same bytes stand at another distance too, a changed distance unpacks to the same content.
    assert np.mean([bool(found) for found in reasons]) > 0.9
    assert "Error -3 while decompressing data: incorrect data check" in reasons


@given(data=st.data())
def test_damage_ends_in_a_mask_or_a_value_error(whole, data) -> None:
    content = bytearray(whole[data.draw(st.sampled_from(["compressed", "plain"]))])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for candidate in (content, content[:cut]):
        with contextlib.suppress(ValueError):
            assert read(bytes(candidate)).dtype == np.uint8
