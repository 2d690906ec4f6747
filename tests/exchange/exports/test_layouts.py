"""What is exported, read back by the rules of the projects that it is for, and by the readers here."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seedbed.data.labels import npy_labels
from seedbed.data.masks import read_mask, voc_palette
from seedbed.data.voc import VocData
from seedbed.errors import UserError
from seedbed.exchange import work
from seedbed.exchange.exports import LAYOUTS
from seedbed.exchange.exports.objects import object_npy
from seedbed.params import DataParams
from seedbed.seeds.store import MapStore

FOLDERS = sorted(LAYOUTS.keys() - {"huggingface"})
PHOTOGRAPHS = {
    "deeplab-pytorch": "VOCdevkit/VOC2012/JPEGImages",
    "mmsegmentation": "VOCdevkit/VOC2012/JPEGImages",
    "caffe": "JPEGImages",
    "psa": "JPEGImages",
}


def pseudo(project, image_id: str) -> np.ndarray:
    return read_mask(project.paths.pseudo_labels("eps") / f"{image_id}.png")


def index_mask(path: Path) -> np.ndarray:
    """Read as `np.asarray(Image.open(path))`, whatever the mode."""
    with Image.open(path) as image:
        return np.asarray(image)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_deeplab_pytorch(root: Path, split: str) -> dict[str, tuple[Path, np.ndarray]]:
    """Read as its class VOCAug does."""
    assert split in {"train", "train_aug", "trainval", "trainval_aug", "val"}
    root = root / "VOC2012"
    lines = (root / "ImageSets/SegmentationAug" / f"{split}.txt").read_text().splitlines()
    listed = [line.rstrip().split(" ") for line in lines]
    files, labels = zip(*listed, strict=True)
    return {
        file.split("/")[-1].split(".")[0]: (root / file[1:], index_mask(root / label[1:]))
        for file, label in zip(files, labels, strict=True)
    }


def read_mmsegmentation(config: Path, dataset: str) -> dict[str, tuple[Path, np.ndarray]]:
    """Read as BaseSegDataset does, from a configuration that Config.fromfile has read."""
    names: dict = {}
    exec(config.read_text().replace("{{ fileDirname }}", str(config.parent)), names)
    told = names[dataset]
    assert told["type"] == "BaseSegDataset"
    root = Path(told["data_root"])
    ids = [line.strip() for line in (root / told["ann_file"]).read_text().splitlines()]
    prefix = told["data_prefix"]
    return {
        image_id: (
            root / prefix["img_path"] / (image_id + told["img_suffix"]),
            index_mask(root / prefix["seg_map_path"] / (image_id + told["seg_map_suffix"])),
        )
        for image_id in ids
    }


@pytest.mark.parametrize("split", ["train_aug", "val"])
def test_deeplab_pytorch_reads_pseudo_labels_and_true_validation_masks(project, split):
    found = read_deeplab_pytorch(project.export("deeplab-pytorch", images="copy") / "VOCdevkit", split)
    voc = project.context.voc
    assert list(found) == voc.ids(split)
    for image_id, (photograph, mask) in found.items():
        assert photograph.read_bytes() == voc.image_path(image_id).read_bytes()
        np.testing.assert_array_equal(mask, pseudo(project, image_id) if split == "train_aug" else voc.mask(image_id))


@pytest.mark.parametrize(("dataset", "split"), [("train_dataset", "train_aug"), ("val_dataset", "val")])
def test_mmsegmentation_reads_them_by_the_configuration(project, dataset, split):
    found = read_mmsegmentation(project.export("mmsegmentation", images="copy") / "dataset.py", dataset)
    voc = project.context.voc
    assert list(found) == voc.ids(split)
    for image_id, (photograph, mask) in found.items():
        assert photograph.read_bytes() == voc.image_path(image_id).read_bytes()
        np.testing.assert_array_equal(mask, pseudo(project, image_id) if split == "train_aug" else voc.mask(image_id))


def test_the_configuration_names_classes_and_colours_by_id(project):
    names: dict = {}
    exec((project.export("mmsegmentation") / "dataset.py").read_text(), names)
    classes, palette = names["metainfo"]["classes"], names["metainfo"]["palette"]
    assert classes == ("background", *project.context.voc.classes)
    np.testing.assert_array_equal(palette, voc_palette()[: len(classes)])


def test_the_trees_of_voc_are_read_by_this_project_too(project):
    params = DataParams(classes=list(project.context.voc.classes))
    exported = VocData(project.export("mmsegmentation", images="copy"), params)
    for image_id in exported.ids("train_aug"):
        np.testing.assert_array_equal(exported.mask(image_id, exported.image(image_id).size), pseudo(project, image_id))


def test_caffe_gets_grey_index_masks_and_a_list_of_paths_below_its_root(project):
    out = project.export("caffe", images="copy")
    ids = project.context.voc.ids("train_aug")
    lines = (out / "train_ins.txt").read_text().splitlines()
    assert lines == [f"/JPEGImages/{image_id}.jpg /pseudo/{image_id}.png" for image_id in ids]
    for image_id, line in zip(ids, lines, strict=True):
        photograph, mask = (Path(f"{out}{path}") for path in line.split(" "))  # root_folder + the path
        assert photograph.is_file()
        with Image.open(mask) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), pseudo(project, image_id))


def test_psa_gets_dicts_of_class_maps(project):
    out = project.export("psa")
    store, labels = MapStore(project.paths.seeds("eps")), project.context.voc.labels()
    for image_id in project.context.voc.ids("train_aug"):
        maps = np.load(out / "seeds" / f"{image_id}.npy", allow_pickle=True).item()
        expected, _ = store.maps(image_id)
        assert list(maps) == np.flatnonzero(labels[image_id]).tolist()
        assert all(type(number) is int and one.dtype == np.float32 for number, one in maps.items())
        np.testing.assert_array_equal(np.stack(list(maps.values())), expected)


def test_psa_gets_lists_labels_and_masks(project):
    out = project.export("psa")
    voc = project.context.voc
    ids = voc.ids("train_aug")
    assert (out / "train_aug.txt").read_text().split("\n") == [*ids, ""]
    pairs = [line.split(" ")[0] for line in (out / "train_aug_pairs.txt").read_text().splitlines()]
    assert [Path(path).stem for path in pairs] == ids
    read = npy_labels(out / "cls_labels.npy", voc.num_classes)
    assert read.keys() == set(ids)
    for image_id, label in voc.labels().items():
        np.testing.assert_array_equal(read[image_id], label)
        np.testing.assert_array_equal(read_mask(out / "pseudo" / f"{image_id}.png"), pseudo(project, image_id))


@pytest.mark.parametrize("layout", FOLDERS)
def test_class_maps_and_saliency_go_along_when_asked_for(project, layout):
    out = project.export(layout, "seeds", "saliency")
    ids = sorted(project.context.voc.ids("train_aug"))
    assert sorted(path.stem for path in (out / "seeds").iterdir()) == ids
    assert {path.name: path.read_bytes() for path in (out / "saliency").iterdir()} == {
        f"{image_id}.png": (project.paths.saliency_maps() / f"{image_id}.png").read_bytes() for image_id in ids
    }


@pytest.mark.parametrize("layout", FOLDERS)
def test_nothing_goes_along_unasked(project, layout):
    out = project.export(layout)
    assert not (out / "saliency").exists()
    assert not (out / PHOTOGRAPHS[layout]).exists()
    assert (out / "seeds").exists() == (layout == "psa")


@pytest.mark.parametrize("layout", FOLDERS)
def test_photographs_are_linked_or_copied(project, layout):
    linked = project.export(layout, images="link", out="linked") / PHOTOGRAPHS[layout]
    copied = project.export(layout, images="copy", out="copied") / PHOTOGRAPHS[layout]
    names = {path.name for path in linked.iterdir()}
    assert names == {path.name for path in copied.iterdir()}
    assert {f"{image_id}.jpg" for image_id in project.context.voc.ids("train_aug")} <= names
    for name in names:
        source = project.context.voc.image_path(Path(name).stem)
        assert source.samefile(linked / name)
        assert not source.samefile(copied / name)
        assert (copied / name).read_bytes() == source.read_bytes()


def test_photographs_that_cannot_be_linked_are_not_copied_in_silence(project, monkeypatch):
    def fail(source, target):
        raise OSError(18, os.strerror(18))

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(UserError, match=r"cannot be linked.*\n.*--images copy"):
        project.export("caffe", images="link")
    assert not (project.root / "exported").exists()


def test_validation_images_without_a_mask_are_not_listed(project):
    for image_id in project.context.voc.ids("val")[1:]:
        project.context.voc.mask_path(image_id).unlink()
    found = read_deeplab_pytorch(project.export("deeplab-pytorch") / "VOCdevkit", "val")
    assert list(found) == project.context.voc.ids("val")[:1]


def test_without_validation_masks_there_is_no_validation_list(project):
    for image_id in project.context.voc.ids("val"):
        project.context.voc.mask_path(image_id).unlink()
    out = project.export("mmsegmentation")
    assert not (out / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").exists()
    names: dict = {}
    exec((out / "dataset.py").read_text(), names)
    assert "val_dataset" not in names


@pytest.mark.parametrize("layout", ["psa", "huggingface"])
def test_many_processes_write_what_one_does(project, layout, monkeypatch):
    monkeypatch.setattr(work, "_WORTH_A_PROCESS", 4)
    one = project.export(layout, "seeds", out="one")
    project.parameters(jobs=2)
    assert content(project.export(layout, "seeds", out="two")) == content(one)


def test_pickles_name_nothing_that_numpy_1_lacks(project):
    files = list(project.export("psa").rglob("*.npy"))
    assert len(files) == 8
    for path in files:
        assert b"numpy._core" not in path.read_bytes()
        assert b"numpy.core.multiarray" in path.read_bytes()


def test_content_that_looks_like_a_name_stays_as_it_is():
    value = {"cnumpy._core.multiarray": np.frombuffer(b"cnumpy._core.multiarray\n", np.uint8)}
    loaded = np.load(io.BytesIO(object_npy(value)), allow_pickle=True).item()
    assert list(loaded) == list(value)
    np.testing.assert_array_equal(*loaded.values(), *value.values())


@pytest.mark.parametrize("layout", ["caffe", "psa"])
def test_grey_masks_have_the_id_to_ignore_that_the_reader_wants(project, layout):
    out = project.export(layout, ignore=21)
    for image_id in project.context.voc.ids("train_aug"):
        ours, theirs = pseudo(project, image_id), index_mask(out / "pseudo" / f"{image_id}.png")
        np.testing.assert_array_equal(theirs, np.where(ours == 255, 21, ours))
    assert "21 pixels to ignore" in project.card(out)


@pytest.mark.parametrize("layout", ["mmsegmentation", "huggingface"])
def test_other_layouts_keep_their_id_to_ignore(project, layout):
    with pytest.raises(UserError, match=r"255(.|\n)*leave --ignore out"):
        project.export(layout, ignore=21)
    assert not (project.root / "exported").exists()


def test_the_id_to_ignore_is_no_class(project):
    with pytest.raises(UserError, match="--ignore 5 is the id of a class: 0 to 5 are"):
        project.export("caffe", ignore=5)
