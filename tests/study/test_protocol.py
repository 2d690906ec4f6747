import csv
import dataclasses
import json

import numpy as np
import pytest
from study.brute import check_points, per_image

from seedbed.errors import UserError
from seedbed.evaluate.scores import scores
from seedbed.params import CrfParams, StudyParams
from seedbed.study.optima import class_optima, miou, optimum, optimum_interval
from seedbed.study.protocol import Best, read_best, run_study, skip_study
from seedbed.study.split import choose_split
from seedbed.study.tables import Tables
from seedbed.study.trials import Runner

PARAMS = StudyParams(
    tune_images=5,
    cam_steps=10,
    saliency_steps=4,
    trials=6,
    crf_trials=3,
    crf_images=3,
    curve_images=[3, 50],
    curve_seeds=4,
)


def run(inputs, folder, params=PARAMS, seed=0, rule="saliency-gate", on_trial=None):
    runner = Runner(folder / "journal", seed, on_trial=on_trial)
    return run_study(inputs, params, CrfParams(), rule, folder / "study", runner, bootstrap=100)


def test_points_are_scored_as_their_masks_are(inputs, tmp_path):
    check_points(inputs, tmp_path / "study", run(inputs, tmp_path))


def test_intervals_are_drawn_with_the_seed_of_the_study(inputs, tmp_path):
    params = PARAMS.model_copy(update={"crf_trials": 0, "rules": ["threshold", "mcis"]})
    check_points(inputs, tmp_path / "study", run(inputs, tmp_path, params, seed=3, rule="threshold"), seed=3)


def test_the_order_of_points_is_what_their_names_promise(inputs, tmp_path):
    result = run(inputs, tmp_path)
    for rule, entry in result["rules"].items():
        tune = {name: point["miou"]["tune"] for name, point in entry["points"].items()}
        every = {name: point["miou"]["all"] for name, point in entry["points"].items()}
        assert tune["published"] <= tune["chosen"] <= tune["grid"] + 1e-12
        assert max(every.values()) <= every["oracle"] + 1e-12
        assert entry["regret"] == max(tune["grid"] - tune["chosen"], 0)
        assert entry["oracle_gap"] == max(every["oracle"] - every["chosen"], 0)
        assert entry["trials"] == 6
        values = [axis["values"] for axis in entry["surface"]["axes"]]
        for measure in ("miou", "precision", "recall", "coverage"):
            for group in ("tune", "report", "all"):
                assert np.shape(entry["surface"][measure][group]) == tuple(map(len, values))
        assert len(values) == (2 if rule == "saliency-gate" else 1)


def test_the_files_say_the_same(inputs, tmp_path):
    heard = []
    result = run(inputs, tmp_path, on_trial=heard.append)
    folder = tmp_path / "study"
    assert json.loads((folder / "study.json").read_text()) == result
    best = read_best(folder / "best.yaml")
    assert best.rules == {rule: entry["points"]["chosen"]["values"] for rule, entry in result["rules"].items()}
    assert best.crf == CrfParams.model_validate(result["crf"]["points"]["chosen"]["params"])
    assert Tables.load(folder / "table.npz").ids == tuple(inputs.ids)
    with (folder / "trials.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["study"], int(row["trial"]), float(row["miou"])) for row in rows] == [
        (t.study, t.number, t.miou) for t in heard
    ]
    assert len(rows) == 6 + 6 + 3
    assert result["protocol"]["images"] == {"tune": 5, "report": 7, "all": 12}
    assert "5 of the 12 images of train_aug" in result["protocol"]["statement"]


def test_the_same_seed_writes_the_same_bytes(inputs, tmp_path):
    for name in ("a", "b"):
        run(inputs, tmp_path / name)
    run(inputs, tmp_path / "b")  # and so does a second run on the same journal
    written = {path.name: path.read_bytes() for path in (tmp_path / "a" / "study").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "b" / "study").iterdir()}


def test_without_tune_images_nothing_is_read_and_published_values_are_the_choice(make_inputs, tmp_path):
    inputs = make_inputs(forbidden=("cams", "saliency", "mask", "image"))
    run(make_inputs(), tmp_path)  # leaves tables and matrices behind
    result = run(inputs, tmp_path, PARAMS.model_copy(update={"tune_images": 0}))
    assert result["crf"] is None
    assert read_best(tmp_path / "study" / "best.yaml").rules["threshold"] == {"threshold": 0.2}
    assert result["rules"]["threshold"]["points"]["chosen"] == {
        "values": {"threshold": 0.2},
        "miou": None,
        "interval": None,
    }
    assert {path.name for path in (tmp_path / "study").iterdir()} == {
        "best.yaml",
        "split.json",
        "study.json",
        "trials.csv",
    }


def test_saliency_is_not_read_for_rules_that_do_not_need_it(make_inputs, tmp_path):
    params = PARAMS.model_copy(update={"rules": ["threshold"], "crf_trials": 0})
    result = run(make_inputs(forbidden=("saliency", "image")), tmp_path, params, rule="threshold")
    assert result["grid"]["saliency"] == []
    assert result["crf"] is None
    assert read_best(tmp_path / "study" / "best.yaml").crf is None


def test_rules_must_be_known_and_studied(inputs, tmp_path):
    with pytest.raises(UserError, match="unknown fusion rule 'thresold'; did you mean 'threshold'"):
        run(inputs, tmp_path, PARAMS.model_copy(update={"rules": ["thresold"]}))
    with pytest.raises(UserError, match=r"saliency-gate is not among study.rules"):
        run(inputs, tmp_path, PARAMS.model_copy(update={"rules": ["threshold"]}))


@pytest.mark.parametrize("content", ["a: [", "rules: {}", "7", "rules: {}\ncrf: {confidence: 3}"])
def test_a_bad_choice_is_named(tmp_path, content):
    (tmp_path / "best.yaml").write_text(content)
    with pytest.raises(UserError, match=r"best.yaml is not the choice"):
        read_best(tmp_path / "best.yaml")
    with pytest.raises(UserError, match=r"none.yaml does not exist"):
        read_best(tmp_path / "none.yaml")


def test_the_sweep_of_the_first_release_stands_beside_the_results(inputs, tmp_path):
    result = run(inputs, tmp_path)
    assert [rule for rule, entry in result["rules"].items() if "first_release" in entry] == ["threshold"]
    found = result["rules"]["threshold"]["first_release"]
    assert found["thresholds"] == [float(f"0.{percent}") for percent in range(15, 35)]
    assert found["variant"] == "drop-zero"
    split = json.loads((tmp_path / "study" / "split.json").read_text())
    for group, ids in {"tune": split["tune"], "report": split["report"], "all": inputs.ids}.items():
        for threshold, reached in zip(found["thresholds"], found["miou"][group], strict=True):
            total = sum(per_image(inputs, "threshold", {"threshold": threshold}, ids).values())
            assert reached == pytest.approx(float(scores(total, "drop", "zero").miou), abs=1e-12)


def swept(rule, inputs, folder):
    """Return the tables of all images, and of the tune images."""
    tables = Tables.load(folder / "table.npz")
    return tables, tables.select(json.loads((folder / "split.json").read_text())["tune"])


def test_optima_of_classes_and_of_bootstrap_samples_are_stated(inputs, tmp_path):
    result = run(inputs, tmp_path)
    for rule, entry in result["rules"].items():
        every, tune = swept(rule, inputs, tmp_path / "study")
        for index, (stated, found) in enumerate(
            zip(entry["per_class"], class_optima(rule, every.totals()), strict=True)
        ):
            assert stated == {"class": index, "values": found.values, "iou": found.iou}
        found = optimum_interval(tune, rule, 100, 0)
        assert entry["optimum"] == {
            "split": "tune",
            "values": {name: list(ends) for name, ends in found.values.items()},
            "miou": list(found.miou),
            "samples": 100,
        }


def test_the_band_lies_between_the_chosen_thresholds(inputs, tmp_path):
    result = run(inputs, tmp_path)
    assert result["rules"]["threshold"]["surface"]["band"] is None
    entry = result["rules"]["saliency-gate"]
    band, chosen = entry["surface"]["band"], entry["points"]["chosen"]
    assert [axis["parameter"] for axis in band["axes"]] == ["saliency_low", "saliency_high"]
    lows, highs = (axis["values"] for axis in band["axes"])
    reached = band["miou"]["all"][lows.index(chosen["values"]["saliency_low"])]
    assert reached[highs.index(chosen["values"]["saliency_high"])] == pytest.approx(chosen["miou"]["all"], abs=1e-5)
    assert band["coverage"]["all"][1][0] is None


def test_few_images_choose_the_exact_optimum_for_all_others(inputs, tmp_path):
    result = run(inputs, tmp_path)
    for rule, entry in result["rules"].items():
        every, _ = swept(rule, inputs, tmp_path / "study")
        first, few, last = entry["curve"]  # 50 images there are not
        assert [point["tune_images"] for point in entry["curve"]] == [0, 3, "all"]
        assert [point["oracle"] for point in entry["curve"]] == [False, False, True]
        assert first["miou"] == entry["points"]["published"]["miou"]["all"]
        assert last["miou"] == entry["points"]["oracle"]["miou"]["all"]
        expected = []
        for seed in range(4):
            tune = choose_split(inputs.ids, inputs.labels, 3, seed).tune
            found = per_image(inputs, rule, optimum(rule, every.select(tune).totals()))
            expected.append(float(miou(sum(found[name] for name in inputs.ids if name not in tune))))
        assert few["each"] == pytest.approx(expected)
        assert few["low"] <= few["miou"] <= few["high"]


def test_no_seeds_no_curve(inputs, tmp_path):
    params = PARAMS.model_copy(update={"curve_seeds": 0, "rules": ["threshold", "mcis"], "crf_trials": 0})
    result = run(inputs, tmp_path, params, rule="threshold")
    assert [entry["curve"] for entry in result["rules"].values()] == [None, None]


def test_a_choice_on_all_images_is_an_oracle_and_called_so(inputs, tmp_path):
    params = PARAMS.model_copy(update={"tune_images": "all", "rules": ["saliency-gate", "mcis"]})
    result = run(inputs, tmp_path, params)
    check_points(inputs, tmp_path / "study", result)
    assert result["protocol"]["oracle"] is True
    assert result["protocol"]["statement"].startswith("Oracle")
    assert result["protocol"]["images"] == {"tune": 12, "report": 12, "all": 12}
    assert result["crf"]["tune_images"] == result["crf"]["report_images"] == 12
    for entry in result["rules"].values():
        for point in entry["points"].values():
            assert point["miou"]["tune"] == point["miou"]["report"] == point["miou"]["all"]
    points = result["rules"]["saliency-gate"]["points"]
    assert points["grid"] == points["oracle"]


def test_images_of_the_evaluation_may_not_choose(make_inputs, tmp_path):
    inputs = make_inputs()
    shared = dataclasses.replace(inputs, evaluation=[inputs.ids[3], "other"])
    with pytest.raises(UserError, match=r"1 of the 12 images .* in the evaluation list data.val.*'img03'"):
        run(shared, tmp_path)
    run(shared, tmp_path, PARAMS.model_copy(update={"tune_images": 0}))  # nothing is chosen


def test_without_any_mask_nothing_is_chosen(make_inputs, tmp_path):
    inputs = dataclasses.replace(make_inputs(), ids=())
    for tune_images in (5, "all"):
        with pytest.raises(UserError, match="no training image has a mask"):
            run(inputs, tmp_path, PARAMS.model_copy(update={"tune_images": tune_images}))


@pytest.mark.parametrize("rules", [["threshold"], ["mcis"]])
def test_masks_without_a_true_pixel_choose_nothing(make_inputs, tmp_path, rules):
    inputs = make_inputs()
    blank = dataclasses.replace(inputs, mask=lambda name: np.full_like(inputs.mask(name), 255))
    with pytest.raises(UserError, match="no pixel of the images has a true id"):
        run(blank, tmp_path, PARAMS.model_copy(update={"rules": rules}), rule=rules[0])


def test_a_class_that_no_tune_image_shows_is_stated(make_inputs, tmp_path):
    inputs = make_inputs()
    labels = {name: np.array([1, 0, 0]) for name in inputs.ids}
    labels |= {inputs.ids[0]: np.array([0, 1, 0]), inputs.ids[1]: np.array([0, 0, 1])}
    params = PARAMS.model_copy(update={"tune_images": 2, "crf_trials": 0})
    result = run(dataclasses.replace(inputs, labels=labels), tmp_path, params)
    assert result["protocol"]["missing_classes"] == [0]  # rare classes come first


def test_settings_that_ignore_every_pixel_score_nothing(make_inputs, tmp_path):
    inputs = make_inputs()
    flat = dataclasses.replace(
        inputs,
        cams=lambda name: (np.zeros_like(inputs.cams(name)[0]), inputs.cams(name)[1]),
        saliency=lambda name: np.full_like(inputs.saliency(name), 255),
    )
    result = run(flat, tmp_path, PARAMS.model_copy(update={"rules": ["mcis"], "crf_trials": 0}), rule="mcis")
    for point in result["rules"]["mcis"]["points"].values():
        assert point["miou"] == {"tune": 0, "report": 0, "all": 0}
        assert point["interval"] == [0, 0]


@pytest.mark.parametrize(
    ("kind", "broken", "message"),
    [
        ("cams", lambda maps: (np.full_like(maps[0], np.nan), maps[1]), "img02: the class maps hold NaN"),
        ("saliency", lambda grey: grey[1:], "img02: saliency map of 13 x 9 pixels"),
        ("mask", lambda mask: mask[:, 1:], "img02: "),
    ],
)
@pytest.mark.parametrize("rule", ["saliency-gate", "mcis"])
def test_bad_maps_name_their_image(make_inputs, tmp_path, kind, broken, message, rule):
    inputs = make_inputs()
    read = getattr(inputs, kind)
    bad = dataclasses.replace(inputs, **{kind: lambda name: broken(read(name)) if name == "img02" else read(name)})
    with pytest.raises(UserError, match=message):
        run(bad, tmp_path, PARAMS.model_copy(update={"rules": [rule]}), rule=rule)


@pytest.mark.parametrize("tune_images", [0, 5, "all"])
def test_a_skipped_study_is_the_split_and_nothing_chosen(make_inputs, tmp_path, tune_images):
    params = PARAMS.model_copy(update={"tune_images": tune_images, "crf_trials": 0, "rules": ["threshold"]})
    studied = run(make_inputs(), tmp_path, params, seed=3, rule="threshold")
    folder = tmp_path / "skipped"
    folder.mkdir()
    (folder / "confusion-threshold-chosen.npz").write_bytes(b"of an earlier study")
    found = skip_study(make_inputs(forbidden=("cams", "saliency", "mask", "image")), tune_images, 3, folder)
    assert (found["rules"], found["crf"], found["protocol"]["oracle"]) == ({}, None, False)
    same = ("variant", "seed", "images", "missing_classes")
    assert [found["protocol"][name] for name in same] == [studied["protocol"][name] for name in same]
    assert (folder / "split.json").read_bytes() == (tmp_path / "study" / "split.json").read_bytes()
    assert json.loads((folder / "study.json").read_text()) == found
    assert read_best(folder / "best.yaml") == Best({}, None)
    assert sorted(path.name for path in folder.iterdir()) == ["best.yaml", "split.json", "study.json", "trials.csv"]


def test_a_skipped_study_guards_the_evaluation_images_too(inputs, tmp_path):
    seen = dataclasses.replace(inputs, evaluation=inputs.ids[:1])
    with pytest.raises(UserError, match="evaluation list"):
        skip_study(seen, 5, 0, tmp_path)
