from __future__ import annotations

import pytest

from seedbed.files import read_json, write_json
from seedbed.report.page import label, tints
from seedbed.report.results import read_results
from seedbed.report.sweeps import Tried, first_release, place, rule_figure


def draw(workspace, rule):
    results = read_results(workspace.paths, workspace.params)
    return rule_figure(results, rule, tints(results.methods), label)


@pytest.fixture
def rename_axes(workspace):
    """Return a function that gives the axes of a rule other names, in every study."""

    def rename(rule, *names):
        for method in workspace.methods:
            path = workspace.paths.study(method) / "study.json"
            study = read_json(path)
            for axis, name in zip(study["rules"][rule]["surface"]["axes"], names, strict=True):
                axis["parameter"] = name
            write_json(path, study)

    return rename


@pytest.mark.parametrize(
    ("values", "spot"),
    [
        ({"cam": 0.3}, (0.3, 0.3)),
        ({"cam_low": 0.1, "cam_high": 0.3}, (0.1, 0.3)),
        ({"cam_high": 0.3}, (0.3, 0.3)),
        ({"saliency": 0.3, "cam_low": 0.1}, None),
    ],
)
def test_a_setting_is_placed_by_the_names_of_its_parameters(values, spot):
    assert place(values, "cam") == spot


def test_one_threshold_makes_a_curve_and_two_make_maps(workspace):
    assert str(draw(workspace, "threshold")["curve"]).count("marker") == 2 * 3
    maps = draw(workspace, "saliency-gate")["maps"]
    assert [str(one).count("<title>") for one in maps.values()] == [3, 3]
    assert all(str(one).count('class="band') == 1 for one in maps.values())


def test_settings_without_a_place_on_the_axes_are_not_marked(workspace, rename_axes):
    rename_axes("threshold", "temperature")
    rename_axes("saliency-gate", "cam", "depth")
    curve = str(draw(workspace, "threshold")["curve"])
    assert "temperature" in curve
    assert "marker" not in curve
    assert all(
        "marker" not in str(one) and "depth" in str(one) for one in draw(workspace, "saliency-gate")["maps"].values()
    )


def test_a_sweep_over_three_thresholds_is_not_drawn(workspace):
    for method in workspace.methods:
        path = workspace.paths.study(method) / "study.json"
        study = read_json(path)
        study["rules"]["threshold"]["surface"] = {
            "axes": [{"parameter": name, "values": [0.0]} for name in ("a", "b", "c")],
            "miou": {"report": [[[0.5]]]},
        }
        write_json(path, study)
    assert draw(workspace, "threshold") is None


def test_rules_that_are_not_swept_have_no_figure(workspace):
    assert draw(workspace, "mcis") is None


def test_the_best_of_the_first_release_is_that_of_all_images(workspace):
    results = read_results(workspace.paths, workspace.params)
    found = first_release(results, "threshold")
    assert (found.low, found.high, found.variant) == (0.15, 0.17, "drop-zero")
    assert found.best == {"cam": Tried(pytest.approx(0.21), 0.16), "eps": Tried(pytest.approx(0.3225), 0.16)}
    assert first_release(results, "saliency-gate") is None
    assert first_release(results, "no such rule") is None
