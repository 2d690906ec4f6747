import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seedbed.errors import UserError
from seedbed.seeds.batch import ClassMaps, MapBatch, ignore, look_up, strongest


def image(name, classes, height=2, width=3, dtype=np.float32, saliency=True):
    """Maps whose first pixel is the class by ten, and saliency all 7."""
    cams = np.zeros((len(classes), height, width), dtype)
    cams[:, 0, 0] = np.array(classes, dtype) / 10 if dtype != np.uint8 else classes
    return ClassMaps(name, cams, np.array(classes), np.full((height, width), 7, np.uint8) if saliency else None)


def test_images_are_padded_at_the_bottom_right_and_behind_the_last_class():
    batch = MapBatch.of([image("cat", [4, 1]), image("dog", [2], height=1, width=4), image("sky", [])])
    assert batch.names == ("cat", "dog", "sky")
    assert batch.sizes == ((2, 3), (1, 4), (2, 3))
    assert batch.cams.shape == (3, 2, 2, 4)
    assert batch.ids.tolist() == [[2, 5], [3, 0], [0, 0]]
    assert torch.equal(batch.cams[:, :, 0, 0], torch.tensor([[0.1, 0.4], [0.2, 0], [0, 0]]))
    assert batch.cams.count_nonzero() == 3
    assert batch.saliency.tolist()[1] == [[7, 7, 7, 7], [0, 0, 0, 0]]
    assert batch.inside.tolist()[0] == [[True, True, True, False]] * 2
    assert batch.inside.tolist()[1] == [[True] * 4, [False] * 4]


def test_images_of_one_size_have_no_padding():
    assert MapBatch.of([image("cat", [4, 1]), image("dog", [])]).inside is None


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ([np.float16, np.float16], torch.float16),
        ([np.float16, np.float32], torch.float32),
        ([np.float64], torch.float32),
        ([np.uint8, np.uint8], torch.uint8),
    ],
)
def test_maps_keep_the_type_that_holds_them_all(types, expected):
    assert MapBatch.of([image("cat", [1], dtype=dtype) for dtype in types]).cams.dtype == expected


def test_levels_and_scores_do_not_mix():
    with pytest.raises(ValueError, match="either scores or levels"):
        MapBatch.of([image("cat", [1], dtype=dtype) for dtype in (np.uint8, np.float32)])


def test_an_image_alone_is_not_copied_unless_it_must_be():
    cat = image("cat", [1, 4])
    assert np.shares_memory(MapBatch.of([cat]).cams.numpy(), cat.cams)
    assert not np.shares_memory(MapBatch.of([image("cat", [4, 1])]).cams.numpy(), cat.cams)
    cat.cams.setflags(write=False)  # of which PyTorch warns
    assert not np.shares_memory(MapBatch.of([cat]).cams.numpy(), cat.cams)


def test_saliency_maps_are_left_out_where_nobody_looks():
    assert MapBatch.of([image("cat", [1])], saliency=False).saliency is None
    assert MapBatch.of([image("cat", [1], saliency=False)]).saliency is None


def test_bad_saliency_is_reported_with_the_image():
    with pytest.raises(UserError, match=r"^dog: no saliency map"):
        MapBatch.of([image("cat", [1]), image("dog", [1], saliency=False)])
    with pytest.raises(UserError, match=r"^cat: saliency map of 3 x 1 pixels, class maps of 3 x 2"):
        MapBatch.of([image("cat", [1])._replace(saliency=np.zeros((1, 3), np.uint8))])


def test_bad_numbers_are_reported_with_the_image():
    batch = MapBatch.of([image("cat", [1]), image("dog", [1])])
    batch.check_numbers(torch.ones(2, 2, 3))
    with pytest.raises(UserError, match=r"^dog: the class maps hold NaN or infinity"):
        batch.check_numbers(torch.tensor([[1.0, 0.0], [0.0, torch.nan]]))


@given(
    scores=st.integers(1, 4).flatmap(
        lambda count: hnp.arrays(np.float16, (count, 3, 4), elements=st.sampled_from([0, 6e-8, 0.1, 0.2, 0.5, 1]))
    ),
    padding=st.integers(0, 2),
)
def test_the_strongest_is_the_first_maximum_and_never_padding(scores, padding):
    ids = np.arange(len(scores)) * 63 + 1  # up to 190
    padded = np.concatenate([scores, np.zeros((padding, 3, 4), np.float16)])
    every = torch.tensor([*ids, *[0] * padding], dtype=torch.uint8)
    highest, winner = strongest(torch.from_numpy(padded)[None], every[None])
    assert highest.dtype == torch.float32
    assert np.array_equal(highest[0], scores.max(axis=0).astype(np.float32))
    assert np.array_equal(winner[0], ids[scores.argmax(axis=0)])


def test_nothing_is_strongest_without_classes():
    highest, winner = strongest(torch.zeros(1, 2, 1, 2), torch.zeros(1, 2, dtype=torch.uint8))
    assert highest.tolist() == [[[0, 0]]]
    assert winner.tolist() == [[[0, 0]]]


def test_nan_spreads_to_the_highest_score():
    scores = torch.tensor([0.5, torch.nan, 0.7]).reshape(1, 3, 1, 1)
    assert strongest(scores, torch.tensor([[1, 2, 3]], dtype=torch.uint8))[0].isnan().all()


def test_ignoring_changes_what_it_is_told_to():
    labels = torch.tensor([0, 3, 255, 4], dtype=torch.uint8)
    assert ignore(labels, torch.tensor([True, True, True, False])) is labels
    assert labels.tolist() == [255, 255, 255, 4]


def test_tables_are_looked_up_by_level_and_by_map():
    levels = torch.tensor([[[[0, 255]], [[7, 1]]]], dtype=torch.uint8)
    tables = torch.stack([torch.arange(256), 1000 + torch.arange(256)])
    assert look_up(tables[1], levels).tolist() == [[[[1000, 1255]], [[1007, 1001]]]]
    assert look_up(tables[None], levels).tolist() == [[[[0, 255]], [[1007, 1001]]]]
