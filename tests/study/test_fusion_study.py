import numpy as np
import pytest
from optuna.distributions import IntDistribution
from study.random_maps import random_images

from seedbed.errors import UserError
from seedbed.seeds.fusion import find_rule
from seedbed.study.fusion_study import places_of, search, space_of, study_rule, values_at
from seedbed.study.grid import Grid
from seedbed.study.optima import miou, optimum
from seedbed.study.tables import Tables
from seedbed.study.trials import Runner

GRID = Grid.of(["threshold", "alpha", "saliency-gate"], 5, 4)
RULES = ("threshold", "alpha", "saliency-gate")


def random_totals(seed, ids=(0, 0, 1, 2, 3, 255)):
    return Tables.build(random_images(seed, ids), 4, GRID).totals()


@pytest.mark.parametrize("rule", RULES)
def test_a_study_starts_as_published_and_chooses_its_best_trial(tmp_path, rule):
    totals = random_totals(1)
    study = study_rule(rule, totals, random_totals(2), Runner(tmp_path / "a.journal", 0), 12)
    assert len(study.trials) == 12
    assert study.trials[0].values == study.points["published"]
    scored = [float(miou(totals.confusion_at(rule, trial.values))) for trial in study.trials]
    assert [trial.miou for trial in study.trials] == scored
    assert study.points["chosen"] == study.trials[int(np.argmax(scored))].values
    assert study.points["grid"] == optimum(rule, totals)
    assert study.points["oracle"] == optimum(rule, random_totals(2))


@pytest.mark.parametrize("rule", RULES)
def test_places_stand_for_values(rule):
    space, values, published = space_of(rule, GRID), values_at(rule, GRID), find_rule(rule).published
    assert values(places_of(rule, GRID, published)) == published
    for place in range(4):
        found = values(dict.fromkeys(space, place))
        assert found == {one.name: GRID.axes[rule][one.axis][place] for one in find_rule(rule).parameters}
        assert places_of(rule, GRID, found) == dict.fromkeys(space, place)
    lengths = [len(GRID.axes[rule][one.axis]) for one in find_rule(rule).parameters]
    assert list(space.values()) == [IntDistribution(0, length - 1) for length in lengths]


def test_a_low_place_beyond_its_high_one_closes_the_band():
    places = {"cam_high": 1, "cam_low": 3, "saliency_high": 2, "saliency_low": 1}
    values = values_at("saliency-gate", GRID)(places)
    assert values["cam_low"] == values["cam_high"] == GRID.axes["saliency-gate"]["cam"][1]
    assert values["saliency_low"] < values["saliency_high"]
    assert find_rule("saliency-gate").resolve(values) == values


def test_a_grid_of_trials_finds_the_exact_optimum(tmp_path):
    totals = random_totals(3)
    records = Runner(tmp_path / "a.journal", 0, sampler="grid").run(search("alpha", totals), 100)
    assert len(records) == len(GRID.axes["alpha"]["cam"])
    best = optimum("alpha", totals)
    assert max(record.miou for record in records) == float(miou(totals.confusion_at("alpha", best)))


def test_a_study_of_images_without_true_pixels_ends_before_the_trials(tmp_path):
    nothing = random_totals(0, ids=(255,))
    with pytest.raises(UserError, match="no pixel of the images has a true id"):
        study_rule("threshold", nothing, random_totals(1), Runner(tmp_path / "journal", 0), 3)
    assert not (tmp_path / "journal").exists()
