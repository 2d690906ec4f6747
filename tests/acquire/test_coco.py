"""COCO's JSON as masks and labels: what comes out, what is refused, and how a conversion goes on."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from acquire import made_coco
from acquire.made_coco import CATEGORIES, Json, box, image_entry, instance, scene, write_coco, write_instances
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.acquire import coco, coco_shards
from seedbed.acquire.coco import CocoCounts, convert_coco
from seedbed.acquire.coco_masks import paint
from seedbed.data.classes import COCO_CLASSES
from seedbed.data.labels import json_labels
from seedbed.data.masks import read_mask
from seedbed.errors import UserError
from seedbed.files import read_json


class Made:
    """A miniature of COCO in `folder`, and its conversion."""

    def __init__(self, folder: Path, year: int = 2014) -> None:
        self.year, self.source = year, write_coco(folder / "coco", year)
        self.target, self.work, self.labels = folder / f"COCO{year}", folder / "work", folder / "image_labels.json"
        self.masks = self.target / "SegmentationClass"

    def json(self, split: str = "train") -> Path:
        return self.source / "annotations" / f"instances_{split}{self.year}.json"

    def images(self, split: str = "train") -> Path:
        return self.source / f"{split}{self.year}"

    def convert(self, split: str = "train", jobs: int = 1) -> CocoCounts:
        return convert_coco(
            self.json(split), self.target, split,
            labels=self.labels, work=self.work / split, images=self.images(split), jobs=jobs,
        )  # fmt: skip

    def listed(self, split: str = "train") -> list[str]:
        return (self.target / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()

    def mask(self, image_id: str) -> np.ndarray:
        return read_mask(self.masks / f"{image_id}.png", (40, 30))

    def rewrite(self, content: Json, split: str = "train") -> None:
        write_instances(self.json(split), content)


@pytest.fixture
def made(tmp_path) -> Made:
    return Made(tmp_path)


@pytest.fixture
def one_image_a_shard(monkeypatch) -> None:
    """Deal the five images out to five shards (processes that loky starts read the shards, not this number)."""
    monkeypatch.setattr(coco, "shards_of", lambda _, folder: [coco_shards.Shard(folder, n) for n in range(5)])


@pytest.mark.parametrize(("year", "prefix"), [(2014, "COCO_train2014_"), (2017, "")])
def test_masks_list_and_labels(tmp_path, year, prefix) -> None:
    made = Made(tmp_path, year)
    assert made.convert() == CocoCounts(images=5, labelled=4, annotations=6, crowds=2)
    ids = [f"{prefix}{number:012d}" for number in range(9, 14)]
    assert made.listed() == ids[:4]
    assert read_json(made.labels) == dict(
        zip(ids, [["person", "dog"], ["toothbrush"], ["person"], ["person", "car"]], strict=False)
    )
    found = [set(np.unique(made.mask(image_id)).tolist()) for image_id in ids]
    assert found == [{0, 1, 17}, {0, 80}, {0, 255}, {0, 3, 255}, {0}]


def test_two_splits_share_the_labels(made) -> None:
    made.convert("val")
    counts = made.convert("train")
    assert counts.labelled == len(made.listed("train")) == len(made.listed("val")) == 4
    assert list(read_json(made.labels)) == sorted(made.listed("train") + made.listed("val"))
    assert json_labels(made.labels, COCO_CLASSES)["COCO_train2014_000000000009"].sum() == 2
    assert len(list(made.masks.iterdir())) == 10


def test_class_ids_follow_ascending_category_ids(made) -> None:
    content = scene(2014, "train")
    content["categories"].reverse()
    every = [instance(n, 9, entry["id"], box(n % 10 * 4, n // 10 * 3, n % 10 * 4 + 4, n // 10 * 3 + 3))
             for n, entry in enumerate(CATEGORIES)]  # fmt: skip
    made.rewrite(content | {"annotations": every})
    made.convert()
    image_id = "COCO_train2014_000000000009"
    np.testing.assert_array_equal(made.mask(image_id)[1:24:3, 1::4].ravel(), np.arange(1, 81))
    assert read_json(made.labels)[image_id] == list(COCO_CLASSES)


def test_the_order_of_the_lists_does_not_matter(made, tmp_path) -> None:
    made.convert()
    before = {path.name: path.read_bytes() for path in made.masks.iterdir()}
    made.rewrite(dict(reversed(scene(2014, "train").items())))
    made.target = tmp_path / "again"
    made.convert()
    assert {path.name: path.read_bytes() for path in (made.target / "SegmentationClass").iterdir()} == before


def test_processes_and_shards_make_no_difference(made, tmp_path, monkeypatch) -> None:
    counts = made.convert()
    first = {path.name: path.read_bytes() for path in made.masks.iterdir()}
    labels = made.labels.read_bytes()
    monkeypatch.setattr(coco_shards, "SHARD_BYTES", 1000)
    made.target, made.work = tmp_path / "again", tmp_path / "other work"
    made.masks = made.target / "SegmentationClass"
    assert made.convert(jobs=2) == counts
    assert len(coco_shards.shards_of(made.json(), made.work)) > 1
    assert {path.name: path.read_bytes() for path in made.masks.iterdir()} == first
    assert made.labels.read_bytes() == labels


def test_an_annotation_that_covers_nothing_is_a_label(made) -> None:
    content = scene(2014, "train")
    content["annotations"] = [instance(1, 9, 1, [[5.0, 5.0, 6.0, 6.0]])]
    made.rewrite(content)
    assert made.convert() == CocoCounts(images=5, labelled=1, annotations=1, crowds=0)
    assert not made.mask("COCO_train2014_000000000009").any()


def test_goes_on_where_it_was_stopped(made, one_image_a_shard) -> None:
    missing = made.images() / "COCO_train2014_000000000011.jpg"
    content = missing.read_bytes()
    missing.unlink()
    refused(made, missing, "fetch the images again")
    kept = {path: path.stat().st_mtime_ns for path in made.masks.iterdir()}
    assert 0 < len(kept) < 5
    assert not made.labels.exists()
    missing.write_bytes(content)
    assert made.convert() == CocoCounts(images=5, labelled=4, annotations=6, crowds=2)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not list(made.work.rglob("*.jsonl"))


def test_killed_it_goes_on_with_the_shards_that_are_missing(made, one_image_a_shard, monkeypatch) -> None:
    child = os.fork()
    if child == 0:
        order = itertools.count()
        monkeypatch.setattr(coco, "paint", lambda *given: kill_me() if next(order) == 3 else paint(*given))
        made.convert()
        os._exit(1)  # not reached
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in made.masks.iterdir()}
    assert len(kept) == 3
    assert made.convert() == CocoCounts(images=5, labelled=4, annotations=6, crowds=2)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_stopped_while_dealing_out(made) -> None:
    (made.work / "train").mkdir(parents=True)
    (made.work / "train" / "annotations-000.jsonl").write_text("9\t1\t{")
    (made.work / "train" / "done-000.json").write_text("{}")
    assert made.convert().images == 5


def test_a_finished_conversion_is_not_repeated(made, monkeypatch) -> None:
    counts = made.convert()
    monkeypatch.setattr(coco, "deal_out", None)
    assert made.convert() == counts


def test_other_annotations_are_converted_anew(made) -> None:
    made.convert()
    content = scene(2014, "train")
    made.rewrite(content | {"annotations": content["annotations"][:1]})
    assert made.convert() == CocoCounts(images=5, labelled=1, annotations=1, crowds=0)
    assert made.listed() == ["COCO_train2014_000000000009"]


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refused(made: Made, *words: object) -> None:
    """Assert that the conversion is refused, with the `words` in the message."""
    with pytest.raises(UserError) as caught:
        made.convert()
    for word in words:
        assert str(word) in str(caught.value)


def changed(**lists: object) -> Json:
    return scene(2014, "train") | lists


def without(name: str) -> Json:
    return {key: value for key, value in scene(2014, "train").items() if key != name}


RENAMED = [CATEGORIES[0] | {"name": "human"}, *CATEGORIES[1:]]
SWAPPED = [CATEGORIES[0] | {"id": 90}, *CATEGORIES[1:-1], CATEGORIES[-1] | {"id": 1}]
IMAGES = scene(2014, "train")["images"]
DEEP: list = []
for _ in range(50):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (without("images"), "has no list 'images'"),
        (without("annotations"), "has no list 'annotations'"),
        (without("categories"), "has no list 'categories'"),
        (changed(images=[]), "has no list 'images'"),
        (changed(categories=RENAMED), "unknown are human; lacking are person"),
        (changed(categories=CATEGORIES[:-1]), "lacking are toothbrush"),
        (changed(categories=SWAPPED), "their order differs"),
        (changed(images=IMAGES[1:]), "annotation 100 is of image 9, which is not listed"),
        (changed(images=[*IMAGES, IMAGES[0]]), "twice"),
        (changed(images=[*IMAGES, IMAGES[0] | {"id": 77}]), "twice"),
        (changed(images=[image_entry(9, "../../nine.jpg")]), "images[0] is damaged: file_name"),
        (changed(images=[image_entry(9, "nine.jpg", (0, 30))]), "images[0] is damaged: width"),
        (changed(images=[image_entry(9, "nine.jpg", (40, 10**6))]), "images[0] is damaged: height"),
        (changed(images=["nine.jpg"]), "images[0] is damaged"),
        (changed(annotations=[instance(1, 9, 12, box(0, 0, 5, 5))]), "annotation 1 is of the unknown category 12"),
        (changed(annotations=[instance(1, 9, 1, "text")]), "annotations[0] is damaged: segmentation"),
        (changed(annotations=[instance(1, 9, 1, [["1"]])]), "annotations[0] is damaged: segmentation"),
        (changed(annotations=[instance(1, 9, 1, {"counts": [-1], "size": [1, 1]})]), "annotations[0] is damaged"),
        (changed(annotations=[{"id": 1, "image_id": 9, "caption": "A dog."}]), "annotations[0] is damaged"),
        (changed(annotations=[instance(1, 9, 1, [[1.0] * 7])]), "ring of 7 numbers"),
        (changed(info=DEEP), "nested deeper"),
        ([1, 2], "has no list"),
    ],
)  # fmt: skip
def test_damaged_content(made, content, words) -> None:
    made.rewrite(content)
    refused(made, made.json(), words, "to mend it")
    assert not made.labels.exists()
    assert not made.target.exists()


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_cut_off(made, share) -> None:
    content = made.json().read_bytes()
    made.json().write_bytes(content[: int(len(content) * share)])
    refused(made, made.json(), "is cut off or no JSON", "fetch the annotations again")
    assert not made.target.exists()


@pytest.mark.parametrize(
    "content", [b"<html>404</html>", b"PK\x03\x04" + bytes(100), b'{"images": [NaN]}', b"\xff\xfe{}"]
)
def test_no_json(made, content) -> None:
    made.json().write_bytes(content)
    refused(made, made.json(), "is cut off or no JSON")


def test_no_file(made) -> None:
    made.json().unlink()
    refused(made, made.json(), "does not exist")


def test_image_of_another_size(made) -> None:
    content = scene(2014, "train")
    content["images"][0] |= {"width": 41}
    content["annotations"] = content["annotations"][:2]
    made.rewrite(content)
    refused(made, "COCO_train2014_000000000009.jpg is 40x30", "is for 41x30", made.json().name)


def test_damaged_image(made) -> None:
    path = made.images() / "COCO_train2014_000000000009.jpg"
    path.write_bytes(path.read_bytes()[:10])
    refused(made, path, "no readable image")


def test_damaged_labels_of_another_split(made) -> None:
    made.labels.write_text("{")
    refused(made, made.labels, "not valid JSON")


def test_images_need_not_be_there(made) -> None:
    counts = convert_coco(made.json(), made.target, "train", labels=made.labels, work=made.work)
    assert counts.images == 5


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_is_refused_or_harmless(made, data) -> None:
    content = bytearray(json.dumps(scene(2014, "train")).encode())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(32, 126))
    made.json().write_bytes(content)
    with contextlib.suppress(UserError):
        assert made.convert().images == 5


def test_miniature_has_cocos_category_ids() -> None:
    assert len(CATEGORIES) == 80
    assert (CATEGORIES[0]["id"], CATEGORIES[11]["id"], CATEGORIES[-1]["id"]) == (1, 13, 90)
    assert made_coco.image_name(2014, "val", 42) == "COCO_val2014_000000000042.jpg"
