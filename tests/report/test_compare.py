from __future__ import annotations

import csv
import json

import pytest

from seedbed.evaluate.bootstrap import paired
from seedbed.report.compare import compare, write_plots
from seedbed.report.results import read_results


def test_differences_are_paired_bootstraps_of_the_stored_matrices(workspace):
    results = read_results(workspace.paths, workspace.params)
    found = compare(results, workspace.params)["methods"]["eps"]["against_cam"]
    for part, measured in results.measured.items():
        expected = paired(measured["eps"].confusions, measured["cam"].confusions, samples=100, seed=0)
        assert found[part] == {"difference": expected.difference, "interval": [expected.low, expected.high]}
        assert found[part]["difference"] == pytest.approx(
            measured["eps"].metrics["miou"] - measured["cam"].metrics["miou"]
        )


def test_every_number_carries_its_split_and_its_image_count(workspace):
    comparison = compare(read_results(workspace.paths, workspace.params), workspace.params)
    for method in comparison["methods"].values():
        assert method["pseudo"]["split"] == "train without 8 tuning images"
        assert method["pseudo"]["images"] == 24
        assert (method["val"]["split"], method["val"]["images"]) == ("val", 16)
    assert "against_cam" not in comparison["methods"]["cam"]
    json.dumps(comparison, allow_nan=False)


def test_same_rule_compares_at_the_same_point(workspace):
    table = compare(read_results(workspace.paths, workspace.params), workspace.params)["same_rule"]
    assert list(table) == ["threshold", "alpha", "saliency-gate", "mcis", "argmax"]
    assert set(table["mcis"]["eps"]) == {"published", "chosen"}
    assert table["mcis"]["eps"]["published"]["against_cam"]["difference"] > 0
    assert set(table["threshold"]["eps"]) == {"published", "chosen", "grid", "oracle"}
    assert table["threshold"]["eps"]["chosen"]["values"] == {"threshold": 0.3}
    assert table["threshold"]["eps"]["oracle"]["against_cam"]["difference"] > 0
    assert "against_cam" not in table["threshold"]["cam"]["chosen"]


@pytest.mark.parametrize("methods", [("eps",), ("eps", "mcis")])
def test_without_plain_cam_nothing_is_compared_with_it(tmp_path, make_workspace, methods):
    workspace = make_workspace(methods)
    comparison = compare(read_results(workspace.paths, workspace.params), workspace.params)
    assert comparison["baseline"] is None
    assert not any("against_cam" in found for found in comparison["methods"].values())


def test_without_masks_there_is_no_difference_and_no_table_of_classes(workspace, tmp_path):
    workspace.drop_masks()
    results = read_results(workspace.paths, workspace.params)
    found = compare(results, workspace.params)
    assert found["methods"]["eps"]["pseudo"]["miou"] is None
    assert found["methods"]["eps"]["against_cam"]["pseudo"] is None
    assert found["methods"]["eps"]["against_cam"]["val"]["difference"] > 0
    assert found["same_rule"]["threshold"] == {"cam": {}, "eps": {}}
    json.dumps(found, allow_nan=False)
    write_plots(tmp_path / "plots", results)
    assert {path.name for path in (tmp_path / "plots").rglob("*.csv")} == {"cam-val.csv", "eps-val.csv"}


def test_plots_hold_the_threshold_curve_and_the_classes(workspace, tmp_path):
    write_plots(tmp_path / "plots", read_results(workspace.paths, workspace.params))
    assert sum("," in line for line in (tmp_path / "plots" / "alpha" / "cam.csv").read_text().splitlines()) == 14
    with (tmp_path / "plots" / "threshold" / "eps.csv").open() as stream:
        curve = [(float(row["threshold"]), float(row["miou"])) for row in csv.DictReader(stream)]
    assert len(curve) == 12
    assert max(curve, key=lambda point: point[1])[0] == pytest.approx(4 / 12)
    with (tmp_path / "plots" / "per-class" / "cam-val.csv").open() as stream:
        assert next(row["class"] for row in csv.DictReader(stream)) == "background"
    assert not (tmp_path / "plots" / "saliency-gate").exists()
