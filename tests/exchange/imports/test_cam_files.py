import numpy as np
import pytest
import torch
from PIL import Image

from seedbed.errors import UserError
from seedbed.exchange.imports.cam_files import DROPPED, LACKING, import_seeds
from seedbed.exchange.imports.reading import RESIZED, Reader
from seedbed.seeds.store import MapStore


@pytest.fixture
def labels(ids):
    """Classes 0 and 2 for every image."""
    return {name: np.array([1, 0, 1, 0, 0], np.float32) for name in ids}


def maps(size, *classes, seed=0):
    rng = np.random.default_rng(seed)
    return {index: rng.random(size[::-1], np.float32) for index in classes}


def test_class_maps_become_a_map_store(reader, voc, ids, labels, given, place):
    for seed, name in enumerate(ids):
        np.save(given / f"{name}.npy", maps(voc.image(name).size, 0, 2, seed=seed))
    found = import_seeds(reader, place("seeds"), labels)
    assert (found.matched, found.missed, found.refused, found.extra, found.notes) == (4, [], [], 0, {})
    store = MapStore(found.written)
    assert list(store) == ids
    for seed, name in enumerate(ids):
        values, classes = store.maps(name)
        expected = maps(voc.image(name).size, 0, 2, seed=seed)
        np.testing.assert_array_equal(values, np.stack([expected[0], expected[2]]).astype(np.float16))
        assert classes.tolist() == [0, 2]


def test_a_zip_gives_what_its_folder_gives(reader, voc, ids, labels, given, place, zipped):
    for name in ids[:2]:
        np.save(given / f"{name}.npy", maps(voc.image(name).size, 0, 2))
    before = MapStore(import_seeds(reader, place("seeds"), labels).written).maps(ids[1])[0]
    found = import_seeds(Reader(voc, ids, zipped(given)), place("seeds"), labels)
    assert (found.matched, found.missed) == (2, ids[2:])
    np.testing.assert_array_equal(MapStore(found.written).maps(ids[1])[0], before)


@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy], ids=["arrays", "tensors"])
def test_stacked_maps_are_read_and_those_at_image_size_preferred(reader, ids, labels, given, place, wrap):
    full, coarse = np.full((2, 96, 128), 0.5, np.float32), np.full((2, 24, 32), 0.25, np.float32)
    keys = np.array([2, 0])
    np.save(given / f"{ids[0]}.npy", {"keys": wrap(keys), "cam": wrap(coarse), "high_res": wrap(full)})
    np.save(given / f"{ids[2]}.npy", {"keys": wrap(keys), "cam": wrap(coarse)})
    found = import_seeds(reader, place("seeds"), labels)
    store = MapStore(found.written)
    for name, level in ((ids[0], 0.5), (ids[2], 0.25)):
        values, classes = store.maps(name)
        assert classes.tolist() == [0, 2]
        assert values.shape == (2, 96, 128)
        assert (values == level).all()
    assert found.notes == {RESIZED: 1}


def test_maps_of_another_size_are_resized_by_the_stated_rule(reader, ids, labels, given, place):
    coarse = maps((32, 24), 0, 2)
    np.save(given / f"{ids[0]}.npy", coarse)
    found = import_seeds(reader, place("seeds"), labels)
    expected = Image.fromarray(coarse[2]).resize((128, 96), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(MapStore(found.written).stored(ids[0])[0][1], np.array(expected).astype(np.float16))


def test_classes_outside_the_label_are_dropped_and_counted(reader, ids, labels, given, place):
    np.save(given / f"{ids[0]}.npy", maps((128, 96), 0, 1, 2))
    np.save(given / f"{ids[2]}.npy", maps((128, 96), 0))
    np.save(given / f"{ids[3]}.npy", maps((128, 96), 1, 4))
    found = import_seeds(reader, place("seeds"), labels)
    assert found.notes == {DROPPED: 1, LACKING: 1}
    assert MapStore(found.written).stored(ids[0])[1].tolist() == [0, 2]
    assert found.refused == [(f"given/{ids[3]}.npy", "holds maps of classes [1, 4], but the image label says [0, 2]")]


def test_an_image_without_labels_has_no_maps(reader, ids, labels, given, place):
    np.save(given / f"{ids[0]}.npy", {})
    found = import_seeds(reader, place("seeds"), {**labels, ids[0]: np.zeros(5, np.float32)})
    values, classes = MapStore(found.written).maps(ids[0])
    assert values.shape == (0, 96, 128)
    assert classes.shape == (0,)


def test_rounding_is_clipped(reader, ids, labels, given, place):
    np.save(given / f"{ids[0]}.npy", {0: np.array([[-0.0009, 1.0009]] * 2), 2: np.ones((96, 128), np.float16)})
    found = import_seeds(reader, place("seeds"), labels)
    values = MapStore(found.written).maps(ids[0])[0]
    assert values.min() == 0
    assert values.max() == 1


def test_maps_after_the_crf_are_refused_by_name(reader, voc, ids, labels, given, place):
    for name in ids:
        np.save(given / f"{name}.npy", maps(voc.image(name).size, 0, 1, 3))  # background, and classes 0 and 2
    with pytest.raises(UserError, match=r"4 of 4 in .* contradict the image labels.*PSA's CRF form") as refused:
        import_seeds(reader, place("seeds"), labels)
    assert "--out_cam" in refused.value.fix
    np.save(given / f"{ids[0]}.npy", maps((128, 96), 0, 5))  # the last class: its key is beyond those of class maps
    with pytest.raises(UserError, match="PSA's CRF form"):
        import_seeds(reader, place("seeds"), {**labels, ids[0]: np.eye(5, dtype=np.float32)[4]})


def test_when_most_files_contradict_the_labels_all_are_refused(reader, voc, ids, labels, given, place):
    for name, classes in zip(ids, [(0, 2), (1,), (3,), (1, 3)], strict=True):
        np.save(given / f"{name}.npy", maps(voc.image(name).size, *classes))
    with pytest.raises(UserError, match=r"3 of 4 in .* contradict the image labels, for example"):
        import_seeds(reader, place("seeds"), labels)
    assert not place("seeds").target.exists()
    np.save(given / f"{ids[1]}.npy", maps(voc.image(ids[1]).size, 0, 2))
    assert import_seeds(reader, place("seeds"), labels).matched == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({0: np.full((96, 128), 12.5)}, "class 0 has values from 12.5 to 12.5; expected are maps in 0..1"),
        ({0: np.full((96, 128), -0.01)}, "values from -0.01"),
        ({0: np.full((96, 128), np.nan)}, "values from nan"),
        ({0: np.ones((96, 128), np.uint8)}, "class 0 has no map: floats"),
        ({0: np.ones((1, 96, 128))}, "class 0 has no map: floats"),
        ({0: np.ones((50, 128))}, "another aspect ratio"),
        ({5: np.ones((96, 128))}, "has the key 5; keys are the class indices 0..4"),
        ({-1: np.ones((96, 128))}, "has the key -1"),
        ({"dog": np.ones((96, 128))}, "has the key 'dog'"),
        ({True: np.ones((96, 128))}, "has the key True"),
        ({"keys": np.array([0])}, "not as many maps"),
        ({"keys": np.array([0, 2]), "cam": np.ones((1, 4, 4))}, "not as many maps"),
        ({"keys": np.array([0, 0]), "cam": np.ones((2, 4, 4))}, "twice"),
        (np.ones((2, 96, 128)), "holds a ndarray, not a dict"),
        ({0: np.random.default_rng}, "not allowed"),
    ],
)
def test_other_contents_are_refused_with_the_reason(reader, ids, labels, given, place, content, reason):
    np.save(given / f"{ids[0]}.npy", content, allow_pickle=True)
    with pytest.raises(UserError, match="nothing was written") as refused:
        import_seeds(reader, place("seeds"), labels)
    assert reason in refused.value.message
    assert not place("seeds").target.exists()
