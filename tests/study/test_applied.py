import csv
import json

import numpy as np
import pytest

from seedbed.errors import UserError
from seedbed.evaluate.confusion import confusion, load_confusions
from seedbed.params import CrfParams, StudyParams
from seedbed.seeds.fusion import find_rule
from seedbed.study.applied import Application, Found
from seedbed.study.fusion_study import miou
from seedbed.study.protocol import read_best, run_study
from seedbed.study.scoring import Reporter
from seedbed.study.tables import ImageMaps
from seedbed.study.trials import Runner

PARAMS = StudyParams(rules=["mcis", "oaa"], tune_images=5, trials=8, crf_trials=2, crf_images=3)
NUM_IDS = 4


def run(inputs, folder, params=PARAMS, rule="mcis"):
    return run_study(inputs, params, CrfParams(), rule, folder / "study", Runner(folder / "journal", 0), bootstrap=100)


def test_points_are_scored_as_their_masks_are(inputs, tmp_path):
    result = run(inputs, tmp_path)
    split = json.loads((tmp_path / "study" / "split.json").read_text())
    groups = {"tune": split["tune"], "report": split["report"], "all": inputs.ids}
    for rule, entry in result["rules"].items():
        assert set(entry["points"]) == {"published", "chosen"}
        for name, point in entry["points"].items():
            per_image = {
                image: confusion(
                    inputs.mask(image),
                    find_rule(rule).apply(*inputs.cams(image), inputs.saliency(image), point["values"]),
                    NUM_IDS,
                )
                for image in inputs.ids
            }
            for group, ids in groups.items():
                assert point["miou"][group] == float(miou(sum(per_image[image] for image in ids)))
            ids, stored = load_confusions(tmp_path / "study" / f"confusion-{rule}-{name}.npz")
            assert ids == split["report"]
            assert np.array_equal(stored, [per_image[image] for image in ids])
            low, high = point["interval"]
            assert low < high


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
        assert entry["regret"] is None
        assert entry["surface"] is None
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
    reporter = Reporter(tmp_path, list(content), list(content), 100, 0)
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


def test_matrices_of_report_images_come_back_from_their_cells():
    rng = np.random.default_rng(0)
    matrices = rng.integers(0, 3, (5, 3, 4)) * rng.integers(0, 2, (5, 3, 4))
    found = Found((3, 4))
    for index, matrix in enumerate(matrices):
        found.add(matrix, chooses=index == 2)
    assert np.array_equal(found.per_image, matrices[[0, 1, 3, 4]])
    assert np.array_equal(found.totals["tune"], matrices[2])
    assert np.array_equal(found.totals["report"], matrices[[0, 1, 3, 4]].sum(axis=0))
    assert np.array_equal(found.totals["all"], matrices.sum(axis=0))
