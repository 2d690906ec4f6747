"""What a data set consists of, and how a folder differs from that."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.acquire import manifest
from seedbed.trees import Differences


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {"a.txt": b"one", "b/c.txt": b"two", "b/d/e.txt": b""}.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "set"


def test_it_survives_being_written(folder, tmp_path):
    measured = manifest.measure(folder, "set", jobs=2)
    assert {path: item.size for path, item in measured.items()} == {"a.txt": 3, "b/c.txt": 3, "b/d/e.txt": 0}
    manifest.write(tmp_path / "set.files", measured)
    assert manifest.read(tmp_path / "set.files") == measured
    assert not manifest.compare(folder, measured, "set", verify=True)


def test_sizes_tell_most_and_contents_all(folder):
    measured = manifest.measure(folder, "set")
    (folder / "a.txt").write_bytes(b"ONE")
    (folder / "b" / "c.txt").write_bytes(b"longer")
    (folder / "b" / "d" / "e.txt").unlink()
    (folder / "new.txt").touch()
    quick = manifest.compare(folder, measured, "set")
    assert quick == Differences(modified=("b/c.txt",), missing=("b/d/e.txt",), added=("new.txt",))
    assert manifest.compare(folder, measured, "set", verify=True).modified == ("a.txt", "b/c.txt")


def test_what_file_managers_leave_is_no_file_of_the_set(folder):
    measured = manifest.measure(folder, "set")
    (folder / "b" / ".DS_Store").touch()
    (folder / "Thumbs.db").touch()
    assert not manifest.compare(folder, measured, "set")


def test_a_link_in_a_files_place_is_a_change(folder, tmp_path):
    measured = manifest.measure(folder, "set")
    (folder / "a.txt").rename(tmp_path / "elsewhere")
    (folder / "a.txt").symlink_to(tmp_path / "elsewhere")
    assert manifest.compare(folder, measured, "set").modified == ("a.txt",)


@pytest.mark.parametrize("content", [b"a.txt", b"a.txt\tthree\t00", b"a\tb\tc\td", b"\xff\xfe"])
def test_a_damaged_list_is_none(tmp_path, content):
    assert manifest.read(tmp_path / "set.files") is None
    (tmp_path / "set.files").write_bytes(content)
    assert manifest.read(tmp_path / "set.files") is None
