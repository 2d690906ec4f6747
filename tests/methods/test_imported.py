"""Results of others: what may be named, and what images and pseudo-labels must be like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seedbed.data.masks import write_mask
from seedbed.errors import UserError
from seedbed.methods.imported import IMPORTED, Import, check_class_maps, check_complete, ready_made
from seedbed.paths import Paths

LABEL = np.array([1, 0, 1], np.float32)
SIZE = (6, 4)


@pytest.mark.parametrize("kind", ["seeds", "pseudo"])
def test_the_options_name_one_import(kind) -> None:
    given = IMPORTED.content({kind: "psa-voc_1.0"})
    assert given == Import(kind, "psa-voc_1.0")
    assert given.folder(Paths(Path("here"))) == Path("here/data/imported") / kind / "psa-voc_1.0"
    assert given.describe() == {kind: "psa-voc_1.0"}
    assert given.fix == f"seedbed import {kind} SOURCE --as psa-voc_1.0"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "give either seeds: NAME or pseudo: NAME"),
        ({"seeds": None, "pseudo": None}, "give either"),
        ({"seeds": "a", "pseudo": "b"}, "give either"),
        ({"seeds": ""}, "seeds"),
        ({"pseudo": ".."}, "pseudo"),
        ({"pseudo": "../../models"}, "pseudo"),
        ({"seeds": "/etc"}, "seeds"),
        ({"seeds": 7}, "seeds"),
        ({"sedes": "a"}, "did you mean 'seeds'"),
    ],
)
def test_options_that_name_no_import_are_refused(options, said) -> None:
    with pytest.raises(UserError, match=rf"localiser\.theirs\.options: .*{said}"):
        IMPORTED.content(options, "theirs")


def test_class_maps_as_ours_pass() -> None:
    maps = np.linspace(0, 1, 48, dtype=np.float16).reshape(2, 4, 6)
    check_class_maps("a", maps, np.array([0, 2]), LABEL, SIZE)
    check_class_maps("a", maps[:1], np.array([2]), LABEL, SIZE)  # a method may miss a class
    check_class_maps("a", np.zeros((0, 4, 6), np.float16), np.zeros(0, np.int64), LABEL, SIZE)


@pytest.mark.parametrize(
    ("change", "classes", "size", "said"),
    [
        (lambda maps: maps, [0, 1], SIZE, r"the classes \[1\] \(from 0\), which the image labels lack"),
        (lambda maps: maps, [0, 3], SIZE, r"the classes \[3\]"),
        (lambda maps: maps[:1], [0, 2], SIZE, "class maps of 1 x 4 x 6 for 2 classes"),
        (lambda maps: maps[0], [0, 2], SIZE, "class maps of 4 x 6 for 2 classes"),
        (lambda maps: maps, [0, 2], (4, 6), "an image of 6 x 4"),
        (lambda maps: maps + 2, [0, 2], SIZE, r"not in 0\.\.1"),
        (lambda maps: maps - 0.1, [0, 2], SIZE, r"not in 0\.\.1"),
        (lambda maps: maps * np.float16("nan"), [0, 2], SIZE, r"not in 0\.\.1"),
    ],
)
def test_other_class_maps_are_refused(change, classes, size, said) -> None:
    maps = change(np.full((2, 4, 6), 0.05, np.float16))
    with pytest.raises(UserError, match=f"^img: .*{said}") as caught:
        check_class_maps("img", maps, np.array(classes), LABEL, size)
    assert "seedbed import seeds" in caught.value.fix


def test_missing_images_are_counted_and_named() -> None:
    given, folder = Import("pseudo", "afa"), Path("data/imported/pseudo/afa")
    check_complete(given, folder, [], 9)
    with pytest.raises(UserError, match=r"5 of 9 training images have no pseudo-label in \S+/afa: a, b, c, \.\.\.\n"):
        check_complete(given, folder, list("abcde"), 9)


@pytest.fixture
def images(tmp_path) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.jpg" for name in ("second", "first")}
    for path in paths.values():
        Image.new("RGB", SIZE).save(path)
    return paths


def test_pseudo_labels_come_in_the_order_asked_for_palette_or_grey(images, tmp_path) -> None:
    mask = np.array([[0, 1, 2, 3, 255, 0]] * 4, np.uint8)
    write_mask(tmp_path / "first.png", mask)
    Image.fromarray(mask[::-1]).save(tmp_path / "second.png")
    found = dict(ready_made(Import("pseudo", "x"), tmp_path, images, num_classes=3))
    assert list(found) == ["second", "first"]
    np.testing.assert_array_equal(found["first"], mask)
    np.testing.assert_array_equal(found["second"], mask[::-1])


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros((4, 7), np.uint8), "first.png is 7x4 pixels"),
        (np.full((4, 6), 4, np.uint8), r"first.png holds unknown class ids \(4\)"),
        (np.zeros((4, 6, 3), np.uint8), "first.png has pixels of mode RGB"),
        (None, "1 of 2 training images have no pseudo-label"),
    ],
)
def test_pseudo_labels_that_do_not_fit_are_refused(images, tmp_path, mask, said) -> None:
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "second.png")
    if mask is not None:
        Image.fromarray(mask).save(tmp_path / "first.png")
    with pytest.raises(UserError, match=said):
        list(ready_made(Import("pseudo", "x"), tmp_path, images, num_classes=3))
