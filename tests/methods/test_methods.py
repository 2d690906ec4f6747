"""What every method owes the stages, whatever it computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seedbed.data.datasets import TrainingImages
from seedbed.data.pairs import PairImages
from seedbed.errors import UserError
from seedbed.methods import METHODS, Method, get_method, method_of
from seedbed.methods.base import TrainingSet, prior_level
from seedbed.params import AugmentParams, LocaliserParams, TrainParams

TRAINED = [method for method in METHODS.values() if isinstance(method, Method)]
PLAIN = [method for method in TRAINED if method.inference == "multi-scale"]
LABELS = (np.random.default_rng(0).random((60, 4)) < (0.1, 0.3, 0.5, 0.9)).astype(np.float32)


def named(method) -> str:
    return method.name


@pytest.mark.parametrize("method", TRAINED, ids=named)
def test_a_training_step_lowers_the_loss(method, small, random_batch) -> None:
    torch.manual_seed(0)
    network = method.network(small, num_classes=3).train()
    loss, batch = method.training_loss(small), random_batch(method)
    before = loss(network, batch)
    before["total"].backward()
    assert all(torch.isfinite(value) for value in before.values())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    torch.optim.SGD(network.parameters(), lr=1e-5).step()
    after = loss(network, batch)
    assert after["total"] < before["total"]
    assert after.keys() == before.keys()


@pytest.mark.parametrize("method", PLAIN, ids=named)
def test_plain_methods_make_non_negative_maps_of_single_images(method, small) -> None:
    network = method.network(small, num_classes=3)
    maps = method.class_maps(network(torch.randn(2, 3, 48, 64)))
    assert maps.shape == (2, 3, 3, 4)
    assert (maps >= 0).all()


@pytest.mark.parametrize("method", TRAINED, ids=named)
def test_the_prior_is_the_level_of_losses_that_exist(method, small, random_batch) -> None:
    prior = method.prior(LABELS)
    losses = method.training_loss(small)(method.network(small, num_classes=3), random_batch(method))
    assert prior.keys() <= losses.keys()
    assert prior == method.prior(LABELS)
    assert all(0 < level <= np.log(2) for level in prior.values())


def test_prior_level_is_the_loss_of_the_frequencies_as_scores() -> None:
    label = torch.from_numpy(LABELS)
    scores = torch.logit(label.mean(dim=0)).expand_as(label)
    expected = torch.nn.functional.multilabel_soft_margin_loss(scores, label)
    assert prior_level(LABELS) == pytest.approx(expected.item(), abs=1e-6)


def test_prior_level_of_certain_classes_is_nothing() -> None:
    assert prior_level(np.array([[1, 0], [1, 0]], np.float32)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("method", "given", "used"),
    [
        ("cam", "published", 0.05),
        ("eps", "published", 0.05),
        ("mcis", "published", "textbook"),
        ("eps", "textbook", "textbook"),
        ("mcis", 0.5, 0.5),
    ],
)
def test_published_momentum_is_that_of_the_method(method, given, used) -> None:
    params = TrainParams(momentum=given, weight_decay=0.05)
    resolved = get_method(method).training(params)
    assert resolved == params.model_copy(update={"momentum": used})


@pytest.mark.parametrize("method", TRAINED, ids=named)
def test_training_items_are_those_of_the_method(method) -> None:
    augment = AugmentParams(resize="square", low=32, high=32, crop=32, flip=0)
    labels = {"a": np.array([1, 0], np.float32), "b": np.array([1, 1], np.float32)}
    images = method.images(
        TrainingSet(["a", "b"], image=None, labels=labels, saliency_dir=None, augment=augment, seed=3)
    )
    assert isinstance(images, PairImages if method.inference == "related" else TrainingImages)
    assert (images.ids, images.seed, images.params) == (["a", "b"], 3, augment)
    assert images.labels.tolist() == [[1, 0], [1, 1]]


def test_frozen_batchnorm_stays_as_it_is(small) -> None:
    network = get_method("cam").network(small.model_copy(update={"batchnorm": "frozen"}), 3).train()
    before = {name: value.clone() for name, value in network.state_dict().items() if "running" in name}
    network(torch.randn(2, 3, 48, 48))
    after = network.state_dict()
    assert before
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_unknown_options_and_methods_are_named() -> None:
    with pytest.raises(UserError, match="did you mean 'tau'"):
        get_method("eps").check_options({"tua": 0.3})
    with pytest.raises(UserError, match=r"localiser.eps.options: lam"):
        get_method("eps").check_options({"lam": 3})
    with pytest.raises(UserError, match="did you mean 'width'"):
        get_method("mcis").check_options({"widht": 64})
    with pytest.raises(UserError, match=r"localiser.mcis.options: difference_from"):
        get_method("mcis").check_options({"difference_from": -1})
    with pytest.raises(UserError, match="did you mean 'bias'"):
        get_method("cam").check_options({"bais": True})
    with pytest.raises(UserError, match="did you mean 'eps'"):
        get_method("epss")


def test_a_block_is_of_the_method_it_names_else_of_its_own_name() -> None:
    assert method_of("eps", LocaliserParams()) is get_method("eps")
    assert method_of("eps-wide", LocaliserParams(method="eps")) is get_method("eps")
    for name, block in (("eps-wide", LocaliserParams()), ("wide", LocaliserParams(method="epss"))):
        with pytest.raises(UserError, match="did you mean 'eps'") as caught:
            method_of(name, block)
        assert f"localiser.{name}.method" in caught.value.fix


def test_options_are_named_as_those_of_their_block() -> None:
    with pytest.raises(UserError, match=r"localiser.eps-wide.options: lam"):
        get_method("eps").check_options({"lam": 3}, "eps-wide")
