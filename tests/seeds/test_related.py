from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from seedbed.data.augment import normalise
from seedbed.errors import UserError
from seedbed.nn.coattention import CoAttention
from seedbed.params import AugmentParams, SeedsParams
from seedbed.seeds import INFERENCES, Job
from seedbed.seeds.related import PairReader, aggregate, enlarge, infer_related

SIDE, CLASSES = 32, 4
AUGMENT = AugmentParams(resize="square", low=SIDE, high=SIDE, crop=SIDE, flip=0, interpolation="bilinear")


class Pairs(nn.Module):
    """A pair network that is cheap and not symmetric under mirroring; it counts the images it computes features of."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 6, 5, stride=4, padding=2)
        self.coattention = CoAttention(6, CLASSES)
        self.passes: list[int] = []

    def features(self, x: torch.Tensor) -> torch.Tensor:
        self.passes.append(len(x))
        return self.layer(x).relu()

    def common_maps(self, f1: torch.Tensor, f2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.coattention.common_maps(f1, f2)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    rng = np.random.default_rng(0)
    labels = {"a": [1, 0, 0, 1], "b": [0, 0, 0, 0], "c": [0, 1, 0, 0], "d": [1, 1, 0, 0], "e": [0, 0, 1, 1]}
    paths = {}
    for i, name in enumerate(labels):
        paths[name] = tmp_path / f"{name}.png"
        Image.fromarray(rng.integers(0, 256, (30 + i, 40 - i, 3), np.uint8)).save(paths[name])
    return Job(
        Pairs().eval(),
        lambda maps: maps,
        SeedsParams(related=2, batch=8),
        AUGMENT,
        torch.device("cpu"),
        paths,
        paths,
        {name: np.array(label, np.float32) for name, label in labels.items()},
        seed=3,
    )


def infer(job: Job) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {name: (maps, classes) for name, maps, classes in infer_related(job)}


@torch.inference_mode()
def one_pair_at_a_time(job: Job, name: str) -> np.ndarray:
    """The published procedure to the letter: every pair by itself, features computed anew."""

    def square(other: str, side: int = SIDE) -> torch.Tensor:
        with Image.open(job.training[other]) as image:
            return normalise(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))[None]

    def pair(second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = job.network.common_maps(job.network.features(square(name)), job.network.features(second))
        return maps[0][0], maps[1][0]

    classes = np.flatnonzero(job.labels[name])
    related = iter(PairReader(job).related(name, classes))
    mirrored1, mirrored2 = pair(square(name).flip(-1))
    small2, large2 = pair(square(name, 24))[1], pair(square(name, 64))[1]
    found = []
    for index in classes:
        mean = torch.stack([pair(square(next(related)))[0] for _ in range(job.params.related)]).mean(0)
        copies = [maps[index][None] for maps in (mirrored1, mirrored2, small2, large2)]
        found.append(aggregate(mean[index][None, None, None], *copies))
    with Image.open(job.training[name]) as image:
        return enlarge(torch.cat(found), (image.height, image.width)).numpy()


def test_batched_inference_equals_one_pair_at_a_time(job: Job) -> None:
    seeds = infer(job)
    assert seeds.keys() == job.paths.keys()
    for name, (maps, classes) in seeds.items():
        np.testing.assert_array_equal(classes, np.flatnonzero(job.labels[name]))
        if len(classes):
            levels = np.rint(maps.astype(np.float16) * np.float32(255))
            assert np.abs(levels - one_pair_at_a_time(job, name)).max() <= 2  # a level is cut off before the resize
            assert maps.max() > 0


def test_an_image_passes_the_backbone_once_per_size(job: Job) -> None:
    infer(replace(job, paths={"a": job.paths["a"]}))
    assert job.network.passes == [2 + 2 * 2, 1, 1]


def test_passes_are_no_larger_than_asked_for(job: Job) -> None:
    small = replace(job, params=SeedsParams(related=2, batch=4))
    found = infer(small)
    assert max(job.network.passes) == 4
    for name, (maps, _) in infer(job).items():
        np.testing.assert_allclose(found[name][0], maps, atol=1.01 / 255)  # a level is cut off, rounding may move it


def test_neither_order_nor_the_other_images_matter(job: Job) -> None:
    every = infer(job)
    some = infer(replace(job, paths={name: job.paths[name] for name in ("e", "a")}))
    assert list(some) == ["e", "a"]
    for name, (maps, _) in some.items():
        np.testing.assert_array_equal(maps, every[name][0])


def test_related_images_show_the_class_and_follow_the_seed(job: Job) -> None:
    params = SeedsParams(related=20)
    drawn = PairReader(replace(job, params=params)).related("a", np.array([0, 3]))
    assert len(drawn) == 40
    assert set(drawn[:20]) == {"a", "d"}
    assert set(drawn[20:]) == {"a", "e"}
    assert drawn != PairReader(replace(job, params=params, seed=4)).related("a", np.array([0, 3]))


def test_image_without_labels_has_no_maps(job: Job) -> None:
    maps, classes = infer(job)["b"]
    assert maps.shape == (0, 31, 39)
    assert classes.size == 0


def test_missing_labels_and_broken_weights_are_user_errors(job: Job) -> None:
    with pytest.raises(UserError, match=r"image c .* no image labels"):
        infer(replace(job, labels={name: label for name, label in job.labels.items() if name != "c"}))
    nn.init.constant_(job.network.layer.weight, float("nan"))
    with pytest.raises(UserError, match="image a are not finite"):
        infer(job)


def test_maps_of_unlikely_classes_are_left_out_of_the_sum_but_not_of_the_mean() -> None:
    likely, unlikely = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.tensor([[[4.0, -40.0], [0.0, 0.0]]])
    first = torch.tensor([[[-90.0, 5.0], [0.0, 0.0]]])  # unlikely as it is, it counts
    merged = aggregate(likely[:, None, None], first, likely.flip(-1), unlikely, likely)
    assert merged.tolist() == [[[153, 51], [0, 0]]]  # 3 and 1 of 5 parts of 255
    empty = -torch.ones(1, 2, 2)
    assert not aggregate(empty[:, None, None], empty, empty, empty, empty).any()


def test_class_k_is_read_from_the_pairs_with_images_of_class_k() -> None:
    related = torch.zeros(2, 3, 2, 4, 4)
    related[0, :, 1] = 1  # what images of class 0 say of class 1 is not asked
    related[1, 0, 1, 2, 3] = 1
    nothing = torch.zeros(2, 4, 4)
    merged = aggregate(related, nothing, nothing, nothing, nothing)
    assert np.argwhere(merged.numpy()).tolist() == [[1, 2, 3]]


def test_enlarged_maps_stay_levels() -> None:
    maps = torch.tensor([[[0, 255], [255, 0]]], dtype=torch.uint8)
    large = enlarge(maps, (7, 9))
    assert (large.shape, large.dtype) == ((1, 7, 9), torch.uint8)
    assert (int(large.min()), int(large.max())) == (0, 255)
    assert torch.equal(enlarge(maps, (2, 2)), maps)


def test_bfloat16_changes_little(job: Job) -> None:
    half = infer(replace(job, params=SeedsParams(related=2, precision="bf16")))
    for name, (maps, _) in infer(job).items():
        assert maps.size == 0 or np.abs(maps - half[name][0]).mean() < 0.1


@pytest.mark.parametrize("name", INFERENCES)
def test_every_inference_does_the_job(job: Job, name: str) -> None:
    if name == "multi-scale":
        job = replace(job, network=nn.Conv2d(3, CLASSES, 5, stride=4, padding=2))
    for image, maps, classes in INFERENCES[name](job):
        with Image.open(job.paths[image]) as picture:
            assert maps.shape == (len(classes), picture.height, picture.width)
        assert maps.dtype == np.float32
        assert classes.dtype == np.int64
