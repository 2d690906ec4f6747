import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seedbed.errors import UserError
from seedbed.evaluate.confusion import confusion
from seedbed.seeds.fusion import RULES, find_rule
from seedbed.seeds.gates import Gate
from seedbed.study.grid import Grid
from seedbed.study.tables import ImageMaps, Tables

NUM_IDS = 5
CAMS, GREYS, ALPHAS = (0.0, 0.1, 0.2, 0.5, 0.75), (0.0, 0.2, 0.5), (1.0, 4.0, 16.0, 24.5)
GRID = Grid(
    {"threshold": {"cam": CAMS}, "alpha": {"cam": ALPHAS}, "saliency-gate": {"cam": CAMS, "saliency": GREYS}},
)
# Values on the thresholds, beside them by one float16, in between, subnormal, and the extremes.
SCORES = sorted(
    {
        float(value)
        for threshold in map(np.float16, (0.1, 0.2, 0.5, 0.75))
        for value in (threshold, np.nextafter(threshold, np.float16(0)), np.nextafter(threshold, np.float16(1)))
    }
    | {0.0, 6e-8, 0.3, 1.0}
)


@st.composite
def images(draw, dtype=np.float16, scores=tuple(SCORES)):
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    classes = draw(st.lists(st.integers(0, NUM_IDS - 2), unique=True, max_size=3))
    shape = (len(classes), height, width)
    cams = draw(hnp.arrays(dtype, shape, elements=st.sampled_from([dtype(score) for score in scores])))
    truth = draw(hnp.arrays(np.uint8, (height, width), elements=st.sampled_from([0, 1, 2, 3, 4, 255])))
    saliency = draw(hnp.arrays(np.uint8, (height, width), elements=st.sampled_from([0, 50, 51, 52, 127, 128, 255])))
    return cams, np.array(classes, np.int64), truth, saliency


def tables_of(several, grid=GRID):
    named = [
        ImageMaps(f"image {index}", cams, classes, truth, saliency)
        for index, (cams, classes, truth, saliency) in enumerate(several)
    ]
    return Tables.build(named, NUM_IDS, grid)


def brute_force(several, rule, values):
    """Re-evaluate the masks by the rule's own code: int64 [N,K,K+1]."""
    applied = [
        (truth, find_rule(rule).apply(cams, classes, saliency, values)) for cams, classes, truth, saliency in several
    ]
    return np.stack([confusion(truth, mask, NUM_IDS) for truth, mask in applied])


@pytest.mark.parametrize(("rule", "parameter"), [("threshold", "threshold"), ("alpha", "alpha")])
@given(several=st.lists(images(), min_size=1, max_size=3))
@settings(max_examples=40)
def test_the_sweep_of_a_parameter_equals_brute_force(rule, parameter, several):
    tables = tables_of(several)
    swept = tables.totals().sweep(rule)
    assert len(swept) == len(GRID.axes[rule]["cam"])
    for matrix, value in zip(swept, GRID.axes[rule]["cam"], strict=True):
        expected = brute_force(several, rule, {parameter: value})
        assert np.array_equal(matrix, expected.sum(axis=0))
        assert np.array_equal(tables.confusions_at(rule, {parameter: value}).dense(), expected)


@given(st.lists(images(), min_size=1, max_size=2))
@settings(max_examples=30)
def test_the_sweep_of_pairs_equals_brute_force(several):
    swept = tables_of(several).totals().sweep("saliency-gate")
    for (row, cam), (column, grey) in itertools.product(enumerate(CAMS), enumerate(GREYS)):
        values = {"cam_low": cam, "cam_high": cam, "saliency_low": grey, "saliency_high": grey}
        assert np.array_equal(swept[row, column], brute_force(several, "saliency-gate", values).sum(axis=0))


@given(
    st.lists(images(), min_size=1, max_size=3),
    st.lists(st.sampled_from(CAMS), min_size=2, max_size=2),
    st.lists(st.sampled_from(GREYS), min_size=2, max_size=2),
)
def test_ignore_bands_equal_brute_force(several, cam, grey):
    names = ("cam_low", "cam_high", "saliency_low", "saliency_high")
    values = dict(zip(names, (*sorted(cam), *sorted(grey)), strict=True))
    tables, expected = tables_of(several), brute_force(several, "saliency-gate", values)
    assert np.array_equal(tables.confusions_at("saliency-gate", values).dense(), expected)
    assert np.array_equal(tables.totals().confusion_at("saliency-gate", values), expected.sum(axis=0))


@given(
    st.lists(images(np.float32, [0.0, 0.1, float(np.nextafter(np.float32(0.2), np.float32(1))), 0.2, 0.7]), min_size=1)
)
@settings(max_examples=30)
def test_maps_finer_than_float16_are_exact_too(several):
    swept = tables_of(several).totals().sweep("threshold")
    for index, threshold in enumerate(CAMS):
        expected = brute_force(several, "threshold", {"threshold": threshold})
        assert np.array_equal(swept[index], expected.sum(axis=0))


@given(st.lists(images(), max_size=4))
@settings(max_examples=20)
def test_save_and_load_return_the_same(tmp_path_factory, several):
    tables, path = tables_of(several), tmp_path_factory.mktemp("tables") / "table.npz"
    tables.save(path)
    loaded = Tables.load(path)
    assert (loaded.ids, loaded.num_ids, loaded.grid) == (tables.ids, tables.num_ids, tables.grid)
    assert loaded.totals().digest == tables.totals().digest
    for name in ("offsets", "codes", "counts"):
        assert np.array_equal(getattr(loaded, name), getattr(tables, name))
    first = path.read_bytes()
    tables.save(path)
    assert path.read_bytes() == first


@given(
    st.lists(images(), min_size=3, max_size=3), st.permutations(["image 0", "image 1", "image 2"]), st.integers(0, 3)
)
@settings(max_examples=30)
def test_a_selection_is_the_tables_of_those_images(several, order, count):
    chosen = tables_of(several).select(order[:count])
    expected = tables_of(several).confusions_at("threshold", {"threshold": 0.2}).dense()
    positions = [int(name.split()[1]) for name in order[:count]]
    assert chosen.ids == tuple(order[:count])
    assert np.array_equal(chosen.confusions_at("threshold", {"threshold": 0.2}).dense(), expected[positions])


@given(st.lists(images(), min_size=2, max_size=3))
@settings(max_examples=20)
def test_taking_away_images_leaves_the_others(several):
    tables = tables_of(several)
    rest = tables.totals().without(tables.select(tables.ids[:1]).totals())
    assert rest.digest == tables.select(tables.ids[1:]).totals().digest


def test_classes_in_any_order_give_the_same_table():
    rng = np.random.default_rng(0)
    cams, truth = rng.choice([0, 0.2, 0.5], (2, 4, 5)).astype(np.float32), rng.integers(0, 3, (4, 5), np.uint8)
    ahead, behind = (
        tables_of([(cams, np.array([0, 1]), truth, truth), (cams[::-1], np.array([1, 0]), truth, truth)])
        .confusions_at("threshold", {"threshold": 0.2})
        .dense()
    )
    assert np.array_equal(ahead, behind)


def test_rules_that_are_no_gates_cannot_be_swept():
    tables = tables_of([])
    with pytest.raises(TypeError, match="mcis is not made of gates"):
        tables.totals().sweep("mcis")
    elsewhere = Tables.build([], NUM_IDS, Grid({"alpha": {"cam": ALPHAS}}))
    with pytest.raises(KeyError, match="threshold"):
        elsewhere.totals().sweep("threshold")


def test_a_threshold_off_the_grid_is_refused():
    tables = tables_of([(np.ones((1, 1, 1)), np.array([0]), np.ones((1, 1), np.uint8), np.ones((1, 1), np.uint8))])
    with pytest.raises(ValueError, match="not in tuple"):
        tables.confusions_at("threshold", {"threshold": 0.3})


def image(name="boat", cams=(1, 2, 3), truth=(2, 3), saliency=(2, 3)):
    return ImageMaps(
        name, np.zeros(cams, np.float32), np.array([0]), np.zeros(truth, np.uint8), np.zeros(saliency, np.uint8)
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (image(truth=(2, 4)), "boat: class maps of 3 x 2 pixels, mask of 4 x 2"),
        (image(saliency=(3, 3)), "boat: saliency map of 3 x 3"),
        (image()._replace(saliency=None), "boat: no saliency map"),
        (image()._replace(truth=np.full((2, 3), 7, np.uint8)), r"boat: .*unknown class ids \[7\]"),
        (image()._replace(cams=np.full((1, 2, 3), np.nan, np.float32)), "boat: the class maps hold NaN or infinity"),
        (image()._replace(cams=np.full((1, 2, 3), np.inf, np.float16)), "boat: the class maps hold NaN or infinity"),
    ],
)
def test_bad_images_are_named(bad, message):
    with pytest.raises(UserError, match=message):
        Tables.build([image("plane"), bad], NUM_IDS, GRID)


def test_an_unreadable_table_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        Tables.load(tmp_path / "table.npz")
    (tmp_path / "table.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match="no table of a study"):
        Tables.load(tmp_path / "table.npz")


def test_a_table_made_by_other_rules_is_refused(tmp_path, monkeypatch):
    tables_of([]).save(tmp_path / "table.npz")
    changed = dataclasses.replace(find_rule("alpha"), gates=lambda values: (Gate(0.3), Gate(0.3)))
    monkeypatch.setitem(RULES, "alpha", changed)
    with pytest.raises(UserError, match="the rules have changed since"):
        Tables.load(tmp_path / "table.npz")
