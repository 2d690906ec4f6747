from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from seedbed.report import figures
from seedbed.report.svg import Panel, Scale, number

POINTS = {"published": (0.2, 0.3), "chosen": (0.4, 0.5), "oracle": (0.5, 0.5)}


def parse(svg):
    return ElementTree.fromstring(str(svg))


def test_a_scale_maps_its_ends_and_ticks_inside():
    scale = Scale(0, 50, 100, 200)
    assert (scale(0), scale(50), scale(25)) == (100, 200, 150)
    assert scale.ticks(5) == [0, 10, 20, 30, 40, 50]


def test_a_scale_of_logarithms_has_ticks_at_powers():
    scale = Scale(1, 64, 100, 160, log=True)
    assert [scale(value) for value in (1, 8, 64)] == [100, 130, 160]
    assert scale.ticks(6) == [1, 2, 4, 8, 16, 32, 64]
    assert Scale(1, 5000, 0, 1, log=True).ticks(6) == [1, 10, 100, 1000]


def test_tick_labels_are_short_with_a_true_minus():
    assert [number(value) for value in (0.0, 0.25, -5.0, 1000.0)] == ["0", "0.25", "\N{MINUS SIGN}5", "1000"]


def test_names_cannot_break_out_of_the_drawing():
    panel = Panel(x=(0, 1), y=(0, 1))
    panel.marker("dot", 0.5, 0.5, "base", "<script>&")
    drawn = panel.render('a "quoted" <name>')
    assert "<script>" not in drawn
    assert parse(drawn).attrib["aria-label"] == 'a "quoted" <name>'


def test_interval_chart_has_one_dot_a_row():
    rows = [figures.Row("CAM", "base", 0.3, (0.25, 0.35)), figures.Row("EPS", "hue-0", 0.5, (0.45, 0.55))]
    drawn = parse(figures.interval_chart(rows, "mIoU, %"))
    assert len([part for part in drawn if "marker" in part.get("class", "")]) == 2
    assert drawn.attrib["aria-label"] == "mIoU, %: CAM 30.0, EPS 50.0"


def test_absent_classes_have_no_bar():
    drawn = parse(figures.class_bars(["sky", "tram"], [("CAM", "base", [0.5, float("nan")])], "IoU, %"))
    assert len([part for part in drawn if "bar" in part.get("class", "").split()]) == 1


def test_threshold_curves_mark_every_point():
    one = figures.Series("CAM", "base", [0.0, 0.5], [0.1, 0.4], POINTS)
    drawn = parse(figures.threshold_curves([one], "CAM threshold"))
    assert len([part for part in drawn if "marker" in part.get("class", "")]) == 3
    assert "CAM peaks at 40.0 near 0.50" in drawn.attrib["aria-label"]


def test_a_curve_has_gaps_where_it_is_undefined():
    one = figures.Series("CAM", "base", [0.0, 0.25, 0.5], [0.1, 0.4, float("nan")], {})
    drawn = parse(figures.threshold_curves([one], "CAM threshold", "Precision"))
    (line,) = [part for part in drawn if part.tag.endswith("polyline")]
    assert len(line.attrib["points"].split()) == 2
    assert drawn.attrib["aria-label"] == "Precision over the CAM threshold: CAM peaks at 40.0 near 0.25"


def reached(images, miou, oracle=False):
    return figures.Reached(images, oracle, miou, (miou - 0.1, miou + 0.05))


def test_labelled_curves_tell_draws_from_both_ends():
    points = [reached(0, 0.3), reached(5, 0.4), reached(20, 0.45), reached("all", 0.5, oracle=True)]
    drawn = parse(figures.labelled_curves([("CAM", "base", points), ("EPS", "hue-0", points)], "labelled images"))
    styles = [part.get("class", "").split() for part in drawn]
    kinds = {kind: sum(kind in style for style in styles) for kind in ("area", "line", "whisker", "square", "dot")}
    assert kinds == {"area": 2, "line": 2, "whisker": 4, "square": 2, "dot": 4}
    texts = [part.text for part in drawn if part.get("class") in ("tick-label", "tick-note")]
    assert texts[texts.index("0") :] == ["0", "published", "5", "20", "all", "oracle"]
    titles = [title.text for part in drawn for title in part if "diamond" in part.get("class", "")]
    assert titles == ["CAM, all labelled: 50.0 [40.0, 55.0] (oracle)", "EPS, all labelled: 50.0 [40.0, 55.0] (oracle)"]
    assert "50.0 at all (oracle)" in drawn.attrib["aria-label"]


def test_one_number_of_labelled_images_has_a_whisker():
    drawn = parse(figures.labelled_curves([("CAM", "base", [reached(5, 0.4)])], "labelled images"))
    styles = [part.get("class", "").split() for part in drawn]
    assert sum("whisker" in style for style in styles) == 1
    assert not any("area" in style for style in styles)


def cells(drawn):
    (picture,) = [part for part in drawn if part.tag.endswith("image")]
    return np.array(Image.open(io.BytesIO(base64.b64decode(picture.attrib["href"].partition(",")[2]))))


def test_cells_of_a_heat_map_reach_from_their_threshold_to_the_next():
    surface = np.zeros((3, 2))
    surface[1, 1] = 0.6
    axes, names = ([0, 0.2, 0.25], [0, 0.5]), ("CAM threshold", "saliency threshold")
    marks = {"chosen": ((0.1, 0.2), (0.2, 0.5))}
    drawn = parse(figures.heat_map(surface, axes, names, "EPS", (0.0, 0.6), marks))
    pixels = cells(drawn)
    height, width, _ = pixels.shape
    bright = pixels[..., 0] > 200  # the yellow end of viridis
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    assert (columns[0] / width, (columns[-1] + 1) / width) == pytest.approx((0.2, 0.25), abs=1 / width)
    assert (rows[0], (rows[-1] + 1) / height) == pytest.approx((0, 0.5), abs=1 / height)  # the upper half
    (marker,) = [part for part in drawn if "marker" in part.get("class", "")]
    assert marker.attrib["transform"] == "translate(126.0,136.0)"  # a fifth from 46 to 446, half way from 260 to 12
    assert "highest, 60.0, at CAM threshold 0.20, saliency threshold 0.50" in drawn.attrib["aria-label"]


def test_cells_without_a_value_are_clear():
    surface = np.array([[0.2, 0.4], [np.nan, 0.6]])
    drawn = parse(figures.heat_map(surface, ([0, 0.5], [0, 0.5]), ("low", "high"), "EPS", (0.2, 0.6), {}, "Recall"))
    pixels = cells(drawn)
    height, width, channels = pixels.shape
    clear = pixels[..., 3] == 0
    assert channels == 4
    assert clear[height // 2 :, width // 2 :].all()
    assert clear.sum() == height * width // 4
    assert drawn.attrib["aria-label"].startswith("Recall of EPS over low and high: highest, 60.0,")


def test_training_curves_name_the_parts_of_the_loss():
    losses = {"classification": [0.5, 0.2], "saliency": [0.4, 0.19], "total": [0.9, 0.39]}
    drawn = parse(figures.training_curves([20, 40], losses, "hue-0"))
    texts = {part.text: float(part.attrib["y"]) for part in drawn if "y" in part.attrib and part.tag.endswith("text")}
    assert texts["total"] < texts["classification"] < texts["saliency"]
    assert texts["saliency"] - texts["classification"] >= 12 - 1e-6


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_losses_and_surfaces_can_be_drawn(value):
    parse(figures.training_curves([20, 40], {"total": [value, value]}, ""))
    parse(figures.heat_map(np.full((2, 2), value), ([0, 0.5], [0, 1.0]), ("x", "y"), "CAM", (value, value), {}))
