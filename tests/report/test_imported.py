"""The comparison with methods whose results others have made."""

from __future__ import annotations

import re

import pytest

from seedbed.report import page
from seedbed.report.compare import compare
from seedbed.report.gallery import build_gallery
from seedbed.report.results import read_results


def write(workspace) -> str:
    page.write_comparison(workspace.paths, workspace.params, workspace.sources)
    return workspace.paths.page.read_text()


def section(html: str, name: str) -> str:
    return re.search(rf'<section id="{name}".*?</section>', html, re.S).group()


@pytest.fixture
def mixed(make_workspace):
    """Return a comparison whose first method is imported pseudo-labels, and whose last has imported class maps."""
    workspace = make_workspace(("afa", "cam", "eps", "psa"))
    return workspace.bring("afa", pseudo="afa-voc").bring("psa", seeds="psa-voc")


def test_pseudo_labels_without_a_study_are_in_every_table_but_those_of_rules(mixed):
    html = write(mixed)
    assert "imported: afa-voc, taken as they are, no CRF" in section(html, "results")
    for name in ("same-rule", "thresholds", "labelled", "crf"):
        tables = "".join(re.findall(r"<table.*?</table>", section(html, name), re.S))
        assert "EPS" in tables
        assert "AFA" not in tables
    assert "No rule applies to the imported pseudo-labels of AFA." in section(html, "same-rule")
    for name in ("classes", "notes"):
        assert "AFA" in section(html, name)


def test_what_others_chose_is_said_by_a_method_that_has_a_study(mixed):
    html = write(mixed)
    assert "8 training images with masks choose the thresholds; the other 24 report." in section(html, "notes")
    assert "Nothing was chosen here." not in html
    assert "the rule threshold in one line" in section(html, "same-rule")


def test_imported_class_maps_are_studied_and_called_imported(mixed):
    html = write(mixed)
    assert "imported class maps: psa-voc" in section(html, "results")
    assert "PSA" in section(html, "thresholds")
    notes = section(html, "notes")
    assert "Imported: pseudo-labels of AFA (afa-voc), class maps of PSA (psa-voc)." in notes
    assert "the comparison is not weakly supervised" in notes


def test_a_variant_is_called_so(make_workspace):
    workspace = make_workspace(("cam", "eps-wide"))
    params = workspace.params
    blocks = params.localiser | {"eps-wide": params.localiser["eps-wide"].model_copy(update={"method": "eps"})}
    params = params.model_copy(update={"localiser": blocks})
    comparison = page.write_comparison(workspace.paths, params, workspace.sources)
    assert comparison["methods"]["eps-wide"]["method"] == "eps"
    assert "a variant of EPS" in workspace.paths.page.read_text()


def test_the_gallery_has_no_class_map_where_there_is_none(mixed):
    gallery = build_gallery(mixed.paths, read_results(mixed.paths, mixed.params), mixed.sources)
    for card in (card for group in gallery["pseudo"] for card in group.cards):
        captions = {column.method: [tile.caption for tile in column.tiles] for column in card.columns}
        assert captions["afa"] == ["pseudo-label", "prediction"]
        assert captions["psa"] == ["class map", "pseudo-label", "prediction"]


def test_the_machine_readable_comparison(mixed):
    found = compare(read_results(mixed.paths, mixed.params), mixed.params)
    afa = found["methods"]["afa"]
    assert afa["method"] == "imported"
    assert (afa["pseudo"]["rule"], afa["pseudo"]["imported"]) == (None, {"pseudo": "afa-voc"})
    assert afa["against_cam"]["pseudo"]["difference"] == pytest.approx(
        afa["pseudo"]["miou"] - found["methods"]["cam"]["pseudo"]["miou"]
    )
    assert found["studies"]["afa"] == {
        "rule": None,
        "oracle": False,
        "images": {"tune": 8, "report": 24, "all": 32},
        "rules": {},
        "crf": None,
    }
    assert set(found["same_rule"]["threshold"]) == {"cam", "eps", "psa"}


def test_a_page_of_imported_pseudo_labels_alone_says_that_nothing_was_chosen(make_workspace):
    html = write(make_workspace(("afa", "sec")).bring("afa", pseudo="a").bring("sec", pseudo="b"))
    for name in ("same-rule", "thresholds", "labelled", "crf"):
        assert "the pseudo-labels of every method are imported, and nothing is chosen" in section(html, name)
        assert "<table" not in section(html, name)
    assert "Nothing was chosen here." in section(html, "notes")


def test_without_masks_imported_pseudo_labels_have_a_page_too(mixed):
    mixed.has_masks = False
    html = write(mixed.drop_masks().bring("afa", pseudo="afa-voc"))
    assert "Not measured: no masks of training images were read" in section(html, "same-rule")
    assert "imported: afa-voc, taken as they are" in section(html, "results")
