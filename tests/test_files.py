from __future__ import annotations

import errno
import json
import math
from pathlib import Path

import pytest

from seedbed.errors import UserError, unknown_name
from seedbed.files import read_json, write_atomic, write_bytes, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    write_bytes(path, b"old")

    def fail(stream) -> None:
        stream.write(b"half of the n")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_atomic(path, fail)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights"]


def test_a_full_disk_is_a_user_error(tmp_path: Path) -> None:
    def fail(stream) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="disk is full") as caught:
        write_atomic(tmp_path / "map.png", fail)
    assert "df -h" in caught.value.fix


def test_a_truly_full_device_is_a_user_error(tmp_path: Path) -> None:
    """/dev/full answers every write with ENOSPC, as a full disk does."""
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(UserError, match="disk is full"):
        write_atomic(tmp_path / "map.png", lambda stream: full.write(b"x"))


def test_json_is_deterministic_and_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    write_json(tmp_path / "b.json", {"a": 2, "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "c.json", {"x": math.nan})
    assert not (tmp_path / "c.json").exists()


def test_read_json_names_the_file_and_the_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist") as caught:
        read_json(tmp_path / "a.json", "dvc repro")
    assert caught.value.fix == "dvc repro"
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps([1]))
    assert read_json(tmp_path / "a.json") == [1]


def test_unknown_name_offers_the_nearest() -> None:
    assert "did you mean 'eps'" in str(unknown_name("method", "epps", ["cam", "eps"]))
    assert "known: cam, eps" in str(unknown_name("method", "zzz", ["cam", "eps"]))
