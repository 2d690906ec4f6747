import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import UserError
from seedbed.evaluate import bootstrap
from seedbed.evaluate.bootstrap import interval, paired
from seedbed.evaluate.confusion import Confusions
from seedbed.evaluate.scores import VARIANTS, areas, scores

SEEDS = st.integers(0, 1000)


def random_images(seed, num_images=30, num_ids=4, skill=0.7):
    """Confusion matrices of images with a skilled prediction; the truth depends on the seed alone, not on the skill."""
    truth = np.random.default_rng(seed).integers(0, 200, (num_images, num_ids))
    rng = np.random.default_rng([seed, int(skill * 100)])
    chances = np.full((num_ids, num_ids + 1), (1 - skill) / num_ids)
    np.fill_diagonal(chances, skill)
    return np.stack(
        [[rng.multinomial(count, row) for count, row in zip(image, chances, strict=True)] for image in truth]
    )


@given(SEEDS)
@settings(max_examples=20)
def test_a_method_against_itself_differs_by_exactly_zero(seed):
    images = random_images(seed)
    assert paired(images, images, samples=100, seed=seed) == (0, 0, 0)


@given(SEEDS)
@settings(max_examples=10)
def test_swapping_the_methods_turns_the_sign(seed):
    better, worse = random_images(seed, skill=0.8), random_images(seed, skill=0.6)
    forth, back = paired(better, worse, 100, seed), paired(worse, better, 100, seed)
    assert back == pytest.approx((-forth.difference, -forth.high, -forth.low))


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_a_slow_bootstrap_that_adds_up_the_drawn_images(variant):
    first, second = random_images(1, skill=0.7), random_images(1, skill=0.5)
    rng = np.random.default_rng(5)
    kind = VARIANTS[variant]
    mious = []
    for _ in range(200):
        drawn = rng.integers(30, size=30)
        mious.append([scores(method[drawn].sum(0), kind.ignore, kind.absent).miou for method in (first, second)])
    of_first, of_second = np.transpose(mious)
    assert interval(first, 200, 5, variant) == pytest.approx(np.percentile(of_first, [2.5, 97.5]))
    expected = np.percentile(of_first - of_second, [2.5, 97.5])
    difference = paired(first, second, 200, 5, variant)
    assert difference[1:] == pytest.approx(expected)
    whole = [scores(method.sum(0), kind.ignore, kind.absent).miou for method in (first, second)]
    assert difference.difference == pytest.approx(whole[0] - whole[1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_matrices_may_be_given_by_their_cells_or_areas(variant):
    first, second = random_images(1, skill=0.7), random_images(1, skill=0.5)
    sparse = [Confusions.of(method, 4) for method in (first, second)]
    dense = interval(first, 100, 5, variant)
    assert interval(sparse[0], 100, 5, variant) == dense
    assert bootstrap.interval_of(areas(first, VARIANTS[variant].ignore), 100, 5, variant) == dense
    assert paired(*sparse, 100, 5, variant) == paired(first, second, 100, 5, variant)


def test_draws_are_the_same_however_many_come_at_once():
    whole = np.concatenate(list(bootstrap.draws(9, 20, 4)))
    assert np.array_equal(np.concatenate(list(bootstrap.draws(9, 20, 4, at_once=3))), whole)
    assert (whole.sum(axis=1) == 9).all()


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    images = random_images(2)
    assert interval(images, 300, seed=1) == interval(images, 300, seed=1)
    assert interval(images, 300, seed=1) != interval(images, 300, seed=2)


def test_the_interval_does_not_depend_on_how_many_draws_are_held_at_once(monkeypatch):
    images = random_images(3)
    whole = interval(images, 101, seed=0)
    monkeypatch.setattr(bootstrap, "_WEIGHTS_AT_ONCE", 7 * len(images))
    assert interval(images, 101, seed=0) == whole


def test_the_interval_holds_the_miou_and_narrows_with_more_images():
    few, many = random_images(4, num_images=20), random_images(4, num_images=500)
    for images in (few, many):
        low, high = interval(images, 500, seed=0)
        assert low < scores(images.sum(0)).miou < high
    assert np.ptp(interval(many, 500, 0)) < np.ptp(interval(few, 500, 0)) / 2


def test_a_better_method_is_told_from_a_worse_one_and_pairing_narrows_the_interval():
    better, worse = random_images(6, skill=0.75), random_images(6, skill=0.7)
    difference = paired(better, worse, 500, seed=0)
    assert 0 < difference.low < difference.difference < difference.high
    unpaired = np.hypot(np.ptp(interval(better, 500, 0)), np.ptp(interval(worse, 500, 1)))
    assert difference.high - difference.low < unpaired


def test_one_image_has_an_interval_of_no_width():
    images = random_images(7, num_images=1)
    assert interval(images, 100, 0) == pytest.approx([scores(images[0]).miou] * 2)


def test_draws_without_any_true_pixel_are_left_out():
    images = np.concatenate([np.zeros((1, 4, 5), int), random_images(8, num_images=1)])
    assert interval(images, 100, 0) == pytest.approx([scores(images[1]).miou] * 2)
    assert all(math.isnan(end) for end in interval(images[:1], 100, 0))


def test_methods_scored_on_other_images_are_not_compared():
    images = random_images(9)
    for other in (images[1:], images[::-1], random_images(10)):
        with pytest.raises(UserError, match="same images"):
            paired(images, other, 100, 0)


def test_no_image_is_an_error():
    with pytest.raises(UserError, match="no image"):
        interval(np.zeros((0, 4, 5), int), 100, 0)
