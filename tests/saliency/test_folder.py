from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seedbed.errors import UserError
from seedbed.saliency import get_source
from seedbed.saliency.folder import FolderSource

SIZES = {"a": (9, 6), "b": (5, 7)}


def levels(name: str) -> np.ndarray:
    width, height = SIZES[name]
    return np.arange(width * height, dtype=np.uint8).reshape(height, width)


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    """Two photographs, and their maps in the folder maps/ beside them."""
    (tmp_path / "maps").mkdir()
    found = {}
    for name, size in SIZES.items():
        found[name] = tmp_path / f"{name}.jpg"
        Image.new("RGB", size).save(found[name])
        Image.fromarray(levels(name)).save(tmp_path / "maps" / f"{name}.png")
    return found


def test_maps_are_read_as_they_are(paths: dict[str, Path], tmp_path: Path) -> None:
    found = dict(FolderSource(tmp_path / "maps").maps(paths))
    assert list(found) == ["a", "b"]
    for name, saliency in found.items():
        assert saliency.dtype == np.uint8
        np.testing.assert_array_equal(saliency, levels(name))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="maps does not exist"):
        FolderSource(tmp_path / "maps")


def test_missing_maps_are_named_before_the_first_map(paths: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "maps" / "b.png").unlink()
    with pytest.raises(UserError, match=r"1 of 2 images have no saliency map in .*, first b\.png"):
        next(FolderSource(tmp_path / "maps").maps(paths))


def test_a_map_of_another_size_is_refused(paths: dict[str, Path], tmp_path: Path) -> None:
    Image.new("L", (9, 7)).save(tmp_path / "maps" / "a.png")
    with pytest.raises(UserError, match=r"a\.png is 9x7 pixels, but its image is 9x6"):
        list(FolderSource(tmp_path / "maps").maps(paths))


@pytest.mark.parametrize(("file", "words"), [("a.jpg", "cannot be read"), ("maps/a.png", "cannot be decoded")])
@pytest.mark.parametrize("content", [b"", b"no image"])
def test_a_damaged_file_is_named(paths: dict[str, Path], tmp_path: Path, file: str, words: str, content: bytes) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=rf"{file} {words}"):
        list(FolderSource(tmp_path / "maps").maps(paths))


def test_a_missing_image_is_named(paths: dict[str, Path], tmp_path: Path) -> None:
    paths["a"].unlink()
    with pytest.raises(UserError, match=r"a\.jpg does not exist"):
        list(FolderSource(tmp_path / "maps").maps(paths))


def test_an_unknown_source_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'folder'"):
        get_source("foldr")
