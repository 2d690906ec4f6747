from __future__ import annotations

import pytest

from seedbed.errors import UserError
from seedbed.evaluate.confusion import load_confusions, save_confusions
from seedbed.files import read_json, write_json
from seedbed.report.results import read_results


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("reports/metrics/pseudo-eps.json", "dvc repro pseudo@eps, or seedbed pseudo --method eps"),
        ("reports/confusion/pseudo-cam.npz", "dvc repro pseudo@cam"),
        ("reports/metrics/evaluate-segmenter-eps.json", "seedbed evaluate-segmenter --method eps"),
        ("reports/confusion/evaluate-segmenter-eps.npz", "dvc repro evaluate-segmenter@eps"),
        ("reports/study/cam/study.json", "dvc repro study@cam"),
        ("reports/study/cam/confusion-threshold-oracle.npz", "seedbed study --method cam"),
        ("reports/metrics/evaluate-saliency.json", "dvc repro evaluate-saliency"),
    ],
)
def test_a_missing_file_is_named_with_the_command_that_makes_it(workspace, missing, command):
    (workspace.root / missing).unlink()
    with pytest.raises(UserError) as caught:
        read_results(workspace.paths, workspace.params)
    assert missing in caught.value.message
    assert command in caught.value.fix


def test_methods_must_be_measured_on_the_same_images(workspace):
    path = workspace.paths.confusion("pseudo", "eps")
    ids, confusions = load_confusions(path)
    save_confusions(path, [*ids[:-1], "another"], confusions)
    with pytest.raises(UserError, match="'cam' and 'eps' were measured on different images"):
        read_results(workspace.paths, workspace.params)


def test_metrics_and_matrices_must_come_from_the_same_run(workspace):
    path = workspace.paths.metrics("pseudo", "eps")
    write_json(path, read_json(path) | {"images": 5})
    with pytest.raises(UserError, match=r"counts 5 images, .* holds 24"):
        read_results(workspace.paths, workspace.params)


@pytest.mark.parametrize("content", ["step,lr,total\n20,0.01,lots\n", "step,lr,total\n20,0.01\n", "lr,total\n", ""])
def test_a_damaged_curve_is_named(workspace, content):
    path = workspace.paths.curves("train-segmenter", "cam")
    path.write_text(content)
    with pytest.raises(UserError, match=r"train-segmenter-cam\.csv is no table"):
        read_results(workspace.paths, workspace.params)


@pytest.mark.parametrize("content", [None, "step,lr,total\n"])
def test_ready_made_saliency_maps_come_without_a_training_curve(workspace, content):
    path = workspace.paths.curves("train-saliency")
    path.unlink() if content is None else path.write_text(content)
    stages = [curve.stage for curve in read_results(workspace.paths, workspace.params).curves]
    assert "train-saliency" not in stages
    assert len(stages) == 4


def test_only_runs_behind_the_results_are_listed(workspace):
    own = {record.name for record in read_results(workspace.paths, workspace.params).records}
    record = workspace.paths.record("train-localiser", "cam").read_text()
    workspace.paths.record("train-localiser", "mcis").write_text(record.replace('"cam"', '"mcis"'))
    workspace.paths.record("retired").write_text("no record at all")
    assert {record.name for record in read_results(workspace.paths, workspace.params).records} == own
    assert own == {
        "train-saliency",
        *(f"train-{kind}-{name}" for kind in ("localiser", "segmenter") for name in ("cam", "eps")),
    }
