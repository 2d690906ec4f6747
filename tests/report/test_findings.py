from __future__ import annotations

import json

import pytest
from report import made_study

from seedbed.files import read_json, write_json
from seedbed.report.compare import compare
from seedbed.report.results import read_results


def findings(workspace):
    found = compare(read_results(workspace.paths, workspace.params), workspace.params)["studies"]
    json.dumps(found, allow_nan=False)
    return found


def test_every_number_stands_with_the_images_it_is_on(workspace):
    found = findings(workspace)["eps"]
    study = read_json(workspace.paths.study("eps") / "study.json")["rules"]["threshold"]
    one = found["rules"]["threshold"]
    assert found["images"] == {"tune": 8, "report": 24, "all": 32}
    assert one["tune"]["chosen"] == {"values": {"threshold": 0.3}, "miou": study["points"]["chosen"]["miou"]["tune"]}
    assert one["tune"]["optimum"]["miou"] == study["points"]["grid"]["miou"]["tune"]
    assert one["tune"]["regret"] == 0.001
    assert one["tune"]["interval"] == {name: study["optimum"][name] for name in ("values", "miou", "samples")}
    assert one["all"]["oracle"]["miou"] - one["all"]["chosen"]["miou"] == pytest.approx(one["all"]["oracle_gap"])
    assert [best["class"] for best in one["all"]["per_class"]] == ["kite", "boat", "lantern", "cactus", "tram"]
    assert [point["tune_images"] for point in one["curve"]] == [0, 2, 5, 12, "all"]
    assert [point["oracle"] for point in one["curve"]] == [False] * 4 + [True]


def test_rules_that_are_not_swept_have_no_optimum(workspace):
    rule = findings(workspace)["cam"]["rules"]["mcis"]
    assert rule["tune"]["chosen"]["values"]["peak"] == 0.3
    assert [rule["tune"][name] for name in ("optimum", "interval", "regret")] == [None] * 3
    assert [rule["all"][name] for name in ("oracle", "oracle_gap", "per_class")] == [None] * 3
    assert len(rule["curve"]) == 5


def test_what_is_undefined_of_a_curve_is_left_out(workspace):
    path = workspace.paths.study("cam") / "study.json"
    study = read_json(path)
    study["rules"]["threshold"]["curve"][1]["low"] = None
    study["rules"]["threshold"]["curve"][2]["miou"] = None
    write_json(path, study)
    assert [one["tune_images"] for one in findings(workspace)["cam"]["rules"]["threshold"]["curve"]] == [0, 12, "all"]


def test_without_masks_there_are_no_findings(workspace):
    found = findings(workspace.change_studies(made_study.without_masks))["cam"]
    assert (found["rules"], found["crf"], found["oracle"]) == ({}, None, False)


def test_an_earlier_study_lacks_what_it_did_not_measure(workspace):
    found = findings(workspace.change_studies(made_study.of_the_first_release))["cam"]
    one = found["rules"]["threshold"]
    assert one["tune"]["regret"] == 0.001
    assert (one["tune"]["interval"], one["all"]["oracle_gap"], one["all"]["per_class"]) == (None, None, None)
    assert (one["curve"], found["crf"]) == ([], None)


def test_a_study_that_all_images_chose_is_an_oracle(workspace):
    assert findings(workspace.change_studies(made_study.tuned_on_all))["eps"]["oracle"] is True
