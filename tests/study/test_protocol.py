import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.errors import UserError
from seedbed.evaluate.confusion import confusion, load_confusions
from seedbed.evaluate.scores import scores
from seedbed.params import CrfParams, StudyParams
from seedbed.seeds.fusion import find_rule
from seedbed.study.fusion_study import miou
from seedbed.study.protocol import choose_split, read_best, run_study
from seedbed.study.tables import Tables
from seedbed.study.trials import Runner

NUM_IDS = 4
PARAMS = StudyParams(tune_images=5, cam_steps=10, saliency_steps=4, trials=6, crf_trials=3, crf_images=3)


def run(inputs, folder, params=PARAMS, seed=0, rule="saliency-gate", on_trial=None):
    runner = Runner(folder / "journal", seed, on_trial)
    return run_study(inputs, params, CrfParams(), rule, folder / "study", runner, bootstrap=100)


def test_points_are_scored_as_their_masks_are(inputs, tmp_path):
    result = run(inputs, tmp_path)
    split = json.loads((tmp_path / "study" / "split.json").read_text())
    groups = {"tune": split["tune"], "report": split["report"], "all": inputs.ids}
    for rule, entry in result["rules"].items():
        for name, point in entry["points"].items():
            per_image = {
                image: confusion(
                    inputs.mask(image),
                    find_rule(rule).apply(*inputs.cams(image), inputs.saliency(image), point["values"]),
                    inputs.num_ids,
                )
                for image in inputs.ids
            }
            assert point["miou"] == {
                group: float(miou(sum(per_image[image] for image in ids))) for group, ids in groups.items()
            }
            ids, stored = load_confusions(tmp_path / "study" / f"confusion-{rule}-{name}.npz")
            assert ids == split["report"]
            assert np.array_equal(stored, [per_image[image] for image in ids])
            low, high = point["interval"]
            assert low < high


def test_the_order_of_points_is_what_their_names_promise(inputs, tmp_path):
    result = run(inputs, tmp_path)
    for rule, entry in result["rules"].items():
        tune = {name: point["miou"]["tune"] for name, point in entry["points"].items()}
        every = {name: point["miou"]["all"] for name, point in entry["points"].items()}
        assert tune["published"] <= tune["chosen"] <= tune["grid"] + 1e-12
        assert max(every.values()) <= every["oracle"] + 1e-12
        assert entry["regret"] == max(tune["grid"] - tune["chosen"], 0)
        assert entry["trials"] == 6
        values = [axis["values"] for axis in entry["surface"]["axes"]]
        for group in ("tune", "report", "all"):
            surface = np.array(entry["surface"]["miou"][group])
            assert surface.shape == tuple(map(len, values))
        assert len(values) == (2 if rule == "saliency-gate" else 1)


def test_the_files_say_the_same(inputs, tmp_path):
    heard = []
    result = run(inputs, tmp_path, on_trial=heard.append)
    folder = tmp_path / "study"
    assert json.loads((folder / "study.json").read_text()) == result
    best = read_best(folder / "best.yaml")
    assert best.rules == {rule: entry["points"]["chosen"]["values"] for rule, entry in result["rules"].items()}
    assert best.crf == CrfParams.model_validate(result["crf"]["chosen"]["params"])
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


@st.composite
def labelled(draw):
    count = draw(st.integers(2, 30))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=count, max_size=count))
    return {f"img{index}": np.array(row, np.float32) for index, row in enumerate(rows)}


@given(labelled(), st.data(), st.integers(0, 99))
def test_a_split_parts_the_images_and_covers_the_classes_that_fit(labels, data, seed):
    ids = list(labels)
    tune_images = data.draw(st.integers(1, len(ids) - 1))
    split = choose_split(ids, labels, tune_images, seed)
    assert len(split.tune) == tune_images
    assert sorted([*split.tune, *split.report]) == sorted(ids)
    assert list(split.report) == [name for name in ids if name in split.report]
    assert split == choose_split(ids, labels, tune_images, seed)
    shown = np.max([labels[name] for name in split.tune], axis=0)
    if tune_images >= 6:  # there are six classes
        assert np.array_equal(shown, np.max(list(labels.values()), axis=0))


def test_splits_differ_by_seed_and_leave_images_to_report():
    labels = {f"img{index}": np.ones(1) for index in range(20)}
    splits = {choose_split(list(labels), labels, 5, seed).tune for seed in range(4)}
    assert len(splits) == 4
    assert choose_split(list(labels), labels, 0, 0).tune == ()
    with pytest.raises(UserError, match="leaves none of the 20 images"):
        choose_split(list(labels), labels, 20, 0)


def test_the_sweep_of_the_first_release_stands_beside_the_results(inputs, tmp_path):
    result = run(inputs, tmp_path)
    assert [rule for rule, entry in result["rules"].items() if "first_release" in entry] == ["threshold"]
    found = result["rules"]["threshold"]["first_release"]
    assert found["thresholds"] == [float(f"0.{percent}") for percent in range(15, 35)]
    assert found["variant"] == "drop-zero"
    split = json.loads((tmp_path / "study" / "split.json").read_text())
    for group, ids in {"tune": split["tune"], "report": split["report"], "all": inputs.ids}.items():
        for threshold, reached in zip(found["thresholds"], found["miou"][group], strict=True):
            masks = [find_rule("threshold").apply(*inputs.cams(name), None, {"threshold": threshold}) for name in ids]
            total = sum(confusion(inputs.mask(name), mask, NUM_IDS) for name, mask in zip(ids, masks, strict=True))
            assert reached == pytest.approx(float(scores(total, "drop", "zero").miou), abs=1e-12)
