import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.errors import UserError
from seedbed.study.split import check_split, choose_split


@st.composite
def labelled(draw):
    count = draw(st.integers(2, 30))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=count, max_size=count))
    return {f"img{index}": np.array(row, np.float32) for index, row in enumerate(rows)}


@given(labelled(), st.data(), st.integers(0, 99))
def test_a_split_parts_the_images_and_covers_the_classes_that_fit(labels, data, seed):
    ids = list(labels)
    tune_images = data.draw(st.integers(1, len(ids) - 1))
    split = choose_split(ids, labels, tune_images, seed)
    assert len(split.tune) == tune_images
    assert sorted([*split.tune, *split.report]) == sorted(ids)
    assert list(split.report) == [name for name in ids if name in split.report]
    assert split == choose_split(ids, labels, tune_images, seed)
    shown = np.max([labels[name] for name in split.tune], axis=0)
    if tune_images >= 6:  # there are six classes
        assert np.array_equal(shown, np.max(list(labels.values()), axis=0))


def test_splits_differ_by_seed_and_leave_images_to_report():
    labels = {f"img{index}": np.ones(1) for index in range(20)}
    splits = {choose_split(list(labels), labels, 5, seed).tune for seed in range(4)}
    assert len(splits) == 4
    assert choose_split(list(labels), labels, 0, 0).tune == ()
    with pytest.raises(UserError, match="leave none of the 20"):
        choose_split(list(labels), labels, 20, 0)


def test_all_images_choose_and_report():
    labels = {f"img{index}": np.ones(1) for index in range(3)}
    split = choose_split(list(labels), labels, "all", 0)
    assert split.tune == split.report == tuple(labels)
    assert split.oracle
    assert not choose_split(list(labels), labels, 1, 0).oracle
    assert not choose_split(list(labels), labels, 0, 0).oracle


@pytest.mark.parametrize("tune_images", [3, "all"])
def test_no_image_no_choice(tune_images):
    with pytest.raises(UserError, match="no training image has a mask"):
        choose_split([], {}, tune_images, 0)
    assert choose_split([], {}, 0, 0).tune == ()


def test_the_guard_names_an_image():
    check_split(["a", "b"], ["c"])
    with pytest.raises(UserError, match=r"2 of the 3 images .* data.val, the first is 'b'"):
        check_split(["a", "b", "c"], {"c", "b"})
