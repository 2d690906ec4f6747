import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seedbed.errors import UserError
from seedbed.seeds.batch import ClassMaps, MapBatch
from seedbed.seeds.fusion import RULES, find_gate_rule, find_rule, fuse, published_values, resolve_values


def test_published_values_are_valid_and_fill_in():
    for rule in RULES:
        assert resolve_values(rule, {}) == published_values(rule)
    assert resolve_values("saliency-gate", {"cam_high": 0.3})["saliency_high"] == 0.5


def test_gate_rules_are_the_ones_that_can_be_swept():
    assert [name for name, rule in RULES.items() if rule.swept] == ["threshold", "alpha", "saliency-gate"]
    assert find_gate_rule("threshold") is find_rule("threshold")
    with pytest.raises(TypeError, match="mcis is not made of gates"):
        find_gate_rule("mcis")


def test_rules_say_whether_they_need_saliency():
    assert [name for name, rule in RULES.items() if rule.needs_saliency] == ["saliency-gate", "mcis", "oaa", "argmax"]


def test_an_unknown_rule_is_named_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'threshold'"):
        find_rule("treshold")


SCORES = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.99, 1]


@st.composite
def images(draw):
    """Images of different sizes and numbers of classes, with ties, and settings met exactly."""
    several = []
    for name in draw(st.lists(st.sampled_from(["cat", "dog", "sky"]), min_size=1, max_size=3)):
        size = draw(st.integers(1, 12)), draw(st.integers(1, 12))
        classes = draw(st.lists(st.integers(0, 19), unique=True, max_size=3))
        elements = {"elements": st.sampled_from(SCORES), "fill": st.just(0.1)}
        cams = draw(hnp.arrays(draw(st.sampled_from([np.float16, np.float32])), (len(classes), *size), **elements))
        grey = draw(hnp.arrays(np.uint8, size, elements=st.sampled_from([0, 31, 32, 102, 127, 128, 153, 255])))
        several.append(ClassMaps(name, cams, np.array(classes, np.int64), grey))
    return several


SETTINGS = [(rule, {}) for rule in RULES] + [
    ("threshold", {"threshold": 1.0}),
    ("saliency-gate", {"cam_low": 0.1, "cam_high": 0.5, "saliency_low": 0.1, "saliency_high": 0.6}),
    ("saliency-gate", {"saliency_low": 0.0, "saliency_high": 1.0}),
    ("mcis", {"foreground": 0.0, "salient": 31.5, "conflict": 0.5}),
    ("oaa", {"foreground": 0.9, "conflict": 0.2, "peak": 0.0, "salient": 0}),
]


@pytest.mark.parametrize(("rule", "values"), SETTINGS)
@given(several=images())
@settings(max_examples=60)
def test_a_batch_gets_the_labels_that_its_images_get_alone(rule, values, several):
    entry = find_rule(rule)
    labels = entry.label(MapBatch.of(several), values).numpy()
    for image, label in zip(several, labels, strict=True):
        height, width = image.saliency.shape
        alone = entry.apply(image.cams, image.classes, image.saliency, values)
        assert alone.dtype == label.dtype == np.uint8
        assert np.array_equal(label[:height, :width], alone)
        assert (label[height:] == 255).all()
        assert (label[:, width:] == 255).all()


@pytest.mark.parametrize(("rule", "values"), SETTINGS)
@given(several=images(), batch=st.integers(0, 3))
@settings(max_examples=20)
def test_fusing_gives_every_image_its_own_label_in_order(rule, values, several, batch):
    fused = list(fuse(find_rule(rule), values, iter(several), batch=batch))
    assert [name for name, _ in fused] == [image.name for image in several]
    for image, (_, label) in zip(several, fused, strict=True):
        assert np.array_equal(label, find_rule(rule).apply(image.cams, image.classes, image.saliency, values))


@pytest.mark.parametrize("rule", RULES)
def test_compact_maps_give_the_same_labels(rule):
    rng, entry = np.random.default_rng(0), find_rule(rule)
    cams, saliency = rng.random((2, 5, 6), np.float32), rng.integers(0, 256, (5, 6)).astype(np.uint8)
    for maps in (cams, cams.astype(np.float16)):
        expected = entry.apply(maps, np.array([7, 3]), saliency, {})
        assert np.array_equal(entry.apply(entry.compact(maps), np.array([7, 3]), saliency, {}), expected)


def test_the_order_of_classes_does_not_matter():
    rng = np.random.default_rng(1)
    cams, saliency = rng.integers(0, 4, (3, 6, 7)) / np.float32(3), rng.integers(0, 256, (6, 7)).astype(np.uint8)
    classes, order = np.array([2, 9, 14]), [1, 2, 0]
    for rule in RULES.values():
        expected = rule.apply(cams, classes, saliency, {})
        assert np.array_equal(rule.apply(cams[order], classes[order], saliency, {}), expected)


@pytest.mark.parametrize("rule", RULES)
def test_fusing_names_the_image_with_broken_maps(rule):
    grey = np.zeros((1, 2), np.uint8)
    maps = {"cat": [[[0.1, 0.2]]], "dog": [[[0.1, np.nan]]]}
    stream = [ClassMaps(name, np.array(cams, np.float32), np.array([3]), grey) for name, cams in maps.items()]
    with pytest.raises(UserError, match=r"^dog: the class maps hold NaN"):
        list(fuse(find_rule(rule), {}, stream, batch=2))


@pytest.mark.parametrize("rule", ["saliency-gate", "mcis", "oaa", "argmax"])
def test_fusing_names_the_image_without_saliency(rule):
    images = [ClassMaps(name, np.zeros((1, 1, 2), np.float32), np.array([3])) for name in ("cat", "dog")]
    with pytest.raises(UserError, match=f"^cat: rule {rule} needs a saliency map"):
        list(fuse(find_rule(rule), {}, images, batch=2))


def test_a_saliency_map_that_the_rule_does_not_read_may_be_anything():
    image = ClassMaps("cat", np.full((1, 1, 2), 0.5, np.float32), np.array([3]), np.zeros((7, 7), np.uint8))
    assert dict(fuse(find_rule("threshold"), {}, [image]))["cat"].tolist() == [[4, 4]]
