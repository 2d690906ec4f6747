import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seedbed.errors import UserError
from seedbed.evaluate.confusion import Collected, Confusions, confusion, load_confusions, load_sparse, save_confusions
from seedbed.evaluate.scores import areas

NUM_IDS = 4
ids_and_ignore = st.sampled_from([*range(NUM_IDS), 255])
masks = hnp.arrays(np.uint8, (5, 6), elements=ids_and_ignore)


@given(masks, masks)
def test_counts_every_pixel_as_a_slow_loop_does(truth, prediction):
    expected = np.zeros((NUM_IDS, NUM_IDS + 1), int)
    for row in range(truth.shape[0]):
        for column in range(truth.shape[1]):
            true, predicted = int(truth[row, column]), int(prediction[row, column])
            if true != 255:
                expected[true, NUM_IDS if predicted == 255 else predicted] += 1
    counted = confusion(truth, prediction, NUM_IDS)
    assert counted.dtype == np.int64
    np.testing.assert_array_equal(counted, expected)


@given(masks, masks, st.integers(0, 6))
def test_parts_of_an_image_add_up_to_the_whole(truth, prediction, column):
    parts = [confusion(truth[:, part], prediction[:, part], NUM_IDS) for part in (slice(column), slice(column, None))]
    np.testing.assert_array_equal(sum(parts), confusion(truth, prediction, NUM_IDS))


@given(masks, masks, masks)
def test_predictions_on_ignored_pixels_never_count(truth, prediction, other):
    changed = np.where(truth == 255, other, prediction)
    np.testing.assert_array_equal(confusion(truth, changed, NUM_IDS), confusion(truth, prediction, NUM_IDS))


@given(masks, masks, st.permutations(range(NUM_IDS)))
def test_renaming_classes_renames_rows_and_columns(truth, prediction, names):
    renamed = np.arange(256, dtype=np.uint8)
    renamed[:NUM_IDS] = names
    before = confusion(truth, prediction, NUM_IDS)
    after = confusion(renamed[truth], renamed[prediction], NUM_IDS)
    np.testing.assert_array_equal(after[np.ix_(names, [*names, NUM_IDS])], before)


def test_all_254_classes_fit_into_a_mask():
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(confusion(mask, mask, 255), np.eye(255, 256, dtype=int))


@pytest.mark.parametrize(("truth_id", "predicted_id", "part"), [(4, 0, "ground truth"), (0, 254, "prediction")])
def test_unknown_ids_are_named(truth_id, predicted_id, part):
    truth, prediction = np.full((2, 2), truth_id, np.uint8), np.full((2, 2), predicted_id, np.uint8)
    message = rf"2007_01: the {part} holds unknown class ids \[{max(truth_id, predicted_id)}\]"
    with pytest.raises(UserError, match=message):
        confusion(truth, prediction, NUM_IDS, name="2007_01")


def test_unknown_ids_are_no_less_unknown_on_ignored_pixels():
    with pytest.raises(UserError, match="prediction holds unknown"):
        confusion(np.full((2, 2), 255, np.uint8), np.full((2, 2), 9, np.uint8), NUM_IDS)


def test_sizes_must_agree():
    with pytest.raises(UserError, match="ground truth is 3 x 2 pixels, the prediction 2 x 3"):
        confusion(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), NUM_IDS)


def test_masks_must_be_bytes():
    with pytest.raises(TypeError, match="uint8"):
        confusion(np.zeros((2, 2), np.int64), np.zeros((2, 2), np.uint8), NUM_IDS)


@given(hnp.arrays(np.int64, st.tuples(st.integers(0, 4), st.just(3), st.just(4)), elements=st.integers(0, 2**40)))
def test_the_store_returns_what_it_was_given(tmp_path_factory, per_image):
    path = tmp_path_factory.mktemp("store") / "confusion.npz"
    ids = [f"2007_{number}" for number in range(len(per_image))]
    save_confusions(path, ids, per_image)
    loaded_ids, loaded = load_confusions(path)
    assert loaded_ids == ids
    assert loaded.dtype == np.int64
    np.testing.assert_array_equal(loaded, per_image)


MATRICES = hnp.arrays(
    np.int64, st.tuples(st.integers(0, 4), st.just(3), st.just(4)), elements=st.sampled_from([0, 0, 1, 2, 2**40])
)


@given(MATRICES)
def test_non_zero_cells_tell_what_the_matrices_do(per_image):
    sparse = Confusions.of(per_image, 3)
    assert len(sparse) == len(per_image)
    np.testing.assert_array_equal(sparse.dense(), per_image)
    for ignore in ("error", "drop"):
        for part, expected in zip(sparse.areas(ignore), areas(per_image, ignore), strict=True):
            np.testing.assert_array_equal(part, expected)


@given(MATRICES)
def test_non_zero_cells_are_stored_as_the_matrices_are(tmp_path_factory, per_image):
    folder = tmp_path_factory.mktemp("store")
    ids = [f"2007_{number}" for number in range(len(per_image))]
    save_confusions(folder / "dense.npz", ids, per_image)
    save_confusions(folder / "sparse.npz", ids, Confusions.of(per_image, 3))
    assert (folder / "dense.npz").read_bytes() == (folder / "sparse.npz").read_bytes()
    loaded_ids, loaded = load_sparse(folder / "sparse.npz")
    assert loaded_ids == ids
    np.testing.assert_array_equal(loaded.dense(), per_image)


def test_the_store_is_small_and_the_same_bytes_each_time(tmp_path):
    per_image = np.zeros((500, 21, 22), np.int64)
    per_image[:, [0, 0, 7, 7], [0, 7, 0, 7]] = np.random.default_rng(0).integers(1, 9999, (500, 4))
    ids = [f"{number:05d}" for number in range(500)]
    save_confusions(tmp_path / "a.npz", ids, per_image)
    save_confusions(tmp_path / "b.npz", ids, per_image)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.npz").stat().st_size < 20_000


def test_the_store_refuses_ids_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match="1 ids for 2 matrices"):
        save_confusions(tmp_path / "c.npz", ["a"], np.zeros((2, 2, 3), np.int64))


def test_a_missing_store_says_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match=r"does not exist\n  to mend it: dvc repro"):
        load_confusions(tmp_path / "none.npz")


def test_a_damaged_store_is_refused(tmp_path):
    whole = tmp_path / "whole.npz"
    save_confusions(whole, ["a"], np.ones((1, 2, 3), np.int64))
    for name, content in {"empty": b"", "text": b"hello", "half": whole.read_bytes()[:200]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="no file of confusion matrices"):
            load_confusions(tmp_path / name)
    np.savez(tmp_path / "outside.npz", ids=["a"], num_ids=2, cells=np.array([[0], [0], [3]]), counts=[1])
    with pytest.raises(UserError, match="a cell lies outside"):
        load_sparse(tmp_path / "outside.npz")
    np.savez(tmp_path / "other.npz", ids=np.array(["a"]))
    with pytest.raises(UserError, match="no file of confusion matrices"):
        load_confusions(tmp_path / "other.npz")


images = hnp.arrays(np.int64, st.tuples(st.integers(0, 6), st.just(3), st.just(4)), elements=st.integers(0, 2))


@given(images, st.randoms())
def test_matrices_are_collected_in_any_order(per_image, random):
    names = [f"img{index}" for index in range(len(per_image))]
    arrived = list(zip(names, per_image, strict=True))
    random.shuffle(arrived)
    collected = Collected(3)
    for name, matrix in arrived:
        collected.add(name, matrix)
    found = collected.confusions(names)
    np.testing.assert_array_equal(found.dense(), per_image)
    assert found.dense().dtype == np.int64
    expected = Confusions.of(per_image, 3)
    np.testing.assert_array_equal(found.cells, expected.cells)
    assert (found.cells.dtype, found.counts.dtype, found.images) == (np.uint32, np.int64, len(per_image))
    np.testing.assert_array_equal(collected.confusions(names[:2]).dense(), per_image[:2])


@given(images)
def test_the_total_is_the_sum_over_the_images(per_image):
    total = Confusions.of(per_image, 3).total()
    assert total.dtype == np.int64
    np.testing.assert_array_equal(total, per_image.sum(axis=0))


def test_an_image_that_never_came_is_no_zero():
    with pytest.raises(KeyError):
        Collected(3).confusions(["a"])
