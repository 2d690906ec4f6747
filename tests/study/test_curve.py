import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.evaluate.bootstrap import interval
from seedbed.study.curve import Draws, Tried
from seedbed.study.optima import miou
from seedbed.study.split import choose_split

NUM_IDS = 3


def random_matrices(seed, images=6, settings=4):
    """Return matrices [N,S,K,K+1] whose true pixels are the same for every setting; many cells are empty."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 9, (images, 1, NUM_IDS)) * rng.integers(0, 2, (images, 1, NUM_IDS))
    share = rng.random((images, settings, NUM_IDS, NUM_IDS + 1)) ** 4
    share /= share.sum(axis=-1, keepdims=True)
    rounded = np.floor(share * truth[..., None]).astype(np.int64)
    rounded[..., 0] += truth - rounded.sum(axis=-1)
    return rounded


def tried_of(matrices):
    tried = Tried([{"x": index} for index in range(matrices.shape[1])], NUM_IDS)
    for index, image in enumerate(matrices):
        tried.add(str(index), image)
    return tried


@given(st.integers(0, 10**6), st.sets(st.integers(0, 5), min_size=1, max_size=5))
def test_the_best_setting_for_some_images_is_scored_on_the_others(seed, chosen):
    matrices = random_matrices(seed)
    reached = miou(matrices[sorted(chosen)].sum(axis=0))
    best = 0 if np.isnan(reached).all() else int(np.nanargmax(reached))
    others = np.delete(matrices, sorted(chosen), axis=0)[:, best].sum(axis=0)
    found = tried_of(matrices).on_others([str(index) for index in chosen])
    assert found == pytest.approx(float(miou(others)), abs=1e-12, nan_ok=True)


def test_all_images_are_scored_as_published_or_by_the_best_setting():
    matrices = random_matrices(3)
    curve = Draws({}, 1, 200, 7).curve(tried_of(matrices))
    best = int(np.nanargmax(miou(matrices.sum(axis=0))))
    for point, setting in zip(curve, (0, best), strict=True):
        assert point["miou"] == pytest.approx(float(miou(matrices[:, setting].sum(axis=0))))
        assert (point["low"], point["high"]) == pytest.approx(interval(matrices[:, setting], 200, 7))
    assert [(point["tune_images"], point["oracle"]) for point in curve] == [(0, False), ("all", True)]


def test_draws_are_those_of_the_splits_with_following_seeds():
    labels = {str(index): np.eye(4)[index % 4] for index in range(9)}
    draws = Draws.of(list(labels), labels, [5, 2, 5, 9], 3, 100, 11)
    assert list(draws.sets) == [2, 5]  # nine leave no other image
    for size, sets in draws.sets.items():
        assert sets == [choose_split(list(labels), labels, size, seed).tune for seed in (11, 12, 13)]


def test_a_point_is_the_mean_over_draws_that_have_a_score():
    scores = iter([0.2, np.nan, 0.6])

    class Chooser:
        def on_others(self, names):
            return next(scores)

        def on_all(self, choose):
            return tried_of(random_matrices(0)).on_all(choose)

    point = Draws({2: ["ab", "bc", "ca"]}, 3, 100, 0).curve(Chooser())[1]
    assert point["each"] == [0.2, 0.6]
    assert point["miou"] == pytest.approx(0.4)
    assert (point["low"], point["high"]) == pytest.approx((0.21, 0.59))
    assert Draws({2: ["ab"]}, 0, 100, 0).curve(Chooser()) is None
