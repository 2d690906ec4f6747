import json
import shutil

import numpy as np
import pytest

from seedbed.data.classes import COCO_CLASSES, VOC_CLASSES
from seedbed.data.masks import write_mask
from seedbed.data.sample import SAMPLE_CLASSES
from seedbed.data.voc import VocData
from seedbed.errors import UserError
from seedbed.params import DataParams


def test_reads_the_sample(data):
    ids = data.ids("train_aug")
    assert len(ids) == 10
    assert data.num_classes == 5
    assert data.image(ids[0]).mode == "RGB"
    assert data.mask(ids[0], data.image(ids[0]).size).shape == (96, 128)
    assert data.has_masks
    assert data.labels().keys() == set(ids)


def test_class_lists(tmp_path):
    assert VocData(tmp_path, DataParams(classes="voc")).classes == VOC_CLASSES
    assert VocData(tmp_path, DataParams(classes="coco")).classes == COCO_CLASSES
    assert (len(VOC_CLASSES), len(COCO_CLASSES)) == (20, 80)
    assert list(VOC_CLASSES) == sorted(VOC_CLASSES)


def test_missing_folder_says_how_to_get_it(tmp_path, params):
    with pytest.raises(UserError) as caught:
        VocData(tmp_path / "data", params).ids("train_aug")
    assert "seedbed data sample" in str(caught.value)
    assert "seedbed data use PATH" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, r"does not exist \(lists there: val\)"), ("\n\n", "is empty"), ("a\nb\na\n", "1 ids more than once")],
)
def test_bad_lists(data, content, message):
    path = data.voc / "ImageSets" / "Segmentation" / "train_aug.txt"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        data.ids("train_aug")


def test_lists_of_paths_name_ids_too(data):
    path = data.voc / "ImageSets" / "Segmentation" / "psa.txt"
    path.write_text("/JPEGImages/a_1.jpg /SegmentationClassAug/a_1.png\nb_2\n")
    assert data.ids("psa") == ["a_1", "b_2"]


def test_missing_image_and_mask_are_named(data):
    for read, what in ((data.image, "image"), (data.mask, "mask")):
        with pytest.raises(UserError, match=f"id 'nothing' has no {what}"):
            read("nothing")


def test_images_with_a_mask_keep_their_order(data):
    ids = data.ids("train_aug")[::-1]
    assert data.masked(ids) == ids
    data.mask_path(ids[1]).unlink()
    assert data.masked([*ids, "nothing"]) == [ids[0], *ids[2:]]
    shutil.rmtree(data.voc / "SegmentationClassAug")
    assert data.masked(ids) == []


def test_mask_of_another_size_and_with_unknown_ids(data):
    path = data.mask_path("val_0000")
    write_mask(path, np.full((96, 100), 1, np.uint8))
    with pytest.raises(UserError, match="100x96 pixels, but its image is 128x96"):
        data.mask("val_0000", (128, 96))
    write_mask(path, np.full((96, 128), 6, np.uint8))
    with pytest.raises(UserError, match="unknown class ids"):
        data.mask("val_0000")


def test_sources_of_labels_in_order_of_preference(data):
    from_json = data.labels()
    assert data.label_source() == "json"
    np.save(data.root / "cls_labels.npy", {key: 1 - value for key, value in from_json.items()})
    (data.voc / "Annotations").mkdir()
    for image_id in data.ids("train_aug"):
        xml = "<annotation><object><name>boat</name></object></annotation>"
        (data.voc / "Annotations" / f"{image_id}.xml").write_text(xml)
    (data.root / "image_labels.json").unlink()
    assert data.label_source() == "npy"
    assert all((data.labels()[key] == 1 - value).all() for key, value in from_json.items())
    (data.root / "cls_labels.npy").unlink()
    assert data.label_source() == "xml"
    assert all(vector.tolist() == [0, 1, 0, 0, 0] for vector in data.labels().values())
    shutil.rmtree(data.voc / "Annotations")
    assert data.label_source() == "masks"
    assert all((data.labels()[key] == value).all() for key, value in from_json.items())
    shutil.rmtree(data.voc / "SegmentationClassAug")
    assert not data.has_masks
    with pytest.raises(UserError, match="no image labels"):
        data.label_source()


def test_a_chosen_source_is_taken(root):
    data = VocData(root, DataParams(classes=list(SAMPLE_CLASSES), labels="npy"))
    with pytest.raises(UserError, match=r"cls_labels\.npy does not exist"):
        data.labels()


def test_images_without_label_are_named(data):
    (data.root / "image_labels.json").write_text(json.dumps({"train_0000": []}))
    with pytest.raises(UserError, match="no labels for 9 of 10 images, the first is 'train_0001'"):
        data.labels()


def test_json_labels_may_lie_beside_their_images(data):
    """So that sets of different labels can share the data folder."""
    ids, beside = data.ids("train_aug"), data.voc / "image_labels.json"
    assert data.label_path("json") == data.root / "image_labels.json"
    beside.write_text(json.dumps({image_id: [] for image_id in ids}))
    assert data.label_path("json") == beside
    assert not any(vector.any() for vector in data.labels(ids).values())
    (data.root / "image_labels.json").write_text(json.dumps({"of another set": ["unicorn"]}))
    assert len(data.labels(ids)) == len(ids)
