from __future__ import annotations

import pytest
from report import made_study

from seedbed.files import read_json, write_json
from seedbed.report.page import label, tints
from seedbed.report.results import read_results
from seedbed.report.sweeps import Style, Tried, first_release, geometric, place, rule_figure


def draw(workspace, rule):
    results = read_results(workspace.paths, workspace.params)
    return rule_figure(results, rule, Style(tints(results.methods), label))


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
    assert str(draw(workspace, "threshold")["miou"]["curve"]).count("marker") == 2 * 3
    maps = draw(workspace, "saliency-gate")["miou"]["maps"]
    assert [str(one).count("<title>") for one in maps.values()] == [3, 3]
    assert all(str(one).count('class="band') == 1 for one in maps.values())


def test_other_measures_are_drawn_beside_the_score(workspace):
    figure = draw(workspace, "threshold")
    assert set(figure["measures"]) == {"precision", "recall", "coverage"}
    assert str(figure["measures"]["precision"]["curve"]).count("marker") == 2 * 3
    assert "Precision, %" in figure["measures"]["precision"]["curve"]
    assert figure["measures"]["coverage"] == {"constant": 1.0}
    assert figure["band"] == {}
    maps = draw(workspace, "saliency-gate")["measures"]["recall"]
    assert maps["limits"][0] < maps["limits"][1] < 1
    assert [str(one).count("<title>") for one in maps["maps"].values()] == [3, 3]


def test_the_ignore_band_has_the_chosen_setting_alone(workspace):
    band = draw(workspace, "saliency-gate")["band"]
    assert list(band) == ["miou", "precision", "recall", "coverage"]
    for figure in band.values():
        assert [str(one).count("EPS, chosen: ") for one in figure["maps"].values()] == [0, 1]
        assert all(str(one).count("<title>") == 1 for one in figure["maps"].values())
        assert all("upper saliency threshold" in str(one) for one in figure["maps"].values())


def test_a_measure_without_a_value_is_not_drawn(workspace):
    for method in workspace.methods:
        path = workspace.paths.study(method) / "study.json"
        study = read_json(path)
        study["rules"]["threshold"]["surface"]["precision"]["report"] = [None] * 12
        write_json(path, study)
    assert set(draw(workspace, "threshold")["measures"]) == {"recall", "coverage"}


def test_a_study_of_the_first_release_has_its_scores_alone(workspace):
    workspace.change_studies(made_study.of_the_first_release)
    figure = draw(workspace, "saliency-gate")
    assert (figure["measures"], figure["band"]) == ({}, {})
    assert len(figure["miou"]["maps"]) == 2


@pytest.mark.parametrize(
    ("axis", "spaced"),
    [
        ([1, 2, 4, 8, 16, 64], True),
        ([0, 0.25, 0.5, 0.75], False),
        ([0.15, 0.16, 0.17], False),
        ([0.0, 1.0, 2.0, 4.0], False),
        ([1, 64], False),
    ],
)
def test_values_are_drawn_as_they_are_spaced(axis, spaced):
    assert geometric(axis) is spaced


def test_an_axis_of_ratios_is_logarithmic(workspace):
    curve = str(draw(workspace, "alpha")["miou"]["curve"])
    assert "alpha (logarithmic)" in curve
    assert all(f">{tick}</text>" in curve for tick in (1, 2, 4, 8, 16, 32, 64))


def test_settings_without_a_place_on_the_axes_are_not_marked(workspace, rename_axes):
    rename_axes("threshold", "temperature")
    rename_axes("saliency-gate", "cam", "depth")
    curve = str(draw(workspace, "threshold")["miou"]["curve"])
    assert "temperature" in curve
    assert "marker" not in curve
    assert all(
        "marker" not in str(one) and "depth" in str(one)
        for one in draw(workspace, "saliency-gate")["miou"]["maps"].values()
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
