import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study.random_maps import random_images

from seedbed.errors import UserError
from seedbed.evaluate.confusion import confusion
from seedbed.evaluate.scores import scores
from seedbed.seeds.fusion import find_rule
from seedbed.study import optima
from seedbed.study.grid import Grid
from seedbed.study.optima import band, class_optima, miou, optimum, optimum_interval, surfaces
from seedbed.study.tables import ImageMaps, Tables

NUM_IDS = 4
CAMS, GREYS, ALPHAS = (0.0, 0.2, 0.4, 0.6), (0.25, 0.5, 0.75), (1.0, 2.0, 8.0, 16.0)
GRID = Grid(
    {"threshold": {"cam": CAMS}, "alpha": {"cam": ALPHAS}, "saliency-gate": {"cam": CAMS, "saliency": GREYS}},
)
NAMES = ("cam_low", "cam_high", "saliency_low", "saliency_high")
RULES = ("threshold", "alpha", "saliency-gate")
TRUTHS = st.sampled_from([(0, 1, 255), (0, 0, 1, 2, 3), (1, 2), (2,), (0,)])


def tables_of(seed, ids=(0, 0, 1, 2, 3, 255), count=3):
    return Tables.build(random_images(seed, ids, count), NUM_IDS, GRID)


def every_setting(rule):
    if rule == "saliency-gate":
        for cams in itertools.combinations_with_replacement(CAMS, 2):
            for greys in itertools.combinations_with_replacement(GREYS, 2):
                yield dict(zip(NAMES, (*cams, *greys), strict=True))
    else:
        yield from ({rule: value} for value in GRID.axes[rule]["cam"])


def band_free(rule):
    if rule == "saliency-gate":
        return [dict(zip(NAMES, (cam, cam, grey, grey), strict=True)) for cam in CAMS for grey in GREYS]
    return list(every_setting(rule))


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 10**6), ids=TRUTHS)
@settings(max_examples=20)
def test_the_optimum_is_that_of_an_exhaustive_search_over_all_bands(rule, seed, ids):
    totals = tables_of(seed, ids).totals()
    reached = miou(totals.confusion_at(rule, optimum(rule, totals)))
    assert reached == pytest.approx(max(miou(totals.confusion_at(rule, values)) for values in every_setting(rule)))


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_the_optimum_of_a_single_threshold_is_the_best_of_the_curve(seed):
    totals = tables_of(seed).totals()
    assert CAMS.index(optimum("threshold", totals)["threshold"]) == int(np.argmax(miou(totals.sweep("threshold"))))


def test_an_open_band_is_the_optimum_where_it_is_better():
    # Scores between the thresholds are right about neither: both background and class gain by leaving them open.
    cams = np.array([[[0.1] * 8 + [0.3] * 8 + [0.5] * 8]], np.float32)
    truth = np.array([[0] * 8 + [0, 1, 2, 3] * 2 + [1] * 8], np.uint8)
    grey = np.full(truth.shape, 255, np.uint8)
    totals = Tables.build([ImageMaps("a", cams, np.array([0]), truth, grey)], NUM_IDS, GRID).totals()
    found = optimum("saliency-gate", totals)
    assert (found["cam_low"], found["cam_high"]) == (0.2, 0.4)


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 10**6), ids=TRUTHS)
@settings(max_examples=15)
def test_class_optima_are_the_best_of_an_exhaustive_search(rule, seed, ids):
    totals = tables_of(seed, ids).totals()
    iou = np.stack([scores(totals.confusion_at(rule, values)).iou for values in every_setting(rule)])
    for index, found in enumerate(class_optima(rule, totals)):
        if index + 1 not in ids:
            assert found is None
            continue
        assert found.iou == iou[:, index + 1].max()
        assert scores(totals.confusion_at(rule, found.values)).iou[index + 1] == found.iou


@pytest.mark.parametrize("rule", RULES)
def test_surfaces_are_the_scores_of_the_masks(rule):
    images = random_images(11, ids=(0, 1, 2, 255))
    found = surfaces(rule, Tables.build(images, NUM_IDS, GRID).totals())
    assert found.miou.shape == ((4, 3) if rule == "saliency-gate" else (4,))
    for place, values in enumerate(band_free(rule)):
        matrix = sum(
            confusion(one.truth, find_rule(rule).apply(one.cams, one.classes, one.saliency, values), NUM_IDS)
            for one in images
        )
        expected = scores(matrix)
        assert found.miou.flat[place] == expected.miou
        assert found.precision.flat[place] == pytest.approx(np.nanmean(expected.precision[1:]))
        assert found.recall.flat[place] == pytest.approx(np.nanmean(expected.recall[1:]))  # class 2 is in no truth
        assert found.coverage.flat[place] == 1


def test_the_surface_of_a_band_holds_every_pair_of_saliency_thresholds():
    totals = tables_of(5).totals()
    chosen = {"cam_low": 0.2, "cam_high": 0.4, "saliency_low": 0.5, "saliency_high": 0.5}
    found = band("saliency-gate", totals, chosen)
    assert (found.low, found.high, found.values) == ("saliency_low", "saliency_high", GREYS)
    for (row, low), (column, high) in itertools.product(enumerate(GREYS), enumerate(GREYS)):
        if low > high:
            assert all(np.isnan(surface[row, column]) for surface in found.surfaces)
            continue
        expected = scores(totals.confusion_at("saliency-gate", chosen | {"saliency_low": low, "saliency_high": high}))
        assert found.surfaces.miou[row, column] == expected.miou
        assert found.surfaces.coverage[row, column] == expected.coverage < 1
        assert found.surfaces.precision[row, column] == pytest.approx(np.nanmean(expected.precision[1:]))
    assert band("threshold", totals, {"threshold": 0.2}) is None


def test_a_setting_that_leaves_every_pixel_open_scores_nothing():
    cams, full = np.full((1, 3, 3), 0.5, np.float32), np.full((3, 3), 255, np.uint8)
    totals = Tables.build([ImageMaps("a", cams, np.array([0]), np.eye(3, dtype=np.uint8), full)], NUM_IDS, GRID)
    open_wide = {"cam_low": 0.0, "cam_high": 0.6, "saliency_low": 0.25, "saliency_high": 0.25}
    assert miou(totals.totals().confusion_at("saliency-gate", open_wide)) == 0
    found = band("saliency-gate", totals.totals(), open_wide)
    assert found.surfaces.miou[0, 0] == 0
    assert found.surfaces.coverage[0, 0] == 0
    assert np.isnan(found.surfaces.precision[0, 0])


def slow_interval(rule, seed, samples, ids=(0, 0, 1, 2, 3, 255), count=6):
    """Draw as `optimum_interval` does; rebuild the table of every draw and search its optimum."""
    images, rng = random_images(seed, ids, count), np.random.default_rng(9)
    found = []
    for _ in range(samples):
        drawn = [images[index]._replace(name=str(place)) for place, index in enumerate(rng.integers(count, size=count))]
        totals = Tables.build(drawn, NUM_IDS, GRID).totals()
        values = optimum(rule, totals)
        found.append((values, miou(totals.confusion_at(rule, values))))
    return found


@pytest.mark.parametrize("rule", RULES)
def test_the_interval_is_that_of_the_optima_of_rebuilt_tables(rule):
    found = optimum_interval(tables_of(7, count=6), rule, 40, 9)
    slow = slow_interval(rule, 7, 40)
    assert found.miou == pytest.approx(np.percentile([reached for _, reached in slow], [2.5, 97.5]))
    assert found.samples == 40
    assert set(found.values) == {parameter.name for parameter in find_rule(rule).parameters}
    for name, ends in found.values.items():
        chosen = sorted(values[name] for values, _ in slow)
        assert ends == (chosen[0], chosen[-1])  # of 40 draws, 2.5 % is less than one


def test_the_interval_does_not_depend_on_how_many_draws_are_held_at_once(monkeypatch):
    tables = tables_of(8, count=9)
    whole = optimum_interval(tables, "saliency-gate", 25, 1)
    monkeypatch.setattr(optima, "_SUMS_AT_ONCE", 1)
    assert optimum_interval(tables, "saliency-gate", 25, 1) == whole
    assert optimum_interval(tables, "saliency-gate", 25, 2) != whole


def test_draws_without_any_true_pixel_have_no_optimum():
    images = [*random_images(1, (255,), 2), *random_images(2, count=1)]
    named = [image._replace(name=str(index)) for index, image in enumerate(images)]
    tables = Tables.build(named, NUM_IDS, GRID)
    found = optimum_interval(tables, "threshold", 30, 0)
    best = optimum("threshold", tables.totals())
    assert found.values == {"threshold": (best["threshold"],) * 2}
    assert found.miou == pytest.approx((float(miou(tables.totals().confusion_at("threshold", best))),) * 2)


def test_images_without_any_true_pixel_choose_nothing():
    nothing = tables_of(0, ids=(255,))
    with pytest.raises(UserError, match="no pixel of the images has a true id"):
        optimum("threshold", nothing.totals())
    with pytest.raises(UserError, match="no pixel of the images has a true id"):
        optimum_interval(nothing, "saliency-gate", 5, 0)
    assert class_optima("alpha", nothing.totals()) == [None] * 3
    with pytest.raises(UserError, match="no image"):
        optimum_interval(nothing.select([]), "threshold", 5, 0)
