import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from seedbed.data.datasets import MaskFolder, TrainingImages
from seedbed.data.saliency_sets import SaliencySet
from seedbed.errors import UserError
from seedbed.params import AugmentParams

PARAMS = AugmentParams(low=96, high=140, crop=112)
PLACES = [(0, 0), (0, 3), (1, 3), (2, 9)]


@pytest.fixture
def maps(data, tmp_path):
    """Saliency maps as large as the images."""
    folder = tmp_path / "maps"
    folder.mkdir()
    for image_id in data.ids("train_aug"):
        Image.new("L", data.image(image_id).size, 200).save(folder / f"{image_id}.png")
    return folder


def dataset(data, maps, seed=0):
    return TrainingImages(
        data.ids("train_aug"), data.image, PARAMS, seed,
        labels=data.labels(), saliency_dir=maps, mask=MaskFolder(data.mask_path("x").parent),
    )  # fmt: skip


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_items_have_the_promised_shapes(data, maps):
    images = dataset(data, maps)
    assert len(images) == 10
    item = images[0, 4]
    assert {name: tuple(tensor.shape) for name, tensor in item.items()} == {
        "image": (3, 112, 112), "saliency": (1, 112, 112), "mask": (112, 112), "label": (5,), "index": (),
    }  # fmt: skip
    assert item["index"] == 4
    assert item["label"].tolist() == data.labels()[data.ids("train_aug")[4]].tolist()
    assert set((item["saliency"] * 255).round().unique().tolist()) <= {0, 200}
    assert set(item["mask"].unique().tolist()) <= {0, 1, 2, 3, 4, 5, 255}


def test_only_what_is_asked_for_is_read(data):
    item = TrainingImages(data.ids("val"), data.image, PARAMS, 0)[0, 0]
    assert item.keys() == {"image", "index"}


def test_items_depend_on_seed_epoch_and_index_alone(data, maps):
    first, second = dataset(data, maps), dataset(data, maps)
    expected = [first[place] for place in PLACES]
    for place, item in zip(reversed(PLACES), reversed(expected), strict=True):
        assert_same(second[place], item)
    assert not torch.equal(expected[1]["image"], expected[2]["image"])
    assert not torch.equal(expected[0]["image"], dataset(data, maps, seed=1)[0, 0]["image"])


def test_loader_workers_change_nothing(data, maps):
    alone, helped = (
        list(DataLoader(dataset(data, maps), batch_size=2, sampler=PLACES, num_workers=workers)) for workers in (0, 1)
    )
    for first, second in zip(alone, helped, strict=True):
        assert_same(first, second)


def test_saliency_pairs(root):
    pairs = SaliencySet(root / "DUTS-TR")
    item = TrainingImages(pairs.ids(), pairs.image, PARAMS, 0, mask=pairs.salient)[0, 1]
    assert set(item["mask"].unique().tolist()) <= {0, 1, 255}
    assert (item["mask"] == 1).any()


def test_missing_labels_and_maps_are_named(data, maps):
    with pytest.raises(UserError, match="10 images have no image label, the first is 'train_0000'"):
        TrainingImages(data.ids("train_aug"), data.image, PARAMS, 0, labels={})
    (maps / "train_0002.png").unlink()
    with pytest.raises(UserError, match=r"train_0002\.png does not exist"):
        dataset(data, maps)[0, 2]


def test_maps_of_another_size_are_named(data, maps):
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(maps / "train_0001.png")
    with pytest.raises(UserError, match=r"train_0001\.png is 6x5 pixels, but its image is 128x96"):
        dataset(data, maps)[0, 1]
