from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seedbed.errors import UserError
from seedbed.seeds.store import MapStore, MapWriter


def some_maps(seed: int, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random((count, 4, 5), np.float32), np.arange(count)


def test_round_trip_across_shards(tmp_path: Path) -> None:
    with MapWriter(tmp_path, "f", shard=2) as writer:
        for i in range(5):
            writer.add(f"image{i}", *some_maps(i, i))
    store = MapStore(tmp_path)
    assert sorted(store) == [f"image{i}" for i in range(5)]
    assert len(list(tmp_path.glob("shard-*"))) == 3
    for i in range(5):
        maps, classes = store.maps(f"image{i}")
        expected, expected_classes = some_maps(i, i)
        assert maps.dtype == np.float32
        np.testing.assert_array_equal(maps, expected.astype(np.float16).astype(np.float32))
        np.testing.assert_array_equal(classes, expected_classes)


def test_a_killed_writer_is_continued(tmp_path: Path) -> None:
    writer = MapWriter(tmp_path, "f", shard=2)
    for i in range(3):  # the third is lost with the process
        writer.add(f"image{i}", *some_maps(i))
    with MapWriter(tmp_path, "f", shard=2) as again:
        assert again.done == {"image0", "image1"}
        again.add("image2", *some_maps(2))
    assert len(MapStore(tmp_path)) == 3


def test_an_error_keeps_finished_images(tmp_path: Path) -> None:
    with pytest.raises(UserError), MapWriter(tmp_path, "f", shard=100) as writer:
        writer.add("image0", *some_maps(0))
        raise UserError("a damaged photograph")
    assert "image0" in MapStore(tmp_path)


def test_other_settings_start_anew(tmp_path: Path) -> None:
    with MapWriter(tmp_path, "old", shard=1) as writer:
        writer.add("a", *some_maps(0))
        writer.add("b", *some_maps(1))
    with MapWriter(tmp_path, "new", shard=1) as writer:
        assert not writer.done
        writer.add("c", *some_maps(2))
    assert list(MapStore(tmp_path)) == ["c"]
    assert len(list(tmp_path.glob("shard-*"))) == 1


def test_missing_and_damaged_stores(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist") as caught:
        MapStore(tmp_path / "none", "seedbed seeds --method eps")
    assert caught.value.fix == "seedbed seeds --method eps"
    with MapWriter(tmp_path, "f") as writer:
        writer.add("a", *some_maps(0))
    with pytest.raises(UserError, match="no seeds of image b"):
        MapStore(tmp_path).maps("b")
    shard = next(tmp_path.glob("shard-*"))
    shard.write_bytes(shard.read_bytes()[:20])
    with pytest.raises(UserError, match="damaged"):
        MapStore(tmp_path).maps("a")
    shard.unlink()
    from seedbed.seeds import store

    store._open_shard.cache_clear()
    with pytest.raises(UserError, match="missing"):
        MapStore(tmp_path).maps("a")
