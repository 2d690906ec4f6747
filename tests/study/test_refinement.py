import dataclasses

import numpy as np
import pytest

from seedbed.crf.dense import refine
from seedbed.errors import UserError
from seedbed.evaluate.bootstrap import paired
from seedbed.evaluate.confusion import confusion, load_confusions
from seedbed.params import CrfParams, StudyParams
from seedbed.study.curve import Draws
from seedbed.study.inputs import Machine
from seedbed.study.optima import miou
from seedbed.study.refinement import Refinement
from seedbed.study.scoring import Reporter
from seedbed.study.trials import Runner, TrialRecord

VALUES = {"threshold": 0.2}
PARAMS = StudyParams(crf_images=3, crf_trials=4)


def study(inputs, folder, tune=5, published=CrfParams()):  # noqa: B008
    reporter = Reporter(folder, inputs.ids[:tune], inputs.ids[tune:], Draws({}, 0, 100, 0))
    refinement = Refinement(inputs, "threshold", VALUES, Machine())
    return refinement.study(published, PARAMS, Runner(folder / "journal", 0), reporter)


def test_points_are_scored_as_their_masks_are(inputs, tmp_path):
    entry, chosen, records = study(inputs, tmp_path)
    items = {item.name: item for item in Refinement(inputs, "threshold", VALUES, Machine()).items(inputs.ids)}
    stored = {}
    for name, point in entry["points"].items():
        masks = {image: item.labels for image, item in items.items()}
        if point["params"]:
            params = CrfParams.model_validate(point["params"])
            masks = {image: refine(one.image, one.labels, one.candidates, params) for image, one in items.items()}
        found = {image: confusion(items[image].truth, mask, inputs.num_ids) for image, mask in masks.items()}
        for split, ids in (("tune", inputs.ids[:5]), ("report", inputs.ids[5:])):
            assert point["miou"][split] == float(miou(sum(found[image] for image in ids)))
        if name != "without":
            assert entry["subset"][name] == float(miou(sum(found[image] for image in inputs.ids[:3])))
        ids, stored[name] = load_confusions(tmp_path / f"confusion-crf-{name}.npz")
        assert ids == list(inputs.ids[5:])
        assert np.array_equal(stored[name], [found[image] for image in ids])
    assert CrfParams.model_validate(entry["points"]["chosen"]["params"]) == chosen
    for gain, name in (("gain", "chosen"), ("published_gain", "published")):
        expected = paired(stored[name], stored["without"], 100, 0)
        assert [entry[gain]["miou"], *entry[gain]["interval"]] == pytest.approx(list(expected))
        reached = {point: entry["points"][point]["miou"]["report"] for point in (name, "without")}
        assert entry[gain]["miou"] == pytest.approx(reached[name] - reached["without"])
    assert (entry["images"], entry["tune_images"], entry["report_images"]) == (3, 5, 7)
    assert entry["trials"] + entry["pruned"] == len(records) == 4


BETTER, WORSE = CrfParams(), CrfParams(gaussian_xy=10, gaussian_weight=10, bilateral_weight=0)


class Fixed(Runner):
    """A runner whose second trial, `tried`, wins on the images of the trials, whatever it is."""

    def run(self, search, trials):
        return [
            TrialRecord("crf", place, "complete", reached, {**params.model_dump(exclude={"floor"})})
            for place, (reached, params) in enumerate(((0.1, self.published), (0.9, self.tried)))
        ]


@pytest.mark.parametrize(
    ("published", "tried", "won"), [(WORSE, BETTER, True), (BETTER, WORSE, False), (BETTER, BETTER, False)]
)
def test_the_best_trial_is_the_choice_if_it_beats_the_published_setting_on_all_that_choose(
    inputs, tmp_path, published, tried, won
):
    runner = Fixed(tmp_path / "journal", 0)
    vars(runner).update(published=published, tried=tried)
    reporter = Reporter(tmp_path, inputs.ids[:5], inputs.ids[5:], Draws({}, 0, 100, 0))
    entry, chosen, _ = Refinement(inputs, "threshold", VALUES, Machine()).study(published, PARAMS, runner, reporter)
    assert chosen == (tried if won else published)
    points = entry["points"]
    assert (points["chosen"] == points["published"]) == (not won)
    assert (points["chosen"]["miou"]["tune"] > points["published"]["miou"]["tune"]) == won
    assert entry["subset"] == {"published": 0.1, "chosen": 0.9 if won else 0.1}
    assert (entry["gain"] == entry["published_gain"]) == (not won)
    stored = [load_confusions(tmp_path / f"confusion-crf-{name}.npz")[1] for name in ("published", "chosen")]
    assert np.array_equal(*stored) == (not won)


def test_candidates_are_background_and_the_classes_of_the_maps(inputs):
    for item in Refinement(inputs, "threshold", VALUES, Machine()).items(inputs.ids):
        assert item.candidates == [0, *(inputs.cams(item.name)[1] + 1)]
        assert set(np.unique(item.labels)) <= set(item.candidates)


def test_workers_change_nothing(inputs):
    def masks(jobs):
        refined = Refinement(inputs, "threshold", VALUES, Machine(jobs=jobs)).refined(inputs.ids, CrfParams())
        return [(item.name, mask.tobytes()) for item, mask in refined]

    assert masks(1) == masks(2)
    assert [name for name, _ in masks(2)] == list(inputs.ids)


def test_a_photograph_of_another_size_is_named(inputs, tmp_path):
    cut = dataclasses.replace(inputs, image=lambda name: inputs.image(name)[1:])
    with pytest.raises(UserError, match="img00: the image is 13 x 9 pixels, its class maps 13 x 10"):
        study(cut, tmp_path)
