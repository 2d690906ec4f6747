import csv
import dataclasses
import itertools
import json

import pytest
from study.brute import confused, per_image

from seedbed.errors import UserError
from seedbed.params import CrfParams, StudyParams
from seedbed.seeds.fusion import find_rule
from seedbed.study import searches
from seedbed.study.optima import miou
from seedbed.study.protocol import read_best, run_study
from seedbed.study.refinement import Refinement
from seedbed.study.searches import Task, run_search
from seedbed.study.show import describe_studies
from seedbed.study.split import choose_split
from seedbed.study.trials import Runner

PARAMS = StudyParams(cam_steps=10, saliency_steps=4, crf_images=3, trials=6, crf_trials=4, tune_images=5)


def run(inputs, folder, task, params=PARAMS, sampler="tpe", on_trial=None, crf=CrfParams()):  # noqa: B008
    runner = Runner(folder / "journal", 0, sampler, on_trial)
    return run_search(inputs, params, crf, task, folder / "search", runner)


def tune(inputs, images=5):
    return choose_split(inputs.ids, inputs.labels, images, 0).tune


def others(inputs, images=5):
    return choose_split(inputs.ids, inputs.labels, images, 0).report


@pytest.mark.parametrize("rule", ["threshold", "saliency-gate", "mcis"])
def test_fusion_points_are_scored_on_the_images_that_choose_and_on_all_others(inputs, tmp_path, rule):
    summary = run(inputs, tmp_path, Task("fusion", rule, 7, 5))
    for point in summary["points"].values():
        reached, other = (
            float(miou(sum(per_image(inputs, rule, point["values"], ids).values())))
            for ids in (tune(inputs), others(inputs))
        )
        assert point["miou"] == {"trials": reached, "tune": reached, "report": other}
        assert point["crf"] is None
    assert summary["points"]["published"]["values"] == find_rule(rule).published
    assert summary["images"] == {"tune": 5, "trials": 5, "report": 7}
    assert summary["oracle"] is False
    if rule == "mcis":
        assert summary["optimum"] is summary["regret"] is None
    else:
        best = summary["optimum"]
        assert summary["regret"] == best["miou"] - summary["points"]["chosen"]["miou"]["tune"] >= 0
        assert best["miou"] == float(miou(sum(per_image(inputs, rule, best["values"], tune(inputs)).values())))


@pytest.mark.parametrize("kind", ["crf", "joint"])
def test_winners_are_scored_on_all_images_that_choose(inputs, tmp_path, kind):
    given = {"cam_high": 0.3} if kind == "crf" else None
    summary = run(inputs, tmp_path, Task(kind, "saliency-gate", 4, 5, given))
    for point in summary["points"].values():
        params = CrfParams.model_validate(point["crf"])
        for split, ids in (("trials", tune(inputs)[:3]), ("tune", tune(inputs)), ("report", others(inputs))):
            matrices = confused(inputs, "saliency-gate", point["values"], params, ids)
            assert point["miou"][split] == float(miou(sum(matrices)))
    first = summary["points"]["published"]
    assert CrfParams.model_validate(first["crf"]) == CrfParams()
    assert first["values"] == find_rule("saliency-gate").resolve(given or {})
    assert summary["images"] == {"tune": 5, "trials": 3, "report": 7}


def test_the_files_say_the_same(inputs, tmp_path):
    heard = []
    folder = tmp_path / "search"
    folder.mkdir()
    for leftover in ("importance.png", "notes.txt"):
        (folder / leftover).write_text("of an earlier run")
    summary = run(inputs, tmp_path, Task("joint", "threshold", 5, "all"), on_trial=heard.append)
    assert json.loads((folder / "summary.json").read_text()) == summary
    best = read_best(folder / "best.yaml")
    chosen = summary["points"]["chosen"]
    assert (best.rules, best.crf) == ({"threshold": chosen["values"]}, CrfParams.model_validate(chosen["crf"]))
    with (folder / "trials.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["state"], float(row["miou"]), json.loads(row["values"])) for row in rows] == [
        (trial.state, trial.miou, trial.values) for trial in heard
    ]
    assert all(float(row["seconds"]) >= 0 for row in rows)
    assert summary["trials"] + summary["pruned"] == 5
    assert summary["images"]["tune"] == 12
    for name in summary["plots"]:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "split.json").read_text()) == {"tune": list(inputs.ids), "report": []}
    assert summary["oracle"] is True
    assert all(point["miou"]["report"] is None for point in summary["points"].values())
    written = {"summary.json", "best.yaml", "trials.csv", "split.json", *summary["plots"]}
    assert {path.name for path in folder.iterdir()} == {*written, "notes.txt"}


def test_a_study_that_ends_in_an_error_leaves_nothing_of_an_earlier_one(inputs, tmp_path, monkeypatch):
    run(inputs, tmp_path, Task("fusion", "threshold", 3, 5))
    assert json.loads((tmp_path / "search" / "split.json").read_text()) == {
        "tune": list(tune(inputs)),
        "report": list(others(inputs)),
    }
    monkeypatch.setattr(Runner, "run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(inputs, tmp_path, Task("fusion", "threshold", 3, 5))
    assert list((tmp_path / "search").iterdir()) == []


@pytest.mark.parametrize("kind", ["crf", "joint"])
@pytest.mark.parametrize("trials", [1, 6])
def test_a_setting_is_scored_once(inputs, tmp_path, monkeypatch, kind, trials):
    scored = []

    class Spy(Refinement):
        def refined(self, ids, params):
            scored.append((tuple(sorted(self.values.items())), params.model_dump_json(), len(ids)))
            return super().refined(ids, params)

    monkeypatch.setattr(searches, "Refinement", Spy)
    smooth = CrfParams(gaussian_xy=10, gaussian_weight=10, bilateral_weight=0)  # easy to beat
    summary = run(inputs, tmp_path, Task(kind, "threshold", trials, 5), crf=smooth)
    assert (summary["points"]["chosen"] == summary["points"]["published"]) == (trials == 1)
    assert len(scored) == len(set(scored)) == 2 * min(trials, 2)  # on those that choose, and on the others


@pytest.mark.parametrize("kind", ["crf", "joint"])
def test_two_objectives_have_a_front_from_cheap_to_dear(inputs, tmp_path, kind):
    summary = run(inputs, tmp_path, Task(kind, "threshold", 6, 5, timed=True))
    assert summary["objectives"] == ["miou", "seconds"]
    assert summary["pruner"] is None
    assert summary["pruned"] == 0
    front = summary["pareto"]
    for cheap, dear in itertools.pairwise(front):
        assert cheap["seconds"] < dear["seconds"]
        assert cheap["miou"] < dear["miou"]
    chosen, published = (summary["points"][name]["miou"] for name in ("chosen", "published"))
    assert front[-1]["miou"] >= chosen["trials"]
    assert chosen["tune"] >= published["tune"]
    assert summary["points"]["chosen"]["seconds"] > 0
    assert "pareto.png" in summary["plots"]


def test_more_trials_continue_the_study(inputs, tmp_path):
    task = Task("crf", "threshold", 3, 5)
    few = run(inputs, tmp_path, task)
    heard = []
    more = run(inputs, tmp_path, dataclasses.replace(task, trials=5), on_trial=heard.append)
    whole = run(inputs, tmp_path / "whole", dataclasses.replace(task, trials=5))
    assert few["fingerprint"] == more["fingerprint"]
    assert len(heard) == 5
    assert more["points"] == whole["points"]


def test_the_study_of_the_protocol_is_found_again(inputs, tmp_path):
    runner = Runner(tmp_path / "journal", 0)
    params = PARAMS.model_copy(update={"rules": ["threshold"], "curve_seeds": 0})
    result = run_study(inputs, params, CrfParams(), "threshold", tmp_path / "study", runner, bootstrap=10)
    chosen = result["rules"]["threshold"]["points"]["chosen"]["values"]
    fusion = run(inputs, tmp_path, Task("fusion", "threshold", 6, 5))
    assert fusion["points"]["chosen"]["values"] == chosen
    crf = run(inputs, tmp_path, Task("crf", "threshold", 4, 5, chosen))
    assert crf["points"]["chosen"]["crf"] == result["crf"]["points"]["chosen"]["params"]
    assert crf["points"]["chosen"]["miou"]["tune"] == result["crf"]["points"]["chosen"]["miou"]["tune"]
    found = [(one.kind, one.images) for one in describe_studies(tmp_path / "journal")]
    assert found == [("fusion/threshold", 5), ("crf", 3)]


@pytest.mark.parametrize("kind", ["fusion", "crf", "joint"])
@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_other_samplers_run(inputs, tmp_path, kind, sampler):
    summary = run(inputs, tmp_path, Task(kind, "saliency-gate", 3, 5), sampler=sampler)
    assert summary["sampler"] == sampler
    assert summary["trials"] + summary["pruned"] == 3


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Task("fusion", "thresold", 3, 5), "unknown fusion rule"),
        (Task("fusion", "argmax", 3, 5), "argmax has no parameters"),
        (Task("joint", "argmax", 3, 5), "argmax has no parameters"),
        (Task("fusion", "threshold", 3, 5, timed=True), "takes the same time"),
        (Task("crf", "threshold", 3, 0), "needs labelled images"),
        (Task("crf", "threshold", 3, 12), "leave none of the 12"),
        (Task("crf", "threshold", 3, 5, {"low": 1}), "unknown parameter of rule threshold 'low'"),
    ],
)
def test_what_cannot_be_searched_is_said(inputs, tmp_path, task, message):
    with pytest.raises(UserError, match=message):
        run(inputs, tmp_path, task)
    assert not (tmp_path / "search").exists()


def test_images_of_the_evaluation_may_not_choose(inputs, tmp_path):
    shared = dataclasses.replace(inputs, evaluation=frozenset(tune(inputs)[-1:]))
    with pytest.raises(UserError, match=r"1 of the 5 images .* data.val"):
        run(shared, tmp_path, Task("fusion", "threshold", 3, 5))


def test_a_rule_without_parameters_has_a_crf(inputs, tmp_path):
    summary = run(inputs, tmp_path, Task("crf", "argmax", 3, 5))
    assert summary["points"]["chosen"]["values"] == {}
    assert read_best(tmp_path / "search" / "best.yaml").rules == {"argmax": {}}
