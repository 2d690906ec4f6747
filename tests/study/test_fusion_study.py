import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import UserError
from seedbed.study.fusion_study import miou, optimum, study_rule
from seedbed.study.tables import Grid, ImageMaps, Tables
from seedbed.study.trials import Runner

GRID = Grid((0.0, 0.2, 0.4, 0.6), (0.25, 0.5, 0.75))


def random_totals(seed, ids=(0, 0, 1, 2, 3, 255)):
    rng = np.random.default_rng(seed)
    size = (6, 7)
    images = [
        ImageMaps(
            str(index),
            rng.random((2, *size)).astype(np.float16),
            rng.choice(3, 2, replace=False),
            rng.choice(ids, size).astype(np.uint8),
            rng.integers(0, 256, size).astype(np.uint8),
        )
        for index in range(3)
    ]
    return Tables.build(images, 4, GRID).totals()


def every_setting():
    for cams in itertools.combinations_with_replacement(GRID.cam, 2):
        for greys in itertools.combinations_with_replacement(GRID.saliency, 2):
            yield dict(zip(("cam_low", "cam_high", "saliency_low", "saliency_high"), (*cams, *greys), strict=True))


@given(st.integers(0, 10**6), st.sampled_from([(0, 1, 255), (0, 0, 1, 2, 3), (1, 2), (2,)]))
@settings(max_examples=25)
def test_the_optimum_is_that_of_an_exhaustive_search_over_all_bands(seed, ids):
    totals = random_totals(seed, ids)
    reached = miou(totals.confusion_at("saliency-gate", optimum("saliency-gate", totals)))
    highest = max(miou(totals.confusion_at("saliency-gate", values)) for values in every_setting())
    assert reached == pytest.approx(highest, abs=1e-12)


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_the_optimum_of_a_single_threshold_is_the_best_of_the_curve(seed):
    totals = random_totals(seed)
    best = optimum("threshold", totals)["threshold"]
    assert GRID.cam.index(best) == int(np.argmax(miou(totals.sweep("threshold"))))


def test_images_without_any_true_pixel_choose_nothing():
    with pytest.raises(UserError, match="no pixel of the images has a true id"):
        optimum("threshold", random_totals(0, ids=(255,)))


def test_a_study_starts_as_published_and_chooses_its_best_trial(tmp_path):
    totals = random_totals(1)
    study = study_rule("saliency-gate", totals, random_totals(2), Runner(tmp_path / "a.journal", 0), 12)
    assert len(study.trials) == 12
    assert study.trials[0].values == study.points["published"]
    scored = [float(miou(totals.confusion_at("saliency-gate", trial.values))) for trial in study.trials]
    assert [trial.miou for trial in study.trials] == scored
    assert study.points["chosen"] == study.trials[int(np.argmax(scored))].values
    assert study.points["grid"] == optimum("saliency-gate", totals)
    assert study.points["oracle"] == optimum("saliency-gate", random_totals(2))


def test_a_study_of_such_images_ends_before_the_trials(tmp_path):
    nothing = random_totals(0, ids=(255,))
    with pytest.raises(UserError, match="no pixel of the images has a true id"):
        study_rule("threshold", nothing, random_totals(1), Runner(tmp_path / "journal", 0), 3)
    assert not (tmp_path / "journal").exists()
