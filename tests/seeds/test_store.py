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
        stored, stored_classes = store.stored(f"image{i}")
        assert stored.dtype == np.float16
        np.testing.assert_array_equal(stored, maps)
        np.testing.assert_array_equal(stored_classes, classes)
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
    with pytest.raises(UserError, match="missing"):
        MapStore(tmp_path).maps("a")


def write_three(folder: Path) -> list[str]:
    """Write those of three images that the store lacks, a shard each; return their names."""
    with MapWriter(folder, "f", shard=1) as writer:
        lacking = [f"image{i}" for i in range(3) if f"image{i}" not in writer.done]
        for name in lacking:
            writer.add(name, *some_maps(int(name[-1])))
    return lacking


def assert_three(folder: Path) -> None:
    store = MapStore(folder)
    assert sorted(store) == ["image0", "image1", "image2"]
    for i in range(3):
        np.testing.assert_array_equal(store.maps(f"image{i}")[0], some_maps(i)[0].astype(np.float16))


@pytest.mark.parametrize("lost", [[0], [1], [2], [0, 1], [0, 1, 2]])
def test_images_of_a_lost_shard_are_written_again(tmp_path: Path, lost: list[int]) -> None:
    write_three(tmp_path)
    for number in lost:
        (tmp_path / f"shard-{number:05d}.safetensors").unlink()
    assert write_three(tmp_path) == [f"image{number}" for number in lost]
    assert_three(tmp_path)


def test_the_advice_about_a_damaged_shard_mends_it(tmp_path: Path) -> None:
    write_three(tmp_path)
    shard = tmp_path / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:20])
    with pytest.raises(UserError, match="damaged") as caught:
        MapStore(tmp_path, "seedbed seeds --method cam").maps("image1")
    assert caught.value.fix == f"rm {shard} && seedbed seeds --method cam"
    shard.unlink()
    assert write_three(tmp_path) == ["image1"]
    assert_three(tmp_path)


def test_a_shard_of_other_images_counts_as_damaged(tmp_path: Path) -> None:
    write_three(tmp_path)
    (tmp_path / "shard-00000.safetensors").replace(tmp_path / "shard-00001.safetensors")
    with pytest.raises(UserError, match="damaged"):
        MapStore(tmp_path).maps("image1")


def test_stores_of_the_same_relative_path_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        with MapWriter(Path("store"), "f") as writer:
            writer.add("a", *some_maps(number))
        np.testing.assert_array_equal(MapStore(Path("store")).maps("a")[0], some_maps(number)[0].astype(np.float16))


def test_a_rewritten_store_is_read_anew(tmp_path: Path) -> None:
    for fingerprint in range(2):
        with MapWriter(tmp_path, str(fingerprint)) as writer:
            writer.add("a", *some_maps(fingerprint))
        np.testing.assert_array_equal(MapStore(tmp_path).maps("a")[0], some_maps(fingerprint)[0].astype(np.float16))


def test_few_shards_stay_open(tmp_path: Path) -> None:
    with MapWriter(tmp_path, "f", shard=1) as writer:
        for i in range(9):
            writer.add(f"image{i}", *some_maps(i))
    store = MapStore(tmp_path)
    for i in [*range(9), *range(9)]:
        np.testing.assert_array_equal(store.maps(f"image{i}")[0], some_maps(i)[0].astype(np.float16))
    assert len(store._opened) == 4
