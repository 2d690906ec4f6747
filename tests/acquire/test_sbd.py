"""SBD and VOC together: which masks, which list, and what stands in the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from acquire.made_voc import IDS, SIZE, mask_of, write_mat, write_sbd, write_voc

from seedbed.acquire.sbd import SbdCounts, convert_sbd
from seedbed.data.masks import read_mask, write_mask
from seedbed.errors import UserError

FROM_SBD = "2008_000009"


class Made:
    """Miniatures in `folder`, and their conversion."""

    def __init__(self, folder: Path) -> None:
        self.voc, self.benchmark, self.target = write_voc(folder), write_sbd(folder), folder / "target"
        self.masks = self.target / "SegmentationClassAug"
        self.mat = self.benchmark / "dataset" / "cls" / f"{FROM_SBD}.mat"

    def convert(self, jobs: int = 1) -> SbdCounts:
        return convert_sbd(self.benchmark, self.voc, self.target, jobs)

    def listed(self) -> list[str]:
        return (self.target / "ImageSets" / "Segmentation" / "train_aug.txt").read_text().split()


@pytest.fixture
def made(tmp_path) -> Made:
    return Made(tmp_path)


def test_counts_and_list(made) -> None:
    assert made.convert() == SbdCounts(masks=10, own=5, train_aug=8)
    assert made.listed() == IDS.train_aug
    assert {path.stem for path in made.masks.iterdir()} == IDS.masks


def test_masks_are_vocs_where_voc_has_one(made) -> None:
    made.convert()
    own = {*IDS.train, *IDS.val}
    assert own & {*IDS.sbd_train, *IDS.sbd_val}
    for image_id in IDS.masks:
        expected = mask_of(image_id, border=image_id in own)
        np.testing.assert_array_equal(read_mask(made.masks / f"{image_id}.png", SIZE), expected)


def test_processes_make_no_difference(made, tmp_path) -> None:
    made.convert()
    first = {path.name: path.read_bytes() for path in made.masks.iterdir()}
    made.target = tmp_path / "again"
    assert made.convert(jobs=2).masks == len(first)
    assert {path.name: path.read_bytes() for path in (made.target / "SegmentationClassAug").iterdir()} == first


def test_what_is_there_is_passed_over(made) -> None:
    intact = made.mat.read_bytes()
    made.mat.write_bytes(intact[:200])
    with pytest.raises(UserError, match=FROM_SBD):
        made.convert()
    kept = {path: path.stat().st_mtime_ns for path in made.masks.iterdir()}
    assert 0 < len(kept) < 10
    assert not (made.target / "ImageSets").exists()
    made.mat.write_bytes(intact)
    assert made.convert() == SbdCounts(masks=10, own=5, train_aug=8)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def refused(made: Made, *words: object) -> None:
    """Assert that the conversion is refused, with the `words` in the message."""
    with pytest.raises(UserError) as caught:
        made.convert()
    for word in words:
        assert str(word) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file", bytes(500), b"<html>not found</html>"])
def test_damaged_mat(made, content) -> None:
    made.mat.write_bytes(content)
    refused(made, made.mat, "damaged", "fetch benchmark.tgz of SBD again")


def test_missing_mat(made) -> None:
    made.mat.unlink()
    refused(made, made.mat, "does not exist", "benchmark.tgz")


def test_unknown_class_in_a_mat(made) -> None:
    write_mat(made.mat, np.full((SIZE[1], SIZE[0]), 21, np.uint8))
    refused(made, made.mat, "unknown class ids (21)", "benchmark.tgz")


def test_mask_of_another_size(made) -> None:
    write_mat(made.mat, np.zeros((4, 5), np.uint8))
    refused(made, made.mat, f"{FROM_SBD}.jpg is 20x16", "for 5x4")


def test_own_mask_of_another_size(made) -> None:
    path = made.voc / "SegmentationClass" / f"{IDS.val[0]}.png"
    write_mask(path, np.zeros((4, 5), np.uint8))
    refused(made, path, "VOCtrainval")


def test_damaged_or_missing_own_mask(made) -> None:
    path = made.voc / "SegmentationClass" / f"{IDS.train[0]}.png"
    path.write_bytes(path.read_bytes()[:60])
    refused(made, path, "cannot be decoded", "VOCtrainval")
    path.unlink()
    refused(made, path, "does not exist", "VOCtrainval")


def test_image_that_voc_lacks(made) -> None:
    path = made.voc / "JPEGImages" / f"{FROM_SBD}.jpg"
    path.unlink()
    refused(made, made.mat, path, "does not exist", "VOCtrainval")


def test_damaged_image(made) -> None:
    path = made.voc / "JPEGImages" / f"{FROM_SBD}.jpg"
    path.write_bytes(b"no image")
    refused(made, path, "no readable image")


@pytest.mark.parametrize(
    "name", ["benchmark_RELEASE/dataset/val.txt", "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"]
)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        ("", "is empty"),
        ("../../etc/passwd\n", "no id"),
        ("2007_000032\n<html>\n", "'<html>'"),
    ],
)
def test_damaged_lists(made, tmp_path, name, content, words) -> None:
    path = tmp_path / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    refused(made, path, words)
    assert not made.target.exists()
