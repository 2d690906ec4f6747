"""The export for Hugging Face, loaded by their own library."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from seedbed.data.masks import read_mask
from seedbed.data.saliency_sets import load_map
from seedbed.errors import UserError
from seedbed.exchange.exports import huggingface
from seedbed.seeds.store import MapStore


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """The library, which reads where its caches are and that there is no network when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
            patch.setenv(name, "1")
        import datasets

        yield datasets


@pytest.fixture
def load(datasets, tmp_path):
    return lambda out: datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))


def test_it_loads_with_every_column(project, load):
    out = project.export("huggingface", "seeds", "saliency", images="copy")
    voc, paths = project.context.voc, project.paths
    loaded = load(out)
    store, labels = MapStore(paths.seeds("eps")), voc.labels()
    assert list(loaded) == ["train"]
    assert loaded["train"]["id"][:] == voc.ids("train_aug")
    for row in loaded["train"]:
        image_id = row["id"]
        np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(voc.image(image_id)))
        np.testing.assert_array_equal(
            np.asarray(row["mask"]), read_mask(paths.pseudo_labels("eps") / f"{image_id}.png")
        )
        assert row["classes"] == np.flatnonzero(labels[image_id]).tolist()
        np.testing.assert_array_equal(np.asarray(row["saliency"]), load_map(paths.saliency_maps() / f"{image_id}.png"))
        maps, classes = store.maps(image_id)
        assert row["seed_classes"] == classes.tolist()
        np.testing.assert_allclose(np.stack([np.asarray(one) for one in row["seeds"]]) / 255, maps, atol=0.5001 / 255)


def test_the_features_name_the_classes(project, load, datasets):
    features = load(project.export("huggingface"))["train"].features
    assert list(features) == ["id", "mask", "classes"]
    assert isinstance(features["mask"], datasets.Image)
    assert features["classes"].feature.names == list(project.context.voc.classes)


def test_shards_are_closed_when_they_are_large_and_read_as_one(project, load, monkeypatch):
    monkeypatch.setattr(huggingface, "SHARD_BYTES", 1000)
    monkeypatch.setattr(huggingface, "_ROWS", 2)
    out = project.export("huggingface")
    shards = sorted((out / "data").iterdir())
    assert [shard.name for shard in shards] == [f"train-{number:05d}.parquet" for number in range(4)]
    assert [pq.read_metadata(shard).num_rows for shard in shards] == [2, 2, 2, 1]
    assert load(out)["train"]["id"][:] == project.context.voc.ids("train_aug")


def test_the_head_of_the_card_is_plain_yaml_and_counts(project):
    out = project.export("huggingface", "seeds")
    _, head, body = project.card(out).split("---\n", 2)
    info = yaml.safe_load(head)["dataset_info"]
    assert "&" not in head
    assert info["splits"][0]["num_examples"] == 7
    assert info["download_size"] == sum(path.stat().st_size for path in (out / "data").iterdir())
    assert body.lstrip().startswith("# Pseudo-labels of eps on tiny")


def test_photographs_cannot_be_linked_into_tables(project):
    with pytest.raises(UserError, match=r"no link.*\n.*--images copy"):
        project.export("huggingface", images="link")


def test_a_missing_photograph_is_named(project):
    image_id = project.context.voc.ids("train_aug")[3]
    project.context.voc.image_path(image_id).unlink()
    with pytest.raises(UserError, match=f"{image_id}.jpg does not exist"):
        project.export("huggingface", images="copy")
