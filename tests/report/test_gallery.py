from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seedbed.errors import UserError
from seedbed.report.gallery import build_gallery, choose_images, choose_unscored, class_colours, picture_side
from seedbed.report.results import read_results

COUNTS = {"disagree": 2, "best": 1, "worst": 1, "typical": 1}


def test_best_worst_and_most_disputed_images_are_found():
    quality = np.array([[0.9, 0.1, 0.5, 0.2, 0.5, 0.45], [0.9, 0.1, 0.5, 0.8, 0.9, 0.55]])
    assert choose_images(quality, COUNTS) == {"disagree": [3, 4], "best": [0], "worst": [1], "typical": [2]}


@given(
    arrays.arrays(
        float, st.tuples(st.integers(1, 3), st.integers(0, 12)), elements=st.floats(0, 1) | st.just(float("nan"))
    )
)
def test_no_image_is_picked_twice_and_none_without_a_score(quality):
    picks = choose_images(quality, COUNTS)
    chosen = [index for kind in picks.values() for index in kind]
    assert len(chosen) == len(set(chosen))
    assert np.isfinite(quality[:, chosen]).all()
    assert all(len(picks[kind]) <= count for kind, count in COUNTS.items())


def test_one_method_cannot_disagree():
    assert choose_images(np.array([[0.1, 0.5, 0.9]]), COUNTS)["disagree"] == []


@pytest.mark.parametrize("count", [5, 7, 20, 80])
def test_classes_differ_in_colour(count):
    colours = class_colours(count)
    assert len(set(colours)) == len(colours) == count
    assert all(0 <= part <= 255 for colour in colours for part in colour)


def test_more_pictures_are_smaller():
    assert picture_side(10) == 256
    assert 100 < picture_side(500) < picture_side(200) < 256


def test_cards_show_every_map_of_every_method(workspace):
    gallery = build_gallery(workspace.paths, read_results(workspace.paths, workspace.params), workspace.sources)
    training = [card for group in gallery["pseudo"] for card in group.cards]
    assert len(training) == 12
    assert {group.kind for group in gallery["pseudo"]} == {"disagree", "best", "worst", "typical"}
    for card in training:
        captions = [[tile.caption for tile in column.tiles] for column in card.columns]
        assert captions == [
            ["photo", "saliency"],
            ["class map", "pseudo-label", "prediction"],
            ["class map", "pseudo-label", "prediction"],
            ["truth"],
        ]
        assert all(
            tile.alt and tile.source.startswith("data:image/webp;base64,")
            for column in card.columns
            for tile in column.tiles
        )
        assert card.legend
    predictions = [card.columns[1].tiles[0].caption for group in gallery["val"] for card in group.cards]
    assert predictions == ["prediction"] * 8


def test_images_without_scores_are_picked_by_disagreement_and_evenly():
    gaps = np.array([0.0, 0.3, 0.1, 0.0, 0.3, 0.0, 0.0])
    assert choose_unscored(gaps, {"disagree": 2, "spread": 3}) == {"disagree": [1, 4], "spread": [0, 3, 6]}
    assert choose_unscored(np.zeros(1), {"disagree": 2, "spread": 3}) == {"disagree": [], "spread": [0]}


def test_training_images_are_predicted_in_one_call_per_method_and_only_those_shown(workspace):
    calls = []

    def predict(method, names):
        calls.append((method, names))
        return workspace.sources.predict(method, names)

    sources = replace(workspace.sources, predict=predict)
    gallery = build_gallery(workspace.paths, read_results(workspace.paths, workspace.params), sources)
    shown = [card.image for group in gallery["pseudo"] for card in group.cards]
    assert calls == [("cam", shown), ("eps", shown)]


def test_without_masks_cards_have_neither_truth_nor_scores(workspace):
    workspace.drop_masks()
    gallery = build_gallery(workspace.paths, read_results(workspace.paths, workspace.params), workspace.sources)
    assert [(group.kind, len(group.cards)) for group in gallery["pseudo"]] == [("disagree", 8), ("spread", 4)]
    for card in (card for group in gallery["pseudo"] for card in group.cards):
        assert [column.score for column in card.columns] == [None] * 4
        assert card.columns[-1].tiles == []
        assert card.legend
    assert len([card for group in gallery["val"] for card in group.cards]) == 8


def test_a_scored_image_must_have_its_mask(workspace):
    results = read_results(workspace.paths, workspace.params)
    workspace.has_masks = False
    with pytest.raises(UserError, match="has no mask"):
        build_gallery(workspace.paths, results, workspace.sources)


def test_a_missing_pseudo_label_is_named_with_its_command(workspace):
    for path in workspace.paths.pseudo_labels("eps").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"maps/pseudo/eps/train_\d+.png.*\n.*seedbed pseudo --method eps"):
        build_gallery(workspace.paths, read_results(workspace.paths, workspace.params), workspace.sources)


def test_a_validation_image_without_a_saliency_map_is_shown_without(workspace):
    def saliency(name):
        return None if name.startswith("val") else workspace.sources.saliency(name)

    results = read_results(workspace.paths, workspace.params)
    gallery = build_gallery(workspace.paths, results, replace(workspace.sources, saliency=saliency))
    captions = {
        part: {tuple(tile.caption for tile in card.columns[0].tiles) for group in groups for card in group.cards}
        for part, groups in gallery.items()
    }
    assert captions == {"pseudo": {("photo", "saliency")}, "val": {("photo",)}}
