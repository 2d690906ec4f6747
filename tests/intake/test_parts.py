import json
import shutil

import pytest

from seedbed.data.masks import read_mask, write_mask
from seedbed.data.sample import SAMPLE_CLASSES
from seedbed.data.voc import VocData
from seedbed.intake.check import check_data
from seedbed.intake.parts import write_parts
from seedbed.params import check_params
from seedbed.paths import Paths

VOC = "VOCdevkit/VOC2012"
IMPORTED = {"method": "imported", "options": {"seeds": "maps"}}


@pytest.fixture
def paths(root):
    return Paths(root.parent)


def parameters(**more):
    blocks = {name: {} for name in ("cam", "other")}
    given = {
        "methods": ["cam", "other"],
        "data": {"classes": list(SAMPLE_CLASSES)},
        "localiser": blocks | {"other": IMPORTED},
        "fusion": blocks,
    }
    return check_params(given | more)


def parts(paths, params=None):
    """Write the parts of the data as they are now, and return them by name."""
    params = params or parameters()
    checked = check_data(paths.data, params.data)
    assert checked.report["usable"], checked.report["findings"]
    write_parts(params, paths, checked)
    return {file.stem: json.loads(file.read_text()) for file in paths.data_part("any").parent.iterdir()}


def test_parts_of_the_sample(paths):
    found = parts(paths)
    assert {name: part["files"] for name, part in found.items() if "files" in part} == {
        "images-train": 10,
        "images-val": 5,
        "masks-train": 10,
        "masks-val": 5,
        "saliency-train": 12,
        "saliency-test": 8,
        "maps": 0,
        "imported-cam": 0,
        "imported-other": 0,
    }
    assert found["labels"]["images"] == 10
    images = (paths.data / VOC / "JPEGImages").glob("train_*.jpg")
    assert found["images-train"]["bytes"] == sum(path.stat().st_size for path in images)


def one_mask(data, name):
    path = data.mask_path(name)
    mask = read_mask(path)
    mask[0, 0] = 255 - mask[0, 0] if mask[0, 0] == 0 else 0
    write_mask(path, mask)


def train_mask(data):
    one_mask(data, "train_0003")


def val_mask(data):
    one_mask(data, "val_0003")


def one_label(data):
    path = data.root / "image_labels.json"
    labels = json.loads(path.read_text())
    path.write_text(json.dumps({**labels, "train_0000": [SAMPLE_CLASSES[4]]}))


def label_of_another_image(data):
    """Of a validation image: no stage reads it."""
    path = data.root / "image_labels.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "val_0000": [SAMPLE_CLASSES[4]]}))


def order_of_the_list(data):
    path = data.voc / "ImageSets/Segmentation/train_aug.txt"
    path.write_text("\n".join(reversed(path.read_text().split())))


def a_test_pair(data):
    write_mask(data.root / "DUTS-TE/Masks/pair_2_0000.png", read_mask(data.root / "DUTS-TE/Masks/pair_2_0001.png"))


def a_training_pair(data):
    shutil.copy(data.root / "DUTS-TR/Masks/pair_1_0001.png", data.root / "DUTS-TR/Masks/pair_1_0000.png")


def an_import(data):
    (data.root / "imported/seeds/maps").mkdir(parents=True)
    (data.root / "imported/seeds/maps/index.json").write_text("{}")


def an_import_that_no_method_names(data):
    (data.root / "imported/seeds/maps-of-others").mkdir(parents=True)
    (data.root / "imported/seeds/maps-of-others/index.json").write_text("{}")


def a_file_beside(data):
    (data.root / "notes.txt").write_text("notes")


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (train_mask, {"masks-train"}),
        (val_mask, {"masks-val"}),
        (one_label, {"labels"}),
        (label_of_another_image, set()),
        (order_of_the_list, {"images-train", "masks-train", "labels"}),
        (a_test_pair, {"saliency-test"}),
        (a_training_pair, {"saliency-train"}),
        (an_import, {"imported-other"}),
        (an_import_that_no_method_names, set()),
        (a_file_beside, set()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_change_touches_the_parts_that_hold_it(paths, change, changed):
    before = parts(paths)
    change(VocData(paths.data, parameters().data))
    after = parts(paths)
    assert {name for name, part in after.items() if part != before[name]} == changed


def test_ready_made_maps(paths):
    (paths.data / "imported/saliency/theirs").mkdir(parents=True)
    (paths.data / "imported/saliency/theirs/train_0000.png").write_bytes(b"a map")
    params = parameters(saliency={"source": "folder", "folder": "imported/saliency/theirs"})
    assert parts(paths, params)["maps"]["files"] == 1
    assert parts(paths)["maps"]["files"] == 0


def test_labels_count_not_where_they_stand(paths):
    before = parts(paths)["labels"]
    params = parameters(data={"classes": list(SAMPLE_CLASSES), "labels": "masks"})
    assert parts(paths, params)["labels"] == before


def test_only_what_changed_is_written_and_old_parts_go(paths):
    parts(paths)
    inodes = {file.name: file.stat().st_ino for file in paths.data_part("any").parent.iterdir()}
    val_mask(VocData(paths.data, parameters().data))
    parts(paths)
    now = {file.name: file.stat().st_ino for file in paths.data_part("any").parent.iterdir()}
    assert {name for name in now if now[name] != inodes[name]} == {"masks-val.json"}
    left = parts(paths, parameters(methods=["cam"]))
    assert "imported-other" not in left
    assert "imported-cam" in left
