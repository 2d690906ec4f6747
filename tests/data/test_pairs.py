from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torch.utils.data import DataLoader

from seedbed.data.augment import SAMPLING, normalise
from seedbed.data.pairs import PairImages, Relations, views
from seedbed.errors import UserError
from seedbed.params import AugmentParams

SIDE = 48
PARAMS = AugmentParams(resize="square", low=SIDE, high=SIDE, crop=SIDE, flip=0, interpolation="bilinear")
PLAIN = PARAMS.model_copy(update={"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0})
PLACES = [(0, 0), (0, 3), (1, 3), (2, 9)]
LABELS = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
BILINEAR = SAMPLING["bilinear"]


def pairs(data, params=PARAMS, seed=0, labels=None):
    return PairImages(data.ids("train_aug"), data.image, params, seed, labels=labels or data.labels())


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@given(
    labels=arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 5)), elements=st.sampled_from([0, 1])),
    seed=st.integers(0, 999),
)
def test_partners_share_a_class(labels, seed):
    relations, rng = Relations(labels), np.random.default_rng(seed)
    for index in np.flatnonzero(labels.any(axis=1)):
        assert (labels[index] * labels[relations.partner(rng, index)]).any()
    for class_index in np.flatnonzero(labels.any(axis=0)):
        drawn = relations.related(rng, class_index, 4)
        assert len(drawn) == 4
        assert labels[drawn, class_index].all()


def test_class_first_then_image_both_uniform():
    rng, relations = np.random.default_rng(0), Relations(LABELS)
    share = Counter(relations.partner(rng, 0) for _ in range(6000))
    expected = {0: 1 / 6 + 1 / 4, 1: 1 / 6, 2: 1 / 6, 3: 1 / 4}
    assert {image: count / 6000 for image, count in share.items()} == pytest.approx(expected, abs=0.02)


def test_related_images_are_drawn_with_replacement():
    drawn = [Relations(LABELS).related(np.random.default_rng(seed), 1, 2) for seed in range(50)]
    assert {tuple(images) for images in drawn} == {(0, 0), (0, 3), (3, 0), (3, 3)}


def test_the_only_image_of_a_class_is_its_own_partner():
    assert Relations(LABELS).partner(np.random.default_rng(0), 4) == 4


def test_views_are_resized_from_the_image_itself():
    image = Image.fromarray(np.random.default_rng(0).integers(256, size=(40, 61, 3)).astype(np.uint8))
    squares = views(image, 33, BILINEAR)
    assert {name: square.shape[1:] for name, square in squares.items()} == {
        "base": (33, 33), "mirrored": (33, 33), "small": (24, 24), "large": (66, 66),
    }  # fmt: skip
    for name in ("base", "small", "large"):
        assert torch.equal(squares[name], normalise(image.resize(squares[name].shape[1:], BILINEAR)))
    assert torch.equal(squares["mirrored"].flip(-1), squares["base"])


def test_items_have_the_promised_shapes(data):
    images = pairs(data)
    assert len(images) == 10
    item = images[7, 4]
    assert {name: tuple(tensor.shape) for name, tensor in item.items()} == {
        "image": (3, 48, 48), "related": (3, 48, 48), "mirrored": (3, 48, 48), "small": (3, 36, 36),
        "large": (3, 96, 96), "label": (5,), "related_label": (5,), "epoch": (), "index": (),
    }  # fmt: skip
    assert (item["epoch"], item["index"]) == (7, 4)
    assert item["epoch"].dtype == torch.int64
    assert item["label"].tolist() == data.labels()[data.ids("train_aug")[4]].tolist()
    assert (item["label"] * item["related_label"]).any()


def test_colours_of_image_and_related_image_change_apart_and_those_of_copies_not(data):
    ids = data.ids("train_aug")
    labels = {image_id: np.eye(len(ids), dtype=np.float32)[n] for n, image_id in enumerate(ids)}  # each its own partner
    item, plain = pairs(data, labels=labels)[0, 2], pairs(data, PLAIN, labels=labels)[0, 2]
    copies = views(data.image(ids[2]), SIDE, BILINEAR)
    assert torch.equal(plain["image"], copies["base"])
    assert torch.equal(plain["related"], copies["base"])
    assert not torch.equal(item["image"], copies["base"])
    assert not torch.equal(item["related"], copies["base"])
    assert not torch.equal(item["image"], item["related"])
    for name in ("mirrored", "small", "large"):
        assert torch.equal(item[name], copies[name])


def test_the_label_is_that_of_the_related_image(data):
    images, ids, labels = pairs(data, PLAIN), data.ids("train_aug"), data.labels()
    for index in range(4):
        item = images[0, index]
        shown = [n for n in ids if torch.equal(views(data.image(n), SIDE, BILINEAR)["base"], item["related"])]
        assert [labels[image_id].tolist() for image_id in shown] == [item["related_label"].tolist()]


def test_items_depend_on_seed_epoch_and_index_alone(data):
    first, second = pairs(data), pairs(data)
    expected = [first[place] for place in PLACES]
    for place, item in zip(reversed(PLACES), reversed(expected), strict=True):
        assert_same(second[place], item)
    assert not torch.equal(expected[1]["image"], expected[2]["image"])
    assert not torch.equal(expected[0]["image"], pairs(data, seed=1)[0, 0]["image"])


def test_partners_change_from_epoch_to_epoch(data):
    images = pairs(data, PLAIN)
    assert len({images[epoch, 0]["related"].numpy().tobytes() for epoch in range(12)}) > 1


def test_loader_workers_change_nothing(data):
    alone, helped = (
        list(DataLoader(pairs(data), batch_size=2, sampler=PLACES, num_workers=workers)) for workers in (0, 1)
    )
    for first, second in zip(alone, helped, strict=True):
        assert_same(first, second)


def test_an_image_without_class_is_named(data):
    labels = dict(data.labels())
    for image_id in ("train_0003", "train_0007"):
        labels[image_id] = np.zeros(5, np.float32)
    with pytest.raises(UserError, match=r"2 images show no class, the first is 'train_0003'") as caught:
        pairs(data, labels=labels)
    assert "data.train" in caught.value.fix
    del labels["train_0003"]
    with pytest.raises(UserError, match=r"1 images have no image label, the first is 'train_0003'"):
        pairs(data, labels=labels)


@pytest.mark.parametrize(
    ("change", "given", "mend"),
    [
        ({"flip": 0.5}, "augment says flip: 0.5", "set flip: 0 in"),
        ({"low": 40}, "augment says low: 40", "set low: 48 in"),
        ({"high": 64}, "augment says high: 64", "set high: 48 in"),
        ({"crop": 32}, "augment says low: 48, high: 48", "set low: 32, high: 32 in"),
        ({"resize": "long-side"}, "augment says resize: long-side", "set resize: square in"),
    ],
)
def test_augmentation_that_pairs_do_not_take_is_named(data, change, given, mend):
    with pytest.raises(UserError) as caught:
        pairs(data, PARAMS.model_copy(update=change))
    assert caught.value.message.endswith(given)
    assert mend in caught.value.fix
