import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seedbed.data.augment import (
    MEAN,
    STD,
    Draw,
    apply,
    augment,
    draw,
    long_side_size,
    normalise,
    resize_long,
    scaled_size,
)
from seedbed.params import AugmentParams

PLAIN = AugmentParams(low=64, high=96, crop=48, brightness=0, contrast=0, saturation=0, hue=0)


def picture(width=60, height=40):
    return Image.fromarray(np.random.default_rng(0).integers(256, size=(height, width, 3)).astype(np.uint8))


def grey(width=60, height=40):
    return Image.fromarray(np.random.default_rng(1).integers(2, size=(height, width)).astype(np.uint8) * 7)


def test_normalise_is_that_of_imagenet():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0] = 255
    expected = (torch.tensor([[1.0] * 3, [0.0] * 3]) - torch.tensor(MEAN)) / torch.tensor(STD)
    tensor = normalise(image)
    assert tensor.shape == (3, 2, 3)
    torch.testing.assert_close(tensor[:, 0, 0], expected[0])
    torch.testing.assert_close(tensor[:, 1, 2], expected[1])


@given(width=st.integers(1, 700), height=st.integers(1, 700), side=st.integers(1, 600))
def test_long_side_is_exact_and_no_side_vanishes(width, height, side):
    size = long_side_size((width, height), side)
    assert max(size) == side
    assert min(size) >= 1
    assert (size[0] >= size[1]) == (width >= height) or size[0] == size[1]


def test_resizing():
    assert resize_long(picture(), 30).size == (30, 20)
    assert scaled_size((45, 37), 0.5) == (22, 18)  # halves go to the even neighbour
    assert scaled_size((1, 1), 0.1) == (1, 1)


@settings(deadline=None, max_examples=40)
@given(
    size=st.tuples(st.integers(8, 90), st.integers(8, 90)),
    crop=st.integers(8, 90),
    seed=st.integers(0, 99),
    rule=st.sampled_from([("long-side", 16, 96), ("factor", 0.5, 1.5)]),
)
def test_canvas_shows_exactly_where_the_image_is_not(size, crop, seed, rule):
    params = AugmentParams(resize=rule[0], low=rule[1], high=rule[2], crop=crop)
    choice = draw(size, params, np.random.default_rng(seed))
    white = Image.new("L", size, 9)
    image, maps = apply(choice, Image.new("RGB", size, (255, 0, 0)), {"mask": white}, {"mask": 255}, {"mask"})
    outside = maps["mask"] == 255
    assert outside.sum() == crop**2 - min(choice.size[0], crop) * min(choice.size[1], crop)
    assert (maps["mask"][~outside] == 9).all()
    assert (image[:, outside] == 0).all()
    assert (image[:, ~outside] != 0).all()


@settings(deadline=None)
@given(seed=st.integers(0, 200))
def test_draws_stay_in_range(seed):
    params = AugmentParams(low=30, high=33, crop=24)
    choice = draw((60, 40), params, np.random.default_rng(seed))
    assert 30 <= choice.size[0] <= 33
    assert 0 <= choice.left <= choice.size[0] - 24
    assert 0 <= choice.top <= abs(choice.size[1] - 24)
    assert sorted(name for name, _ in choice.jitter) == ["brightness", "contrast", "hue", "saturation"]
    for name, amount in choice.jitter:
        low, high = (-0.1, 0.1) if name == "hue" else (0.7, 1.3)
        assert low <= amount <= high


def test_every_long_side_and_order_of_jitter_occurs():
    params = AugmentParams(low=30, high=32, crop=24)
    choices = [draw((60, 40), params, np.random.default_rng(seed)) for seed in range(300)]
    assert {choice.size[0] for choice in choices} == {30, 31, 32}
    assert {choice.flip for choice in choices} == {False, True}
    assert len({tuple(name for name, _ in choice.jitter) for choice in choices}) == 24


def test_without_jitter_nothing_is_drawn_for_it():
    assert draw((60, 40), PLAIN, np.random.default_rng(0)).jitter == ()


def test_flip_mirrors_image_and_maps_alike():
    plain = Draw((48, 48), False, (), 0, 0, 48)
    flipped = Draw((48, 48), True, (), 0, 0, 48)
    arguments = (
        picture(48, 48),
        {"saliency": grey(48, 48), "mask": grey(48, 48)},
        {"saliency": 0, "mask": 255},
        {"mask"},
    )
    image, maps = apply(plain, *arguments)
    mirrored, mirrored_maps = apply(flipped, *arguments)
    torch.testing.assert_close(mirrored.flip(-1), image)
    for name in maps:
        torch.testing.assert_close(mirrored_maps[name].flip(-1), maps[name])


def test_jitter_changes_the_image_only():
    jitter = (("hue", 0.1), ("brightness", 1.2), ("saturation", 0.8), ("contrast", 0.9))
    results = [
        apply(Draw((60, 40), False, order, 0, 0, 32), picture(), {"saliency": grey()}, {"saliency": 0})
        for order in ((), jitter)
    ]
    assert not torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1]["saliency"], results[1][1]["saliency"])


def test_nearest_maps_keep_their_values_and_others_are_levels():
    image, maps = augment(
        picture(),
        {"mask": grey(), "saliency": grey()},
        PLAIN,
        np.random.default_rng(3),
        {"mask": 255, "saliency": 0},
        {"mask"},
    )
    assert image.shape == (3, 48, 48)
    assert image.dtype == torch.float32
    assert maps["mask"].dtype == torch.int64
    assert set(maps["mask"].unique().tolist()) <= {0, 7, 255}
    assert maps["saliency"].shape == (1, 48, 48)
    assert 0 <= maps["saliency"].min() <= maps["saliency"].max() <= 1


def test_the_same_generator_gives_the_same_result():
    first, second = (augment(picture(), {}, PLAIN, np.random.default_rng(5), {})[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, augment(picture(), {}, PLAIN, np.random.default_rng(6), {})[0])


@pytest.mark.parametrize("resize", ["long-side", "factor"])
def test_equal_ends_leave_nothing_to_chance(resize):
    end = 18 if resize == "long-side" else 2
    params = AugmentParams(resize=resize, low=end, high=end, crop=8)
    expected = (18, 12) if resize == "long-side" else (120, 80)
    assert draw((60, 40), params, np.random.default_rng(0)).size == expected


def test_square_gives_up_the_aspect_ratio():
    params = AugmentParams(resize="square", low=20, high=24, crop=16)
    sizes = {draw((60, 40), params, np.random.default_rng(seed)).size for seed in range(100)}
    assert sizes == {(side, side) for side in range(20, 25)}


@pytest.mark.parametrize(
    ("resize", "low", "high", "step", "sizes"),
    [
        ("square", 16, 40, 8, {(16, 16), (24, 24), (32, 32), (40, 40)}),
        ("long-side", 20, 29, 4, {(20, 10), (24, 12), (28, 14)}),
        ("factor", 0.8, 1.2, 0.1, {(80, 40), (90, 45), (100, 50), (110, 55), (120, 60)}),
        ("factor", 0.7, 1.3, 0.1, {(70, 35), (80, 40), (90, 45), (100, 50), (110, 55), (120, 60), (130, 65)}),
    ],
)
def test_steps_reach_both_ends_and_nothing_between(resize, low, high, step, sizes):
    params = AugmentParams(resize=resize, low=low, high=high, step=step, crop=8, rounding="down")
    assert {draw((100, 50), params, np.random.default_rng(seed)).size for seed in range(200)} == sizes


@pytest.mark.parametrize(("rounding", "size"), [("nearest", (7, 4)), ("down", (6, 3))])
def test_rounding_of_factors(rounding, size):
    params = AugmentParams(resize="factor", low=0.75, high=0.75, crop=8, rounding=rounding)
    assert draw((9, 5), params, np.random.default_rng(0)).size == size


def test_interpolation_is_that_of_image_and_levels_but_not_of_ids():
    params = AugmentParams(resize="square", low=32, high=32, crop=32, flip=0, interpolation="bilinear", brightness=0,
                           contrast=0, saturation=0, hue=0)  # fmt: skip
    maps = {"saliency": grey(), "mask": grey()}
    image, moved = augment(picture(), maps, params, np.random.default_rng(0), {"saliency": 0, "mask": 255}, {"mask"})
    size, bilinear = (32, 32), Image.Resampling.BILINEAR
    assert torch.equal(image, normalise(picture().resize(size, bilinear)))
    assert torch.equal(moved["saliency"][0] * 255, torch.from_numpy(np.array(grey().resize(size, bilinear))).float())
    assert torch.equal(moved["mask"], torch.from_numpy(np.array(grey().resize(size, Image.Resampling.NEAREST))).long())


def test_corner_holds_a_small_image_and_leaves_large_ones_to_chance():
    params = AugmentParams(resize="factor", low=1, high=1, crop=48, place="corner")
    choices = [draw((60, 40), params, np.random.default_rng(seed)) for seed in range(100)]
    assert {choice.top for choice in choices} == {0}
    assert {choice.left for choice in choices} == set(range(13))


def test_default_draws_stay_what_they_were():
    """The numbers of the generator that every recorded training has used, in their order."""
    rng, replay = (np.random.default_rng(11) for _ in range(2))
    params = AugmentParams(low=30, high=40, crop=24)
    choice = draw((60, 40), params, rng)
    side = int(replay.integers(30, 40, endpoint=True))
    flip = bool(replay.random() < params.flip)
    amounts = {name: replay.uniform(0.7, 1.3) for name in ("brightness", "contrast", "saturation")}
    amounts["hue"] = replay.uniform(-0.1, 0.1)
    order = [list(amounts)[place] for place in replay.permutation(4)]
    size = long_side_size((60, 40), side)
    left, top = (int(replay.integers(abs(length - 24), endpoint=True)) for length in size)
    assert choice == Draw(size, flip, tuple((name, amounts[name]) for name in order), left, top, 24)
    assert rng.bit_generator.state == replay.bit_generator.state
