"""The published recipes in profiles/: known names, published numbers, and one step of every network at full size."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import default_collate

from seedbed.data.classes import COCO_CLASSES, VOC_CLASSES
from seedbed.data.datasets import TrainingImages
from seedbed.engine.optim import build_optimizer, parameter_groups
from seedbed.engine.sampler import StepSampler
from seedbed.engine.schedule import Schedule, factor
from seedbed.methods import get_method
from seedbed.methods.base import TrainingSet
from seedbed.nn.deeplab import build_segmenter
from seedbed.params import AugmentParams, LocaliserParams, SegmenterParams, TrainParams, load_params
from seedbed.seeds.fusion import published_values
from seedbed.segment.loss import build_loss
from seedbed.stages.context import Context
from seedbed.stages.training import patience

FOLDER = Path(__file__).parents[1] / "profiles"
RECIPES = {
    name: load_params(FOLDER / f"{name}.yaml") for name in ("voc12-eps", "voc12-cam", "voc12-mcis", "coco14-eps")
}
CLASSES = {"voc": len(VOC_CLASSES), "coco": len(COCO_CLASSES)}
SIDE, SQUARE = 97, 64  # crops, and the squares of pairs (copies of twice the side among them): small, for time
EPOCH = 2  # from here on every loss of MCIS counts


@dataclass(frozen=True)
class Recipe:
    """A network of a profile: the localiser of `method`, or the segmenter where that is empty."""

    method: str
    block: LocaliserParams | SegmenterParams
    num_classes: int

    @property
    def kind(self) -> str:
        return f"{self.method or self.block.head} {self.block.backbone}"


def recipes() -> dict[str, Recipe]:
    """Return every distinct network of the profiles, by profile and method."""
    found: dict[str, Recipe] = {}
    for profile, params in RECIPES.items():
        num_classes = CLASSES[params.data.classes]
        blocks = [(name, params.localiser[name]) for name in params.methods] + [("", params.segmenter)]
        for name, block in blocks:
            recipe = Recipe(name, block, num_classes)
            if recipe not in found.values():
                found[f"{profile} {name or 'segmenter'}"] = recipe
    return found


# Groups as (rate, decay), momentum, Nesterov, and how many tensors train.
PUBLISHED = {
    "cam resnet38d": ([(0.01, 5e-4), (0.1, 5e-4)], 5e-4, False, 36),
    "eps resnet38d": ([(0.01, 5e-4), (0.1, 5e-4)], 5e-4, False, 36),
    "cam vgg16-dilated": ([(1e-3, 5e-4), (2e-3, 5e-4), (1e-2, 5e-4), (2e-2, 5e-4)], 0.9, True, 34),
    "mcis vgg16-dilated": ([(1e-3, 5e-4), (2e-3, 5e-4), (1e-2, 5e-4), (2e-2, 5e-4)], 0.9, True, 37),
    "aspp resnet101-caffe": ([(2.5e-4, 5e-4), (2.5e-3, 5e-4), (5e-3, 0.0)], 0.9, False, 104 + 8),
    "largefov-caffe resnet101-caffe": ([(1e-3, 5e-4), (1e-2, 5e-4), (2e-2, 5e-4)], 0.9, False, 104 + 4),
}


@pytest.fixture
def photographs(tmp_path: Path) -> dict[str, Image.Image]:
    """Return two generated images; beside them, in `tmp_path`, lie their saliency maps."""
    rng = np.random.default_rng(0)
    images = {}
    for name in ("first", "second"):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        images[name] = coarse.resize((120, 90), Image.Resampling.BICUBIC)
        grey = Image.fromarray(rng.integers(0, 256, (6, 8), np.uint8))
        grey.resize((120, 90), Image.Resampling.BICUBIC).save(tmp_path / f"{name}.png")
    return images


def small(augment: AugmentParams) -> AugmentParams:
    """Return `augment` with a crop that a test has the time for."""
    if augment.resize == "square":
        return augment.model_copy(update=dict.fromkeys(("low", "high", "crop"), SQUARE))
    return augment.model_copy(update={"crop": SIDE})


def two_masks(image_id: str, size: tuple[int, int]) -> np.ndarray:
    """Return a mask of background, two classes and ignore."""
    ids = np.array([0, 1, 20, 255] if image_id == "first" else [0, 0, 7, 7], np.uint8)
    return np.repeat(ids, size[0] // 4)[None].repeat(size[1], axis=0)


def prepare(
    recipe: Recipe, images: dict[str, Image.Image], saliency: Path
) -> tuple[nn.Module, dict[str, Tensor], Callable[..., dict[str, Tensor]], TrainParams]:
    """Return network, a batch of the two images, loss and training parameters of `recipe`."""
    block, ids = recipe.block, list(images)
    if isinstance(block, SegmenterParams):
        network = build_segmenter(block.model_copy(update={"weights": None}), recipe.num_classes + 1)
        items = TrainingImages(ids, images.__getitem__, small(block.augment), 0, mask=two_masks)
        loss, train = build_loss(block), block.train
    else:
        method = get_method(recipe.method)
        network = method.network(block, recipe.num_classes, pretrained=False)
        labels = dict(zip(ids, np.eye(recipe.num_classes, dtype=np.float32)[[[0, 1], [1, 2]]].sum(axis=1), strict=True))
        folder = saliency if method.uses_saliency else None
        items = method.images(TrainingSet(ids, images.__getitem__, labels, folder, small(block.augment), 0))
        loss, train = method.training_loss(block), method.training(block.train)
    batch = default_collate([items[EPOCH, index] for index in range(len(ids))])
    if "related" in batch:  # each becomes the other's partner, so that no loss is left out
        batch |= {"related": batch["image"].flip(0), "related_label": batch["label"].flip(0)}
    return network.train(), batch, loss, train


@pytest.mark.parametrize("profile", RECIPES)
def test_every_name_is_known(profile: str) -> None:
    assert Context.load(FOLDER / f"{profile}.yaml").params == RECIPES[profile]


@pytest.mark.parametrize("recipe", recipes().values(), ids=recipes())
def test_one_step_of_every_network(recipe: Recipe, photographs: dict[str, Image.Image], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, batch, loss, train = prepare(recipe, photographs, tmp_path)
    groups = parameter_groups(network, train)
    optimizer = build_optimizer(groups, train)
    rates, momentum, nesterov, count = PUBLISHED[recipe.kind]
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [pytest.approx(rate) for rate in rates]
    assert all(group["momentum"] == momentum and group["nesterov"] == nesterov for group in optimizer.param_groups)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    assert Schedule(optimizer, train).set(0) == train.lr
    losses = loss(network, batch)
    losses["total"].backward()
    assert all(parameter.grad.any() for parameter in network.parameters() if parameter.requires_grad)
    optimizer.step()

    assert all(torch.isfinite(value) for value in losses.values()), losses
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert len(changed) == count


@pytest.mark.parametrize("name", ["cam", "eps"])
def test_the_rate_on_coco_is_that_of_the_published_log(name: str) -> None:
    train = RECIPES["coco14-eps"].localiser[name].train
    printed = {step: f"{train.lr * factor(step, train):.4f}" for step in (50000, 64100, 76750, train.steps - 1)}
    assert printed == {50000: "0.0039", 64100: "0.0020", 76750: "0.0000", 256499: "0.0000"}
    assert train.horizon == 15 * (82081 // train.batch)
    assert factor(train.steps - 1, train) > 0


@pytest.mark.parametrize("name", ["cam", "mcis"])
def test_epochs_of_mcis(name: str) -> None:
    train = RECIPES["voc12-mcis"].localiser[name].train
    epoch = StepSampler(10582, train, seed=0).steps_per_epoch
    assert epoch == 2117
    assert train.steps == 11 * epoch  # the maps come from the weights after epoch index 10
    factors = [factor(step * epoch + shift, train) for step in range(11) for shift in (0, epoch - 1)]
    assert factors == pytest.approx([1] * 10 + [0.1] * 10 + [0.01] * 2)


def test_epochs_of_eps() -> None:
    train = RECIPES["voc12-eps"].localiser["eps"].train
    assert train.steps * train.batch / 10582 == pytest.approx(15.1, abs=0.05)
    assert factor(train.steps - 1, train) == pytest.approx((1 / 20000) ** 0.9)


@pytest.mark.parametrize("profile", RECIPES)
def test_no_ground_truth_chooses_anything(profile: str) -> None:
    params = RECIPES[profile]
    assert params.study.tune_images == 0
    for fusion in params.fusion.values():
        assert fusion.choose == "published"
        assert not fusion.crf


def test_published_thresholds() -> None:
    assert published_values("threshold") == {"threshold": 0.2}
    assert {
        fusion.rule for name in ("voc12-eps", "voc12-cam", "coco14-eps") for fusion in RECIPES[name].fusion.values()
    } == {"threshold"}
    assert {fusion.rule for fusion in RECIPES["voc12-mcis"].fusion.values()} == {"mcis"}


def test_the_baseline_is_that_of_eps() -> None:
    eps, cam = RECIPES["voc12-eps"].model_dump(), RECIPES["voc12-cam"].model_dump()
    for block in ("localiser", "fusion"):
        assert cam[block] == {"cam": eps[block].pop("cam")}
    different = {name for name in cam if cam[name] != eps[name]}
    assert different == {"methods", "localiser", "fusion"}


@pytest.mark.parametrize("profile", RECIPES)
def test_the_card_says_what_is_published_what_is_not_and_what_differs(profile: str) -> None:
    card = (FOLDER / f"{profile}.yaml").read_text().partition("\nseed:")[0]
    headings = re.findall(r"^# ([A-Z ]+?)(?: \(.*\))?$", card, re.MULTILINE)
    assert headings == ["PUBLISHED", "HERE", "DIFFERS FROM THE PUBLICATION", "BRING", "RUN"]
    assert card.startswith(f"# {profile}: ")
    assert "Not reproduced" in card


@pytest.mark.parametrize(
    ("profile", "method", "images", "step"),
    [("voc12-mcis", "mcis", 10582, 4232), ("voc12-eps", "eps", 10582, 2645), ("coco14-eps", "eps", 82081, 10260)],
)
def test_a_collapse_is_told_after_two_epochs(profile: str, method: str, images: int, step: int) -> None:
    assert patience(images, RECIPES[profile].localiser[method].train) == step


def test_a_collapse_is_told_half_way_through_a_short_training() -> None:
    assert patience(280, TrainParams(steps=300, batch=16)) == 150
