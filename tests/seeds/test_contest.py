import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seedbed.errors import UserError
from seedbed.seeds.batch import ClassMaps, MapBatch
from seedbed.seeds.contest import quantise
from seedbed.seeds.fusion import find_rule, published_values

SIZE = (5, 6)
LEVELS = [0, 1, 25, 31, 32, 76, 77, 178, 179, 203, 204, 229, 230, 242, 243, 252, 253, 254, 255]
CONFLICT, PEAK = {"mcis": 0.99, "oaa": 0.9}, {"mcis": 0.95, "oaa": 0.8}


def by_the_book(attention, classes, saliency, conflict, peak):
    """The rule step by step, with a channel for the background and for each of 20 classes.

    Source: GuoleiSun/MCIS_wsss Classifier/gen_gt.py.
    """
    scores = np.zeros((21, *saliency.shape), np.float32)
    scores[0] = 1 - saliency.astype(np.float32) / 255
    peaks = np.zeros(saliency.shape, bool)
    for one, index in zip(attention, classes, strict=True):
        stretched = (one - one.min()) / (one.max() - one.min() + 1e-8)
        peaks |= stretched > peak
        scores[index + 1] = stretched
    scores[scores < 0.3] = 0
    rivals = (scores > conflict).sum(axis=0)
    label = scores.argmax(axis=0).astype(np.uint8)
    label[rivals > 1] = 255
    label[(label == 0) & ((saliency >= 32) | peaks)] = 255
    if ((label > 0) & (label < 255)).sum() / label.size < 0.01:
        label[...] = 255
    return label


@given(
    attention=st.integers(0, 3).flatmap(
        lambda count: hnp.arrays(np.uint8, (count, *SIZE), elements=st.sampled_from(LEVELS))
    ),
    saliency=hnp.arrays(np.uint8, SIZE, elements=st.sampled_from(LEVELS)),
    order=st.permutations([3, 11, 19]),
    rule=st.sampled_from(["mcis", "oaa"]),
)
@settings(max_examples=300)
def test_the_rule_agrees_with_its_definition(attention, saliency, order, rule):
    classes = np.array(order[: len(attention)], np.int64)
    expected = by_the_book(attention, classes, saliency, CONFLICT[rule], PEAK[rule])
    for cams in (attention, (attention / 255).astype(np.float32), (attention / 255).astype(np.float16)):
        assert np.array_equal(find_rule(rule).apply(cams, classes, saliency, {}), expected)


def batch_of(maps):
    """One image of two classes with these maps, one row each."""
    return MapBatch.of([ClassMaps("cat", np.reshape(maps, (2, 1, -1)), np.arange(2))])


def test_the_levels_of_8_bits_survive_the_map_store():
    levels = np.arange(256, dtype=np.uint8)
    assert quantise(batch_of((levels / np.float32(255)).astype(np.float16))).flatten().tolist() == levels.tolist()
    batch = batch_of(levels)
    assert quantise(batch) is batch.cams


def test_compact_maps_give_the_same_mask():
    rng = np.random.default_rng(0)
    cams, saliency = rng.random((2, *SIZE), np.float32), rng.integers(0, 256, SIZE).astype(np.uint8)
    rule = find_rule("mcis")
    compact = rule.compact(cams)
    assert compact.dtype == np.uint8
    assert np.array_equal(rule.apply(compact, [0, 1], saliency, {}), rule.apply(cams, [0, 1], saliency, {}))


def test_an_image_without_classes_is_ignored():
    mask = find_rule("mcis").apply(
        np.zeros((0, *SIZE), np.float16), np.zeros(0, np.int64), np.zeros(SIZE, np.uint8), {}
    )
    assert (mask == 255).all()


@pytest.mark.parametrize(
    ("name", "value", "changed"),
    [
        ("foreground", 0.6, (0, 1)),  # 0.5 is no foreground any more: salient background, ignored
        ("peak", 1.0, (1, 1)),  # the peak outside of the salient region is background
        ("salient", 11, (1, 0)),  # slightly salient background is ignored
    ],
)
def test_every_parameter_does_what_it_says(name, value, changed):
    cams = np.array([[[1.0, 0.5], [0.0, 0.97]]], np.float32)
    saliency = np.array([[255, 255], [11, 0]], np.uint8)
    rule = find_rule("mcis")
    before, after = (rule.apply(cams, np.array([6]), saliency, values) for values in ({}, {name: value}))
    assert before.tolist() == [[7, 7], [0, 255]]
    assert [tuple(place) for place in np.argwhere(before != after)] == [changed]


def test_pixels_of_several_classes_are_ignored_where_they_conflict():
    cams = np.array([[[1.0, 0.0, 0.0]], [[1.0, 0.5, 0.0]]], np.float32)
    saliency = np.full((1, 3), 255, np.uint8)
    rule = find_rule("mcis")
    assert rule.apply(cams, np.array([4, 2]), saliency, {}).tolist() == [[255, 3, 255]]
    assert rule.apply(cams, np.array([4, 2]), saliency, {"conflict": 1.0}).tolist() == [[3, 3, 255]]


def test_the_rules_differ_in_two_values():
    mcis, oaa = published_values("mcis"), published_values("oaa")
    assert {name for name in mcis if mcis[name] != oaa[name]} == {"conflict", "peak"}


def test_nan_is_refused():
    with pytest.raises(UserError, match="NaN"):
        find_rule("mcis").apply(np.full((1, 1, 2), np.nan), np.array([0]), np.zeros((1, 2), np.uint8), {})


@pytest.mark.parametrize("broken", [np.nan, -np.nan, np.inf])
def test_broken_maps_are_refused(broken):
    with pytest.raises(UserError, match="cat: the class maps hold NaN or infinity"):
        quantise(batch_of(np.array([0.5, 1, broken, 0], np.float16)))


def test_maps_beyond_0_and_1_stay_at_the_ends():
    assert quantise(batch_of(np.array([-0.5, 1.5], np.float32))).flatten().tolist() == [0, 255]


@given(
    cams=hnp.arrays(np.float16, (3, *SIZE), elements=st.sampled_from([0, 0.1, 0.4, 0.5, 1])),
    saliency=hnp.arrays(np.uint8, SIZE, elements=st.sampled_from([0, 127, 128, 153, 154, 255])),
)
def test_argmax_agrees_with_its_definition(cams, saliency):
    scores = np.concatenate([(1 - saliency.astype(np.float32) / 255)[None], cams.astype(np.float32)])
    expected = np.array([0, 3, 6, 20])[scores.argmax(axis=0)]
    mask = find_rule("argmax").apply(cams[[2, 0, 1]], np.array([19, 2, 5]), saliency, {})
    assert np.array_equal(mask, expected)


def test_argmax_gives_ties_to_the_background():
    saliency = np.array([[153, 153, 255]], np.uint8)
    background = 1 - np.float32(153) / np.float32(255)
    cams = np.array([[[background, np.nextafter(background, np.float32(1)), 0]]])
    assert find_rule("argmax").apply(cams, [6], saliency, {}).tolist() == [[0, 7, 0]]
