import csv
import json

import numpy as np
import pytest
from study.brute import check_points, per_image

from seedbed.errors import UserError
from seedbed.params import CrfParams, StudyParams
from seedbed.seeds.fusion import find_rule
from seedbed.study.applied import Application, Gallery, random_settings, steps_of, values_of
from seedbed.study.curve import Draws
from seedbed.study.optima import miou
from seedbed.study.protocol import read_best, run_study
from seedbed.study.scoring import Reporter
from seedbed.study.split import choose_split
from seedbed.study.tables import ImageMaps
from seedbed.study.trials import Runner

PARAMS = StudyParams(rules=["mcis", "oaa"], tune_images=5, trials=8, crf_trials=2, crf_images=3)
NUM_IDS = 4


def run(inputs, folder, params=PARAMS, rule="mcis"):
    return run_study(inputs, params, CrfParams(), rule, folder / "study", Runner(folder / "journal", 0), bootstrap=100)


def test_points_are_scored_as_their_masks_are(inputs, tmp_path):
    result = run(inputs, tmp_path)
    check_points(inputs, tmp_path / "study", result)
    assert all(set(entry["points"]) == {"published", "chosen"} for entry in result["rules"].values())


def test_the_choice_is_the_best_of_trials_that_start_as_published(inputs, tmp_path):
    result = run(inputs, tmp_path)
    with (tmp_path / "study" / "trials.csv").open() as stream:
        trials = [row for row in csv.DictReader(stream) if row["study"] == "fusion/mcis"]
    assert len(trials) == result["rules"]["mcis"]["trials"] == 8
    assert json.loads(trials[0]["values"]) == find_rule("mcis").published
    best = max(trials, key=lambda row: float(row["miou"]))
    chosen = result["rules"]["mcis"]["points"]["chosen"]
    assert chosen["values"] == json.loads(best["values"])
    assert chosen["miou"]["tune"] == float(best["miou"])
    assert read_best(tmp_path / "study" / "best.yaml").rules["mcis"] == chosen["values"]
    for row in trials:
        values = json.loads(row["values"])
        assert values["salient"] == int(values["salient"])
        assert all(value == round(value, 2) for value in values.values())


def test_there_is_nothing_of_a_sweep(inputs, tmp_path):
    result = run(inputs, tmp_path)
    assert result["grid"] == {"cam": [], "saliency": []}
    assert not (tmp_path / "study" / "table.npz").exists()
    for entry in result["rules"].values():
        for unknown in ("regret", "oracle_gap", "optimum", "per_class", "surface"):
            assert entry[unknown] is None
        assert "first_release" not in entry
    assert result["crf"]["rule"] == "mcis"


def test_swept_rules_are_the_same_beside_others(make_inputs, tmp_path):
    alone, beside = (
        run(make_inputs(), tmp_path / name, PARAMS.model_copy(update={"rules": rules, "crf_trials": 0}), "threshold")
        for name, rules in (("a", ["threshold", "saliency-gate"]), ("b", ["threshold", "mcis", "saliency-gate"]))
    )
    for rule in ("threshold", "saliency-gate"):
        assert alone["rules"][rule] == beside["rules"][rule]
    tables = [(tmp_path / name / "study" / "table.npz").read_bytes() for name in ("a", "b")]
    assert tables[0] == tables[1]


def test_without_tune_images_nothing_is_read_and_published_values_are_the_choice(make_inputs, tmp_path):
    inputs = make_inputs(forbidden=("cams", "saliency", "mask", "image"))
    result = run(inputs, tmp_path, PARAMS.model_copy(update={"tune_images": 0}))
    for rule in ("mcis", "oaa"):
        point = {"values": find_rule(rule).published, "miou": None, "interval": None}
        assert result["rules"][rule]["points"] == {"published": point, "chosen": point}


def test_the_same_seed_writes_the_same_bytes(inputs, tmp_path):
    for name in ("a", "b"):
        run(inputs, tmp_path / name)
    run(inputs, tmp_path / "b")  # and so does a second run on the same journal
    written = {path.name: path.read_bytes() for path in (tmp_path / "a" / "study").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "b" / "study").iterdir()}


def image(name="boat", truth=(2, 3), saliency=(2, 3), value=0):
    shape = (1, 2, 3)
    grey = None if saliency is None else np.zeros(saliency, np.uint8)
    return ImageMaps(name, np.zeros(shape, np.float32), np.array([0]), np.full(truth, value, np.uint8), grey)


def application(tmp_path, *images):
    content = {one.name: one for one in images}
    reporter = Reporter(tmp_path, list(content), list(content), Draws({}, 0, 100, 0))
    return Application(lambda ids: (content[name] for name in ids), list(content), NUM_IDS, reporter)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (image(saliency=(3, 3)), "boat: saliency map of 3 x 3"),
        (image(saliency=None), "boat: rule mcis needs a saliency map"),
        (image(truth=(2, 4)), "boat: the ground truth is 4 x 2"),
        (image(value=7), r"boat: the ground truth holds unknown class ids \[7\]"),
        (image(value=255), "no pixel of the images has a true id"),
    ],
)
def test_bad_images_are_named(tmp_path, bad, message):
    with pytest.raises(UserError, match=message):
        application(tmp_path, bad).study("mcis", Runner(tmp_path / "journal", 0), 2)


class Reads(list):
    """Reads images of given maps, and notes whose."""

    def __init__(self, images):
        self.images = {one.name: one for one in images}

    def __call__(self, ids):
        for name in ids:
            self.append(name)
            yield self.images[name]


def test_images_beyond_the_memory_are_read_again_and_only_those():
    images = [image(name) for name in ("bird", "boat", "bus")]
    read = Reads(images)
    one = next(iter(Gallery(find_rule("mcis"), read, ["bird"]))).nbytes
    read.clear()
    gallery = Gallery(find_rule("mcis"), read, ["bird", "boat", "bus"], memory=2 * one)
    for expected in (["bird", "boat", "bus"], ["bus"], ["bus"]):
        assert [name for batch in gallery for name in batch.maps.names] == ["bird", "boat", "bus"]
        assert read == expected
        read.clear()


@pytest.mark.parametrize("rule", ["mcis", "argmax"])
def test_batches_change_nothing(make_inputs, rule):
    inputs, small = make_inputs(), make_inputs(size=(7, 15))
    ids = inputs.ids[:5]

    def read(names):
        for index, name in enumerate(names):
            yield from (small if index % 2 else inputs).maps([name], saliency=True)

    def matrices(at_once):
        gallery = Gallery(find_rule(rule), read, ids, at_once=at_once)
        sizes = [len(batch.truths) for batch in gallery]
        return sizes, [conf for batch in gallery for conf in batch.confusions(gallery.rule, {}, NUM_IDS)]

    (alone, expected), (together, found) = matrices(1), matrices(3)
    assert (alone, together) == ([1] * 5, [3, 2])
    assert np.array_equal(found, expected)


def test_a_look_that_ends_early_leaves_a_whole_gallery():
    read = Reads([image(name) for name in ("bird", "boat", "bus")])
    gallery = Gallery(find_rule("mcis"), read, ["bird", "boat", "bus"])
    assert next(iter(gallery)).maps.names == ("bird",)
    for _ in range(2):
        assert [name for batch in gallery for name in batch.maps.names] == ["bird", "boat", "bus"]


def test_a_rule_without_parameters_is_scored_without_trials(inputs, tmp_path):
    params = PARAMS.model_copy(update={"rules": ["argmax"], "crf_trials": 0, "curve_images": [3], "curve_seeds": 2})
    result = run(inputs, tmp_path, params, "argmax")
    check_points(inputs, tmp_path / "study", result)
    entry = result["rules"]["argmax"]
    assert entry["trials"] == 0
    assert entry["points"]["chosen"] == entry["points"]["published"]
    assert entry["curve"] is None


@pytest.mark.parametrize("rule", ["mcis", "oaa"])
def test_random_settings_are_those_of_the_seed_and_on_the_steps_of_trials(rule):
    entry = find_rule(rule)
    drawn = random_settings(entry, 50, 3)
    assert drawn[:20] == random_settings(entry, 20, 3)
    assert drawn != random_settings(entry, 50, 4)
    for parameter in entry.parameters:
        steps = {values_of(entry)(dict.fromkeys(steps_of(entry), step))[parameter.name] for step in range(256)}
        tried = {values[parameter.name] for values in drawn}
        assert tried <= {value for value in steps if parameter.low <= value <= parameter.high}
        assert len(tried) > 20
        assert all(entry.resolve(values) == values for values in drawn)


def test_few_images_choose_among_random_settings_and_the_published_one(inputs, tmp_path):
    params = PARAMS.model_copy(update={"rules": ["mcis"], "crf_trials": 0, "curve_images": [4], "curve_seeds": 3})
    first, few, last = run(inputs, tmp_path, params)["rules"]["mcis"]["curve"]
    mcis = find_rule("mcis")
    found = [per_image(inputs, "mcis", values) for values in (mcis.published, *random_settings(mcis, 8, 0))]
    expected, chosen = [], []
    for seed in range(3):
        tune = choose_split(inputs.ids, inputs.labels, 4, seed).tune
        best = int(np.argmax([miou(sum(one[name] for name in tune)) for one in found]))
        chosen.append(best)
        expected.append(float(miou(sum(found[best][name] for name in inputs.ids if name not in tune))))
    assert set(chosen) != {0}
    assert few["each"] == pytest.approx(expected)
    assert few["miou"] == pytest.approx(np.mean(expected))
    assert first["miou"] == float(miou(sum(found[0].values())))
    assert last["miou"] == pytest.approx(max(miou(sum(one.values())) for one in found))
