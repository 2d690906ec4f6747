import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from seedbed.crf.dense import refine
from seedbed.errors import UserError
from seedbed.evaluate.confusion import confusion
from seedbed.params import CrfParams
from seedbed.study import crf_study
from seedbed.study.crf_study import ITERATIONS, SPACE, CrfItem, CrfSpace, Trials
from seedbed.study.inputs import Machine
from seedbed.study.optima import miou
from seedbed.study.trials import MIOU, Runner, best


def make_items(count=4, noise=0.3, seed=0):
    """Return photos of a bright square whose pseudo-label is a part of it."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        truth = np.zeros((20, 24), np.uint8)
        truth[4:14, 5 + index % 4 : 17 + index % 4] = 2
        labels = np.where(rng.random(truth.shape) > noise, truth, 0).astype(np.uint8)
        photo = np.repeat((truth * 90 + 20)[..., None], 3, axis=2) + rng.integers(0, 10, (*truth.shape, 3))
        made.append(CrfItem(f"square {index}", photo.astype(np.uint8), labels, truth, (0, 2)))
    return made


@pytest.fixture
def items():
    return make_items()


def trials_of(items, **settings):
    return Trials(items, 3, Machine(), **settings)


def test_the_published_setting_comes_first_and_scores_are_those_of_the_refined_masks(items, tmp_path):
    published = CrfParams(iterations=25, bilateral_xy=3, floor=1e-4)  # beyond the ranges searched
    space = CrfSpace(published)
    records = Runner(tmp_path / "journal", 0).run(trials_of(items).search(space), 4)
    assert space.params(records[0].values) == published
    for record in (records[0], best(records)):
        params = space.params(record.values)
        masks = [refine(item.image, item.labels, item.candidates, params) for item in items]
        total = sum(confusion(item.truth, mask, 3) for item, mask in zip(items, masks, strict=True))
        assert record.miou == float(miou(total))
    assert best(records).miou >= records[0].miou
    assert best(records).miou > miou(sum(confusion(item.truth, item.labels, 3) for item in items))


@pytest.mark.parametrize("pruner", ["wilcoxon", "halving"])
def test_hopeless_trials_are_stopped_early_with_the_score_so_far(pruner, tmp_path):
    items = make_items(12)
    runner, search = Runner(tmp_path / "journal", 1), trials_of(items, pruner=pruner).search(CrfSpace(CrfParams()))
    records = runner.run(search, 15)
    stopped = [record for record in records if record.state == "pruned"]
    assert 0 < len(stopped) < 15
    assert records[0].state == "complete"
    with runner.opened(search) as study:
        seen = [len(trial.intermediate_values) for trial in study.trials if trial.state.name == "PRUNED"]
    assert max(seen) < 12
    for record, count in zip(stopped, seen, strict=True):
        params = CrfParams.model_validate(record.values)
        total = sum(
            confusion(item.truth, refine(item.image, item.labels, item.candidates, params), 3) for item in items[:count]
        )
        assert record.miou == float(miou(total))


class Told:
    """A trial that notes what it is told, and is hopeless after `enough` reports."""

    def __init__(self, enough):
        self.reports, self.attributes, self._enough = {}, {}, enough

    def report(self, value, step):
        self.reports[step] = value

    def should_prune(self):
        return len(self.reports) >= self._enough

    def set_user_attr(self, name, value):
        self.attributes[name] = value


@pytest.mark.parametrize("pruner", ["wilcoxon", "halving"])
def test_pruners_hear_of_each_image_or_of_all_so_far(pruner):
    items, params, told = make_items(6), CrfParams(gaussian_weight=0, bilateral_weight=0), Told(enough=4)
    with pytest.raises(optuna.TrialPruned):
        trials_of(items, pruner=pruner).score(told, [item.labels for item in items], params)
    matrices = [confusion(item.truth, refine(*item[1:3], item.candidates, params), 3) for item in items[:4]]
    alone, so_far = ([float(miou(one)) for one in found] for found in (matrices, np.cumsum(matrices, axis=0)))
    assert alone != so_far
    assert told.reports == dict(enumerate(alone if pruner == "wilcoxon" else so_far, 1))
    assert told.attributes == {MIOU: so_far[-1]}


def test_without_a_pruner_all_trials_end(items, tmp_path):
    search = trials_of(items, pruner="none").search(CrfSpace(CrfParams()))
    records = Runner(tmp_path / "journal", 1).run(search, 8)
    assert {record.state for record in records} == {"complete"}


@pytest.mark.parametrize("pruner", ["wilcoxon", "halving"])
def test_ignored_images_judge_no_trial(pruner, tmp_path):
    blank, *others = make_items(5)
    items = [blank._replace(truth=np.full_like(blank.truth, 255)), *others]
    search = trials_of(items, pruner=pruner).search(CrfSpace(CrfParams()))
    records = Runner(tmp_path / "journal", 0).run(search, 3)
    assert all(np.isfinite(record.miou) for record in records)
    with pytest.raises(UserError, match="no pixel of the images has a true id"):
        trials_of([items[0]])


def test_every_parameter_that_acts_on_labels_is_searched():
    searched = {*SPACE, "iterations"}
    assert searched == set(CrfParams.model_fields) - {"floor"}
    for name in searched:
        CrfParams.model_validate({name: ITERATIONS[1] if name == "iterations" else SPACE[name].high})
        CrfParams.model_validate({name: ITERATIONS[0] if name == "iterations" else SPACE[name].low})


def test_widths_are_few_and_the_published_ones_are_among_them():
    published = CrfParams(gaussian_xy=2.7, bilateral_xy=67, bilateral_rgb=60)
    space = CrfSpace(published)
    drawn = optuna.create_study().ask
    tried = [space.values(drawn(space.distributions).params) for _ in range(300)]
    for name in ("gaussian_xy", "bilateral_xy", "bilateral_rgb"):
        assert len({values[name] for values in tried}) <= SPACE[name].steps + 1
    assert len({values["bilateral_weight"] for values in tried}) == 300
    assert space.params(space.values(space.first)) == published


def test_a_grid_holds_the_published_setting(items, tmp_path):
    space = CrfSpace(CrfParams(gaussian_xy=2.7), discrete=True)
    for name, distribution in space.distributions.items():
        if name != "iterations":
            assert isinstance(distribution, CategoricalDistribution)
        assert distribution._contains(distribution.to_internal_repr(space.first[name]))
    records = Runner(tmp_path / "journal", 0, "grid").run(trials_of(items).search(space), 3)
    assert space.params(records[0].values) == space.published
    assert len({tuple(record.values.items()) for record in records}) == 3


def test_workers_change_nothing(items, tmp_path):
    space = CrfSpace(CrfParams())
    one, two = (
        Runner(tmp_path / str(jobs), 0).run(Trials(items, 3, Machine(jobs=jobs)).search(space), 2) for jobs in (1, 2)
    )
    assert one == two


def test_seconds_are_a_second_objective(items, tmp_path):
    search = trials_of(items, timed=True).search(CrfSpace(CrfParams()))
    assert search.timed
    assert search.pruner is None
    records = Runner(tmp_path / "journal", 0).run(search, 3)
    assert all(record.cost > 0 for record in records)
    alone = trials_of(items).search(CrfSpace(CrfParams()))
    assert records[0].miou == Runner(tmp_path / "journal", 0).run(alone, 1)[0].miou


@pytest.mark.parametrize("timed", [True, False])
def test_seconds_are_those_of_a_setting_that_finds_everything_loaded_and_nothing_cached(items, monkeypatch, timed):
    made, refined = [], []

    class Spy(crf_study.Refiner):
        def __init__(self, images, backend, jobs, device, cache_bytes):
            made.append((jobs, cache_bytes > 0))
            super().__init__(images, backend, jobs, device, cache_bytes)

        def refine(self, indices, labels, candidates, params):
            for index, mask in zip(indices, super().refine(indices, labels, candidates, params), strict=True):
                refined.append(index)
                yield mask

    monkeypatch.setattr(crf_study, "Refiner", Spy)
    trials = Trials(items, 3, Machine(jobs=2), timed=timed)
    assert made == [(1, False) if timed else (2, True)]
    assert refined == ([0] if timed else [])
    score = trials.score(Told(enough=9), [item.labels for item in items], CrfParams())
    assert refined == [0] * timed + [0, 1, 2, 3]
    assert isinstance(score, tuple) == timed


def test_the_study_is_another_when_what_scores_depend_on_is():
    items, space = make_items(), CrfSpace(CrfParams())
    other = [items[0]._replace(labels=items[0].labels * 0), *items[1:]]
    searches = [
        trials_of(items).search(space),
        trials_of(other).search(space),
        trials_of(items[:3]).search(space),
        trials_of(items, pruner="none").search(space),
        trials_of(items).search(CrfSpace(CrfParams(confidence=0.8))),
    ]
    assert len({search.fingerprint for search in searches}) == len(searches)
    assert trials_of(make_items()).search(space).fingerprint == searches[0].fingerprint
