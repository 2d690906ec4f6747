import contextlib
import hashlib
import json
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

from seedbed.data.masks import write_mask
from seedbed.data.saliency_sets import SaliencySet
from seedbed.data.voc import VocData
from seedbed.intake.check import check_data
from seedbed.intake.facts import Facts
from seedbed.params import DataParams

VOC = "VOCdevkit/VOC2012"


def found(root, params, severity="error"):
    report = check_data(root, params).report
    assert report["usable"] == (report["errors"] == 0)
    assert report["errors"] + report["warnings"] == len(report["findings"])
    return {(entry["file"], entry["finding"]) for entry in report["findings"] if entry["severity"] == severity}


def only(findings):
    assert len(findings) == 1, findings
    return next(iter(findings))


def test_report_counts(pristine, params):
    report = check_data(pristine, params).report
    json.dumps(report, allow_nan=False)
    assert report["label_source"] == "json"
    train = report["splits"]["train_aug"]
    assert (train["images"], train["masks"]) == (10, 10)
    assert train["sizes"] == {"width": [128, 128], "height": [96, 96]}
    assert sum(train["classes"].values()) >= 10
    assert 0 < train["ignored"] < 0.1


def test_processes_change_nothing(pristine, params):
    one, two = (check_data(pristine, params, jobs=jobs) for jobs in (1, 2))
    assert one.report == two.report
    assert one.facts == two.facts


def test_nothing_there(tmp_path, params):
    report = check_data(tmp_path / "data", params).report
    assert not report["usable"]
    assert any("does not exist" in entry["finding"] for entry in report["findings"])


def corrupt_image(data):
    path = data.image_path("train_0003")
    path.write_bytes(path.read_bytes()[:500])
    return f"{VOC}/JPEGImages/train_0003.jpg", "cannot be decoded"


def missing_image(data):
    data.image_path("val_0001").unlink()
    return f"{VOC}/JPEGImages/val_0001.jpg", "id 'val_0001' has no image"


def missing_mask(data):
    data.mask_path("val_0001").unlink()
    return f"{VOC}/SegmentationClassAug/val_0001.png", "id 'val_0001' has no mask"


def mask_size(data):
    write_mask(data.mask_path("train_0000"), np.ones((96, 127), np.uint8))
    return f"{VOC}/SegmentationClassAug/train_0000.png", "127x96 pixels"


def mask_id(data):
    write_mask(data.mask_path("train_0000"), np.full((96, 128), 77, np.uint8))
    return f"{VOC}/SegmentationClassAug/train_0000.png", "unknown class ids (77)"


def empty_list(data):
    (data.voc / "ImageSets/Segmentation/val.txt").write_text("")
    return f"{VOC}/ImageSets/Segmentation/val.txt", "is empty"


def unknown_label(data):
    (data.root / "image_labels.json").write_text(json.dumps({"train_0000": ["brid"]}))
    return "image_labels.json", "did you mean 'bird'"


def saliency_without_mask(data):
    (data.root / "DUTS-TR/Masks/pair_1_0003.png").unlink()
    return "DUTS-TR/Images/pair_1_0003.jpg", "has no mask"


def saliency_size(data):
    write_mask(data.root / "DUTS-TE/Masks/pair_2_0003.png", np.ones((9, 9), np.uint8))
    return "DUTS-TE/Masks/pair_2_0003.png", "9x9 pixels"


def shared_id(data):
    with (data.voc / "ImageSets/Segmentation/train_aug.txt").open("a") as stream:
        stream.write("val_0002\n")
    return "train_aug", "shares 1 images with val (by id): val_0002"


def copied_image(data):
    shutil.copy(data.image_path("val_0002"), data.root / "DUTS-TR/Images/pair_1_0000.jpg")
    return "DUTS-TR", "shares 1 images with val (the same file under another id): pair_1_0000"


def shared_pair(data):
    for folder, suffix in (("Images", "jpg"), ("Masks", "png")):
        name = f"{folder}/pair_2_0000.{suffix}"
        shutil.copy(data.root / "DUTS-TE" / name, data.root / "DUTS-TR" / name)
    return "DUTS-TR", "shares 1 images with DUTS-TE (by id)"


def a_loop_of_links(data):
    path = data.root / "notes"
    path.symlink_to("notes")
    return "notes", "symbolic link"


def a_link_to_the_folder_above(data):
    (data.root / "more").symlink_to("..")
    return "more", "symbolic link"


def a_pipe_for_an_image(data):
    """Who opens it waits for ever."""
    path = data.image_path("train_0001")
    path.unlink()
    os.mkfifo(path)
    return f"{VOC}/JPEGImages/train_0001.jpg", "neither a file nor a folder"


def a_pipe_for_a_list(data):
    path = data.voc / "ImageSets/Segmentation/val.txt"
    path.unlink()
    os.mkfifo(path)
    return f"{VOC}/ImageSets/Segmentation/val.txt", "neither a file nor a folder"


def a_pipe_for_labels(data):
    (data.root / "image_labels.json").unlink()
    os.mkfifo(data.root / "image_labels.json")
    return "image_labels.json", "neither a file nor a folder"


def a_socket(data):
    with socket.socket(socket.AF_UNIX) as one, contextlib.chdir(data.root):
        one.bind("talk")
    return "talk", "neither a file nor a folder"


def a_name_that_is_no_text(data):
    Path(os.fsdecode(bytes(data.root) + b"/caf\xe9.txt")).touch()
    return "caf\\udce9.txt", "not UTF-8"


def a_folder_of_two_lines(data):
    (data.root / "two\nlines").mkdir()
    (data.root / "two\nlines" / "file.txt").touch()
    return "two\\nlines", "control character"


def symbolic_link(data):
    path = data.image_path("train_0001")
    path.rename(path.with_name("kept.jpg"))
    path.symlink_to("kept.jpg")
    return f"{VOC}/JPEGImages/train_0001.jpg", "symbolic link"


@pytest.mark.parametrize(
    "damage",
    [corrupt_image, missing_image, missing_mask, mask_size, mask_id, empty_list, unknown_label, saliency_without_mask,
     saliency_size, shared_id, copied_image, shared_pair, symbolic_link, a_loop_of_links, a_link_to_the_folder_above,
     a_pipe_for_an_image, a_pipe_for_a_list, a_pipe_for_labels, a_socket, a_name_that_is_no_text,
     a_folder_of_two_lines],
    ids=lambda damage: damage.__name__,
)  # fmt: skip
def test_one_fault_gives_one_error_at_its_file(data, params, damage):
    file, finding = damage(data)
    error = only(found(data.root, params))
    assert error[0] == file
    assert finding in error[1]


def test_labels_that_disagree_with_masks_are_warned_of(data, params):
    path = data.root / "image_labels.json"
    labels = json.loads(path.read_text())
    labels["train_0000"] = ["train"]
    labels["train_0001"] = []
    path.write_text(json.dumps(labels))
    warnings = found(data.root, params, "warning")
    assert any(file.endswith("train_0000.jpg") and "disagree on" in text for file, text in warnings)
    assert any(file.endswith("train_0001.jpg") and "no image label" in text for file, text in warnings)
    assert not found(data.root, params)


def test_training_masks_are_not_needed(data, params):
    for image_id in data.ids("train_aug"):
        data.mask_path(image_id).unlink()
    assert not found(data.root, params)
    assert "study.tune_images" in only(found(data.root, params, "warning"))[1]


def test_classes_that_no_mask_shows_are_warned_of(data):
    params = DataParams(classes=[*VocData(data.root, data.params).classes, "cat"])
    warnings = {text for _, text in found(data.root, params, "warning")}
    assert {"no mask of train_aug shows class 'cat'", "no mask of val shows class 'cat'"} <= warnings


def test_empty_saliency_masks_and_pairs_of_training_images_are_warned_of(data, params):
    pairs = SaliencySet(data.root / "DUTS-TR")
    write_mask(pairs.mask_path("pair_1_0000"), np.zeros((96, 128), np.uint8))
    shutil.copy(data.image_path("train_0004"), pairs.image_path("pair_1_0001"))
    warnings = found(data.root, params, "warning")
    assert ("DUTS-TR/Masks/pair_1_0000.png", "shows nothing salient") in warnings
    assert any("shares 1 images with train_aug" in text for _, text in warnings)


def test_labels_from_masks_need_every_mask(data, params):
    params = params.model_copy(update={"labels": "masks"})
    checked = check_data(data.root, params)
    assert checked.report["usable"]
    assert set(checked.labels) == set(data.ids("train_aug"))
    read = VocData(data.root, params).labels()
    assert all((checked.labels[image_id] == read[image_id]).all() for image_id in read)
    data.mask_path("train_0002").unlink()
    assert "1 of 10 training images have no mask" in only(found(data.root, params))[1]


def test_a_file_that_is_only_read_may_hold_anything(data, params):
    (data.root / "imported" / "seeds").mkdir(parents=True)
    (data.root / "imported" / "seeds" / "a.bin").write_bytes(b"any")
    checked = check_data(data.root, params)
    assert checked.report["usable"]
    assert checked.facts["imported/seeds/a.bin"] == Facts(hashlib.md5(b"any").hexdigest())


def test_the_report_names_files_below_data_only(data, params):
    """So that a report of one machine is that of another."""
    corrupt_image(data)
    assert str(data.root) not in json.dumps(check_data(data.root, params).report)


def test_clutter_of_desktops_is_not_seen(data, params):
    before = check_data(data.root, params)
    for name in (".DS_Store", "DUTS-TR/Images/Thumbs.db", f"{VOC}/JPEGImages/._train_0000.jpg", "__MACOSX/a.jpg"):
        (data.root / name).parent.mkdir(exist_ok=True)
        (data.root / name).write_text("clutter")
    after = check_data(data.root, params)
    assert after.report == before.report
    assert after.facts == before.facts
