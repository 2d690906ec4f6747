import numpy as np
import pytest

from seedbed.crf.dense import refine
from seedbed.evaluate.confusion import confusion
from seedbed.params import CrfParams
from seedbed.study.crf_study import SPACE, CrfItem, study_crf
from seedbed.study.fusion_study import miou
from seedbed.study.trials import Runner


@pytest.fixture
def items():
    """Return photos of a bright square whose pseudo-label is a part of it."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(4):
        truth = np.zeros((20, 24), np.uint8)
        truth[4:14, 5 + index : 17 + index] = 2
        labels = np.where(rng.random(truth.shape) < 0.7, truth, 0).astype(np.uint8)
        photo = np.repeat((truth * 90 + 20)[..., None], 3, axis=2) + rng.integers(0, 10, (*truth.shape, 3))
        made.append(CrfItem(f"square {index}", photo.astype(np.uint8), labels, truth, (0, 2)))
    return made


def test_the_published_setting_comes_first_and_scores_are_those_of_the_refined_masks(items, tmp_path):
    published = CrfParams(iterations=20, bilateral_xy=3)  # beyond the ranges searched
    study = study_crf(items, 3, published, Runner(tmp_path / "journal", 0), 4, jobs=1)
    first, found = study.describe()["published"], study.describe()["chosen"]
    assert CrfParams.model_validate(first["params"]) == published
    for entry in (first, found):
        params = CrfParams.model_validate(entry["params"])
        masks = [refine(item.image, item.labels, item.candidates, params) for item in items]
        total = sum(confusion(item.truth, mask, 3) for item, mask in zip(items, masks, strict=True))
        assert entry["miou"] == float(miou(total))
    assert found["miou"] >= first["miou"]
    assert study.without == float(miou(sum(confusion(item.truth, item.labels, 3) for item in items)))
    assert found["miou"] > study.without


def test_hopeless_trials_are_stopped_early_and_counted(items, tmp_path):
    study = study_crf(items, 3, CrfParams(), Runner(tmp_path / "journal", 1), 12, jobs=1)
    counted = study.describe()
    assert counted["pruned"] > 0
    assert counted["trials"] + counted["pruned"] == 12


def test_every_parameter_that_acts_on_labels_is_searched():
    searched = {*SPACE, "iterations"}
    assert searched == set(CrfParams.model_fields) - {"floor"}
    for name in searched:
        CrfParams.model_validate({name: 15 if name == "iterations" else SPACE[name].high})
        CrfParams.model_validate({name: 1 if name == "iterations" else SPACE[name].low})


def test_processes_change_nothing(items, tmp_path):
    one, two = (study_crf(items, 3, CrfParams(), Runner(tmp_path / str(jobs), 0), 2, jobs) for jobs in (1, 2))
    assert one.trials == two.trials
