from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from report import made_study
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from seedbed.errors import UserError
from seedbed.files import read_json, write_json
from seedbed.report import page

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,1000",
)  # fmt: skip
CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture
def browser(tmp_path):
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("no chromium and chromedriver on this machine: the page was not opened in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    yield driver
    driver.quit()


def write(workspace):
    page.write_comparison(workspace.paths, workspace.params, workspace.sources)
    return workspace.paths.page.read_text()


def test_the_page_in_a_browser(workspace, browser):
    write(workspace)
    browser.get(workspace.paths.page.as_uri())
    rows = browser.find_elements(By.CSS_SELECTOR, "#methods tbody tr")
    assert [row.find_element(By.TAG_NAME, "th").text for row in rows] == ["CAM", "EPS"]
    broken = "return [...document.images].filter(one => !(one.complete && one.naturalWidth > 0)).map(one => one.alt)"
    assert browser.execute_script(broken) == []
    assert browser.execute_script("return document.images.length") > 12 * 7
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    requests = (
        "return performance.getEntriesByType('resource').map(one => one.name).filter(name => !name.startsWith('data:'))"
    )
    assert browser.execute_script(requests) == []
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.find_element(By.CSS_SELECTOR, "#methods th:nth-child(2) button").click()
    assert browser.find_element(By.CSS_SELECTOR, "#methods tbody th").text == "EPS"
    assert browser.get_log("browser") == []


def test_the_page_says_what_each_number_is(workspace):
    html = write(workspace)
    for text in (
        "train without 8 tuning images, 24 images",
        "val, 16 images",
        "chosen by the study",
        "no CRF",
        "error-skip",
    ):
        assert text in html
    assert "0123456789abcdef0123456789abcdef" in html
    assert "http://127.0.0.1:5000/#/runs/" in html
    assert "not in MLflow: no answer" in html
    assert workspace.paths.page.stat().st_size < 3_000_000


def test_the_twin_is_the_returned_comparison(workspace):
    comparison = page.write_comparison(workspace.paths, workspace.params, workspace.sources)
    assert json.loads(workspace.paths.comparison.read_text()) == json.loads(json.dumps(comparison))


def test_equal_inputs_give_equal_bytes(workspace):
    assert write(workspace) == write(workspace)


def test_without_tuning_images_there_are_no_curves_and_the_page_says_so(workspace):
    html = write(workspace.change_studies(made_study.without_masks))
    assert "Nothing was swept" in html
    assert "How far the choice is from the best" not in html
    for name in ("same-rule", "labelled", "crf"):
        assert "Not measured: no masks of training images were read" in section(html, name)
        assert "<table" not in section(html, name)


@pytest.mark.parametrize("methods", [("cam",), ("cam", "eps")])
def test_without_masks_of_training_images_the_page_says_so(make_workspace, methods):
    html = write(make_workspace(methods).drop_masks())
    table = re.search(r'<table class="stack" id="methods".*?</table>', html, re.S).group()
    assert table.count("no masks of these images") == 2 * len(methods) - 1  # scores, and differences to plain CAM
    assert "have no score, for there are no masks" in html
    assert html.count("no mask of this image") == (12 if len(methods) > 1 else 4)


def test_when_nothing_could_be_scored_there_still_is_a_page(workspace):
    workspace.drop_masks()
    for method in workspace.methods:
        unscored = read_json(workspace.paths.metrics("pseudo", method)) | {"crf": False}
        write_json(workspace.paths.metrics("evaluate-segmenter", method), unscored)
        shutil.copy(
            workspace.paths.confusion("pseudo", method), workspace.paths.confusion("evaluate-segmenter", method)
        )
    assert "a segmenter trained on them has none either." in write(workspace)


def test_without_saliency_test_sets_the_page_says_so(workspace):
    write_json(workspace.paths.metrics("evaluate-saliency"), {"data": "tiny", "source": "folder", "sets": {}})
    assert "No saliency test set was scored." in write(workspace)


@pytest.mark.parametrize(("source", "text"), [("fpn", "masks of salient objects"), ("folder", "maps were ready-made")])
def test_the_page_says_where_the_saliency_maps_come_from(workspace, source, text):
    saliency = workspace.params.saliency.model_copy(update={"source": source})
    params = workspace.params.model_copy(update={"saliency": saliency})
    page.write_comparison(workspace.paths, params, workspace.sources)
    html = workspace.paths.page.read_text()
    assert text in html
    assert ("trained on masks of salient objects" in html) == (source == "fpn")


def test_crf_parameters_are_printed_with_who_chose_them(workspace):
    for method, bilateral in (("cam", 80.0), ("eps", 19.761)):
        path = workspace.paths.metrics("pseudo", method)
        write_json(path, read_json(path) | {"crf": {"iterations": 5, "bilateral_xy": bilateral}})
    path = workspace.paths.metrics("evaluate-segmenter", "eps")
    write_json(path, read_json(path) | {"crf": True})
    html = write(workspace)
    assert "CRF: bilateral xy 80, iterations 5; from params.yaml" in html
    assert "CRF: bilateral xy 19.8, iterations 5; chosen by the study" in html
    assert "bilateral xy 80, floor 1e-05, gaussian weight 3, gaussian xy 3, iterations 10; from params.yaml" in html


@pytest.mark.parametrize("methods", [("cam",), ("eps",), ("cam", "eps", "mcis", "sgan", "jsws", "sodwsss")])
def test_any_set_of_methods_makes_a_page(make_workspace, methods):
    html = write(make_workspace(methods))
    table = re.search(r'<table class="stack" id="methods".*?</table>', html, re.S).group()
    assert table.count('<th scope="row">') == len(methods)
    assert table.count("Against CAM</th>") == (2 if "cam" in methods else 0)


def test_every_method_of_seven_has_its_colour():
    methods = ("cam", "eps", "mcis", "sgan", "jsws", "sodwsss", "oaa")
    tints = page.tints(methods)
    assert len(set(tints.values())) == len(methods)
    style = (Path(page.__file__).parent / "templates" / "style.css").read_text()
    for tint in tints.values():
        assert f".{tint} {{ --c: var(--{tint}); }}" in style
        assert len(re.findall(rf"--{tint}: #", style)) == 2  # light and dark


def section(html, name):
    return re.search(rf'<section id="{name}".*?</section>', html, re.S).group()


def test_rules_without_a_sweep_stand_beside_the_others(make_workspace):
    html = write(make_workspace(("cam", "eps", "mcis")))
    rules = re.findall(r'<th colspan="4" scope="rowgroup">(\S+) ', section(html, "same-rule"))
    assert rules == ["threshold", "alpha", "saliency-gate", "mcis", "argmax"]
    assert section(html, "same-rule").count("this rule is not swept") == 3
    assert section(html, "same-rule").count("nothing to choose") == 3
    assert "conflict 0.99, foreground 0.3, peak 0.95, salient 32" in section(html, "same-rule")
    assert "below the exact optimum. The values of mcis are searched by Optuna alone" in section(html, "notes")
    assert re.findall(r"<h3.*?>(.*?)</h3>", section(html, "thresholds")) == [
        *made_study.SWEPT,
        "How far the choice is from the best",
    ]


def test_without_a_swept_rule_the_page_says_so(workspace):
    params = workspace.params.study.model_copy(update={"rules": ["mcis"]})
    for method in workspace.methods:
        path = workspace.paths.study(method) / "study.json"
        study = read_json(path)
        write_json(path, study | {"rules": {"mcis": study["rules"]["mcis"]}})
    page.write_comparison(workspace.paths, workspace.params.model_copy(update={"study": params}), workspace.sources)
    html = workspace.paths.page.read_text()
    assert "Nothing was swept: no rule in" in section(html, "thresholds")
    assert "the exact sweep over every setting checks it" not in section(html, "notes")


def test_the_sweep_of_the_first_release_is_no_result(workspace):
    html = write(workspace)
    thresholds = section(html, "thresholds")
    assert thresholds.count("chosen on the images it is scored on: this is no result") == 1
    row = r"EPS</th><td>32\.[23]</td><td>0\.16</td>"
    assert re.search(row, thresholds)
    assert not re.search(row, html.replace(thresholds, ""))


def text(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def rows(html, label):
    """The cells of every row of a method, as text."""
    found = re.findall(rf'<tr[^>]*>\s*<th scope="row">(?:<[^>]*>)*{label}.*?</tr>', html, re.S)
    return [
        [" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in re.findall(r"<td.*?</td>", row, re.S)]
        for row in found
    ]


def test_regret_gap_and_interval_of_the_optimum_stand_together(workspace):
    html = section(write(workspace), "thresholds")
    table = re.search(r'<table class="stack choice">.*?</table>', html, re.S).group()
    heads = [text(head) for head in re.findall(r'<th scope="col">(.*?)</th>', table)]
    assert heads[4:] == ["Regret tuning images", "Oracle all images", "Oracle gap all images"]
    threshold, alpha, gate = rows(table, "EPS")
    interval = "threshold 0.24 to 0.39 mIoU 58.5 to 67.5 200 samples"
    assert threshold == ["62.5 threshold 0.3", "62.6 threshold 0.3", interval, "0.1", "63.7 threshold 0.24", "1.2"]
    assert (alpha[3], gate[3]) == ("0.0", "&lt; 0.1")
    assert gate[2].startswith("cam low 0.16 to 0.26 cam high 0.28 to 0.455 saliency low 0.24")
    assert "<strong" not in table


def test_the_best_of_each_class_is_an_oracle(workspace):
    html = section(write(workspace), "thresholds")
    assert html.count("<summary>Best setting of each class (oracle)</summary>") == 3
    table = re.search(r'aria-label="Best setting of each class, threshold".*?</table>', html, re.S).group()
    assert "EPS (oracle)" in table
    assert '<td>lantern</td><td>40.0<span class="setting-of">threshold 0.3</span></td><td>62.5' in table
    assert table.count("not in the truth") == 2


def test_measures_of_the_sweep_are_folded_up(workspace):
    html = section(write(workspace), "thresholds")
    assert html.count("<summary>Precision, recall and coverage</summary>") == 3
    assert html.count("<summary>Ignore band</summary>") == 1
    assert html.count("Coverage is 100.0 % at every setting of every method.") == 3
    assert "<details open" not in html


def test_the_curve_over_labelled_images_says_what_each_point_is(workspace):
    html = section(write(workspace), "labelled")
    heads = re.findall(r"<th scope=\"col\">(.*?)</th>", html)
    assert heads == ["Method and rule", "0 (published)", "2 labelled", "5 labelled", "12 labelled", "all (oracle)"]
    (eps,) = rows(html, "EPS, threshold")
    assert (eps[0], eps[-1]) == ("58.5 [55.5, 60.0]", "63.7 [60.7, 65.2]")
    assert "5 draws of n images choose, and each choice is scored on all other images" in html
    assert "scored on all 32 images" in html


def test_the_curve_of_a_rule_that_is_not_swept_is_of_settings_drawn_at_random(workspace):
    assert "drawn at random" not in section(write(workspace), "labelled")
    path = workspace.paths.metrics("pseudo", "eps")
    write_json(path, read_json(path) | {"rule": "mcis", "values": made_study.RULES["mcis"]})
    html = section(write(workspace), "labelled")
    assert "of mcis, which no sweep covers, it is the best of the published setting and others drawn at random" in html
    assert len(rows(html, "EPS, mcis")) == 1


def test_a_method_without_a_curve_is_not_in_the_chart(workspace):
    path = workspace.paths.study("cam") / "study.json"
    study = read_json(path)
    study["rules"]["threshold"]["curve"] = None
    write_json(path, study)
    html = section(write(workspace), "labelled")
    assert rows(html, "CAM") == []
    assert len(rows(html, "EPS")) == 1


def test_the_crf_adds_a_paired_gain_on_the_report_images(workspace):
    html = section(write(workspace), "crf")
    (eps,) = rows(html, "EPS")
    assert eps[0] == "62.5 [59.5, 65.5] threshold 0.3"
    assert eps[1].startswith("62.1 [59.1, 65.1] adds \N{MINUS SIGN}0.4 [\N{MINUS SIGN}1.0, +0.2] includes 0")
    assert eps[2] == "65.6 [62.6, 68.6] adds +3.1 [+2.0, +4.0] bilateral xy 19.8, iterations 5"
    assert eps[3].startswith("9 trials, and 3 stopped early each on 4 tuning images: 64.5 as published, 67.5 tuned")
    assert "on the 24 images that chose nothing" in html


def test_a_study_of_the_first_release_makes_a_page(workspace):
    html = write(workspace.change_studies(made_study.of_the_first_release))
    assert "the study drew no sets of labelled images" in section(html, "labelled")
    assert "the study tried no CRF settings" in section(html, "crf")
    assert "<details" not in html
    threshold = rows(re.search(r'<table class="stack choice">.*?</table>', html, re.S).group(), "EPS")[0]
    assert (threshold[2], threshold[3], threshold[5]) == ("&ndash;", "0.1", "\N{EN DASH}")


def test_when_all_images_choose_every_choice_is_called_an_oracle(workspace):
    html = write(workspace.change_studies(made_study.tuned_on_all))
    table = re.search(r'<table class="stack" id="methods".*?</table>', html, re.S).group()
    assert table.count("oracle: scored on the images that chose") == 2
    assert table.count('<span class="score oracle">') == 2
    assert len(re.findall(r"<strong", table)) == 1  # the difference on validation images, which chose nothing
    lede = re.search(r'<p class="lede">.*?</p>', html, re.S).group()
    assert "mIoU as an oracle, chosen and scored on 24 training images" in lede
    assert lede.count("<strong") == 1
    assert "Chosen on 32 images, all there are (oracle)" in html
    assert "CRF tuned (oracle)" in section(html, "crf")
    assert "<strong" not in section(html, "crf")
    assert "chose nothing" not in html
    bold = re.findall(r'<td data-column="(.*?)">\s*<strong', section(html, "same-rule"))
    assert set(bold) == {"As published"}


def test_oracles_are_never_bold(workspace):
    html = write(workspace)
    bold = re.findall(r'<td data-column="(.*?)">\s*<strong', section(html, "same-rule"))
    assert set(bold) == {"As published", "Chosen on tuning images"}
    cells = re.findall(r'<td data-column="Oracle.*?</td>', html, re.S)
    assert len(cells) > 10
    assert not any("<strong" in cell for cell in cells)


def test_a_hostile_name_stays_text(workspace):
    path = workspace.paths.metrics("pseudo", "eps")
    write_json(path, read_json(path) | {"split": "<script>alert(1)</script>"})
    assert "<script>alert" not in write(workspace)


def test_nothing_is_written_when_something_is_missing(workspace):
    shutil.rmtree(workspace.paths.predictions("eps"))
    with pytest.raises(UserError, match="seedbed evaluate-segmenter --method eps"):
        write(workspace)
    assert not workspace.paths.page.exists()
    assert not workspace.paths.comparison.exists()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"threshold": 0.25}, "threshold 0.25"),
        ({"cam_high": 0.3, "cam_low": 0.3, "saliency_high": 0.5, "saliency_low": 0.2}, "cam 0.3, saliency 0.2 to 0.5"),
        ({"only_low": 1.0}, "only_low 1"),
    ],
)
def test_settings_read_as_ranges(values, text):
    assert page.settings(values) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.21, "3.2 s"), (59.9, "1 min 0 s"), (95, "1 min 35 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds, text):
    assert page.duration(seconds) == text


@pytest.mark.parametrize(("fraction", "text"), [(0.0, "0.0"), (0.0004, "< 0.1"), (0.012, "1.2"), (None, "\N{EN DASH}")])
def test_a_small_gap_is_not_nothing(fraction, text):
    assert page.gap(fraction) == text


def test_intervals_of_settings_read_as_ranges():
    found = page.spans({"cam_high": [0.3, 0.45], "cam_low": [0.1, 0.1], "threshold": [0.2, 0.3]})
    assert found == ["cam low 0.1", "cam high 0.3 to 0.45", "threshold 0.2 to 0.3"]


def test_differences_show_their_sign():
    assert [page.points(value) for value in (0.031, -0.002)] == ["+3.1", "\N{MINUS SIGN}0.2"]
    assert page.percent(None) == "\N{EN DASH}"
