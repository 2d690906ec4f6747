"""How the annotations of an image become its mask: who lies on top, what is cut off, what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from acquire.made_coco import Json, box, compressed, image_entry, instance, runs
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as rle

from seedbed.acquire.coco_masks import CocoAnnotation, CocoImage, paint
from seedbed.errors import UserError

# NumPy 2 warns of how pycocotools hands its memory over.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WIDTH, HEIGHT = 40, 30
IMAGE = CocoImage.model_validate(image_entry(1, "one.jpg", (WIDTH, HEIGHT)))
EVERYWHERE = np.ones((HEIGHT, WIDTH), bool)


def painted(annotations: Sequence[Json]) -> np.ndarray:
    """Paint annotations whose category is their class id."""
    return paint(IMAGE, [(CocoAnnotation.model_validate(entry), entry["category_id"]) for entry in annotations])


def one(segmentation: Any, number: int = 1, class_id: int = 7, crowd: bool = False) -> Json:
    return instance(number, IMAGE.id, class_id, segmentation, crowd)


def region(segmentation: Any) -> np.ndarray:
    """Return what `segmentation` covers, bool [H,W], each ring decoded for itself."""
    if isinstance(segmentation, dict):
        packed = segmentation
        if isinstance(packed["counts"], list):
            packed = rle.frPyObjects(packed, HEIGHT, WIDTH)
        return rle.decode(packed).astype(bool)
    return rle.decode(rle.frPyObjects(segmentation, HEIGHT, WIDTH)).any(axis=-1)


def brute_force(annotations: Sequence[Json]) -> np.ndarray:
    """Ask of every pixel which object of the least area covers it, the last by id among equals."""
    regions = [(entry, region(entry["segmentation"])) for entry in annotations]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            here = [(entry, covered.sum()) for entry, covered in regions if covered[y, x]]
            objects = [(area, -entry["id"], entry["category_id"]) for entry, area in here if not entry["iscrowd"]]
            mask[y, x] = min(objects)[2] if objects else 255 if here else 0
    return mask


boxes = st.tuples(*(st.floats(0, side, width=32) for side in (WIDTH, HEIGHT, WIDTH, HEIGHT)))
rings = st.lists(st.tuples(st.floats(-5, WIDTH + 5), st.floats(-5, HEIGHT + 5)), min_size=3, max_size=6)
bitmaps = hnp.arrays(bool, (HEIGHT, WIDTH))
segmentations = st.one_of(
    boxes.map(lambda sides: box(*sides)),
    st.lists(rings.map(lambda points: [float(number) for point in points for number in point]), min_size=1, max_size=3),
    bitmaps.map(runs),
    bitmaps.map(compressed),
)


@given(st.lists(st.tuples(segmentations, st.integers(1, 80), st.booleans()), max_size=5))
def test_equals_a_painter_that_asks_every_pixel(found) -> None:
    annotations = [one(shape, number, class_id, crowd) for number, (shape, class_id, crowd) in enumerate(found)]
    expected = brute_force(annotations)
    np.testing.assert_array_equal(painted(annotations), expected)
    np.testing.assert_array_equal(painted(annotations[::-1]), expected)


def test_the_smaller_lies_on_top() -> None:
    large, small = one(box(0, 0, 30, 30), 1, 3), one(box(10, 10, 20, 20), 2, 4)
    for order in ([large, small], [small, large]):
        mask = painted(order)
        assert mask[15, 15] == 4
        assert mask[5, 5] == 3
        assert mask[5, 35] == 0


def test_of_equal_area_the_later_id_lies_on_top() -> None:
    first, second = one(box(0, 0, 20, 20), 1, 3), one(box(10, 0, 30, 20), 2, 4)
    for order in ([first, second], [second, first]):
        assert painted(order)[10, 5:25:10].tolist() == [3, 4]


def test_area_is_counted_in_pixels_not_taken_from_the_file() -> None:
    large, small = one(box(0, 0, 30, 30), 1, 3), one(box(10, 10, 20, 20), 2, 4)
    assert painted([large | {"area": 1.0}, small | {"area": 900.0}])[15, 15] == 4


def test_a_crowd_is_ignored_where_no_object_lies() -> None:
    mask = painted([one(box(10, 10, 20, 20), 1, 3), one(runs(EVERYWHERE), 2, 1, crowd=True)])
    assert set(np.unique(mask)) == {3, 255}
    assert (mask == 3).sum() == 100


def test_parts_of_one_object() -> None:
    mask = painted([one(box(0, 0, 5, 5) + box(20, 20, 30, 25))])
    assert (mask == 7).sum() == 25 + 50


def test_what_is_outside_is_cut_off() -> None:
    mask = painted([one(box(-20, -10, 10, 10))])
    assert (mask == 7).sum() == 100
    assert mask[:10, :10].all()
    assert not painted([one(box(-20, -20, -5, -5))]).any()


@pytest.mark.parametrize("rings", [[], [[]], [[1, 2]], [[1, 2, 20, 20]], [[5, 5, 5, 5, 5, 5]]])
def test_rings_without_extent_cover_nothing(rings) -> None:
    assert not painted([one(rings)]).any()
    np.testing.assert_array_equal(painted([one(rings + box(2, 2, 9, 9))]), painted([one(box(2, 2, 9, 9))]))


def test_an_image_without_annotations_is_background() -> None:
    mask = painted([])
    assert mask.shape == (HEIGHT, WIDTH)
    assert mask.dtype == np.uint8
    assert not mask.any()


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[1, 2, 3, 4, 5, 6, 7]], "ring of 7 numbers"),
        (box(0, 0, 81, 5), "further outside"),
        (box(0, 0, 5, -31), "further outside"),
        (box(0, 0, 1e30, 5), "further outside"),
        (runs(EVERYWHERE.T), "run lengths for 30x40 pixels"),
        (compressed(EVERYWHERE.T), "run lengths for 30x40 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [10, 20]}, "run lengths for 30 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [0, WIDTH * HEIGHT, 1]}, "run lengths for 1201 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": "ooooo0"}, "cannot be decoded"),
    ],
)
@pytest.mark.parametrize("crowd", [False, True])
def test_what_no_image_of_this_size_has_is_refused(segmentation, words, crowd) -> None:
    with pytest.raises(UserError, match=f"annotation 31 of image one.jpg.*{words}"):
        painted([one(segmentation, 31, crowd=crowd)])
