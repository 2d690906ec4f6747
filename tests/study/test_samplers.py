import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import CmaEsSampler, GPSampler, RandomSampler, TPESampler

from seedbed.errors import UserError
from seedbed.params import StudyParams
from seedbed.study.samplers import SAMPLERS, build_sampler, grid_size, suggest

SPACE = {
    "x": FloatDistribution(0, 1, step=0.1),
    "y": IntDistribution(1, 9, step=4),
    "z": CategoricalDistribution([3, 8]),
}


def test_every_name_has_its_sampler():
    kinds = {"tpe": TPESampler, "gp": GPSampler, "cmaes": CmaEsSampler, "random": RandomSampler}
    for name in SAMPLERS:
        assert isinstance(build_sampler(name, 0, SPACE, 3), kinds.get(name, optuna.samplers.BaseSampler))
        assert StudyParams.model_validate({"sampler": name}).sampler == name


def test_an_unknown_name():
    with pytest.raises(UserError, match="unknown sampler 'cmae'; did you mean 'cmaes'"):
        build_sampler("cmae", 0, SPACE, 3)


def draws(space, published, count):
    """Return the settings of a grid, the published one first, as `Runner` does."""
    study = optuna.create_study()
    study.enqueue_trial(published)
    found = []
    for place in range(count):
        study.sampler = build_sampler("grid", 0, space, 3, place=place, published=published)
        trial = study.ask()
        suggest(trial, space)
        found.append(trial.params)
        study.tell(trial, 0.0)
    return found


def test_a_grid_visits_every_setting_once_the_published_one_first():
    published = {"x": 0.3, "y": 5, "z": 8}  # 0.3 is not 3 * 0.1
    found = draws(SPACE, published, grid_size(SPACE, published))
    assert found[0] == published
    assert len({(round(one["x"], 6), one["y"], one["z"]) for one in found}) == len(found) == 11 * 3 * 2


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_a_grid_of_any_shape_is_covered(sizes, data):
    space = {f"p{index}": IntDistribution(0, size - 1) for index, size in enumerate(sizes)}
    published = {name: data.draw(st.integers(0, one.high)) for name, one in space.items()}
    trial = optuna.trial.create_trial(value=0.0)
    samplers = [
        build_sampler("grid", 0, space, 3, place=place, published=published)
        for place in range(grid_size(space, published))
    ]
    found = [sampler.sample_relative(None, trial, space) for sampler in samplers]
    assert found[0] == published
    assert len({tuple(sorted(one.items())) for one in found}) == len(found)


def test_a_published_setting_off_the_grid_comes_on_top():
    space = {"x": CategoricalDistribution([1, 2, 3])}
    assert grid_size(space, {"x": 4}) == 4
    samplers = [build_sampler("grid", 0, space, 3, place=place, published={"x": 4}) for place in (1, 2, 3)]
    trial = optuna.trial.create_trial(value=0.0)
    assert sorted(sampler.sample_relative(None, trial, space)["x"] for sampler in samplers) == [1, 2, 3]


def test_early_trials_of_a_grid_lie_far_apart():
    space = {"x": IntDistribution(0, 99)}
    trial = optuna.trial.create_trial(value=0.0)
    samplers = [build_sampler("grid", 0, space, 3, place=place, published={"x": 0}) for place in range(10)]
    drawn = sorted(sampler.sample_relative(None, trial, space)["x"] for sampler in samplers)
    assert max(high - low for low, high in zip(drawn, [*drawn[1:], 100], strict=True)) <= 20


def test_a_grid_needs_a_discrete_space():
    with pytest.raises(UserError, match="parameter x is continuous"):
        build_sampler("grid", 0, {"x": FloatDistribution(0, 1)}, 3)
    with pytest.raises(UserError, match="declares its parameters"):
        build_sampler("grid", 0, {}, 3)
