"""The classifier of MCIS against GuoleiSun/MCIS_wsss (commit 1fc8f75): names, optimiser groups, forward pass."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from golden.conftest import FOLDER, Arrays, assert_all_used, load
from golden.fill import fill
from torch import Tensor

from seedbed.engine.optim import parameter_groups
from seedbed.nn.coattention import PairLocaliser, from_published
from seedbed.nn.vgg import Vgg16
from seedbed.nn.weights import load_state
from seedbed.params import TrainParams

CASES = sorted((FOLDER / "mcis").glob("classifier*.npz"))
ONLY_SOFT = {"linear_scale", "feature1", "feature2", "affinity", "gate1", "gate2"}
"""What a case of plain weights does not record."""
SHAPES: dict[str, list[int]] = json.loads((FOLDER / "mcis" / "classifier_shapes.json").read_text())
OWN_NAMES = dict(zip(from_published(dict.fromkeys(SHAPES, torch.empty(0))), SHAPES, strict=True))
"""Our names to the published ones."""


def tolerance(name: str, soft: bool) -> float:
    """Return the README's absolute tolerance of array `name`; `soft`: the case's soft-max is far from one-hot."""
    if soft or not name.startswith(("co_", "diff_")):
        return 1e-4
    return 2e-3 if "_map" in name else 1e-3


def results(network: PairLocaliser, image1: Tensor, image2: Tensor) -> dict[str, Tensor]:
    """Our values under the names of the case; the common maps of the fast path under `fast_<name>`."""
    f1, f2 = network.features(image1), network.features(image2)
    pair, fast = network.pair(f1, f2), network.common_maps(f1, f2)
    maps = {"cam1": network.single_maps(f1), "cam2": network.single_maps(f2)}
    maps |= {"co_map1": pair.common1, "co_map2": pair.common2}
    maps |= {"diff_map1": pair.difference1, "diff_map2": pair.difference2}
    maps |= {"fast_co_map1": fast[0], "fast_co_map2": fast[1]}
    scores = {n.replace("cam", "score").replace("_map", "_score"): m.mean((2, 3)) for n, m in maps.items()}
    rows = {
        "logits": torch.cat([scores["score1"], scores["score2"]]),
        "co_logits": torch.cat([scores[f"{kind}_score{side}"] for kind in ("co", "diff") for side in (1, 2)]),
    }
    inner = {"feature1": f1, "feature2": f2, "affinity": pair.affinity, "gate1": pair.gate1, "gate2": pair.gate2}
    return maps | scores | rows | inner


@pytest.fixture(scope="module")
def network() -> PairLocaliser:
    with torch.device("meta"):  # no time spent on random weights
        width, num_classes = SHAPES["extra_linear_e.weight"][0], SHAPES["extra_gate.weight"][0]
        network = PairLocaliser(Vgg16(), num_classes, width)
    return network.to_empty(device="cpu").eval()


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return from_published(fill(SHAPES))


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.stem)
def arrays(request) -> Arrays:
    return load(request.param)


@pytest.fixture(scope="module")
def filled(network, weights, arrays) -> PairLocaliser:
    """The network with the weights of the case."""
    name = "coattention.extra_linear_e.weight"
    scaled = weights[name] * torch.from_numpy(arrays.get("linear_scale", np.ones((), np.float32)))
    load_state(network, {**weights, name: scaled}, source="golden case")
    return network


@pytest.fixture(scope="module")
def ours(filled, arrays) -> dict[str, Tensor]:
    with torch.no_grad():
        return results(filled, torch.from_numpy(arrays["image1"]), torch.from_numpy(arrays["image2"]))


@pytest.fixture
def near_enough(near, arrays) -> Callable[[str, Tensor, np.ndarray], None]:
    """Return `near` at the tolerance of an array of the case, given by name."""
    soft = "linear_scale" in arrays
    return lambda name, ours, expected: near(ours, expected, name, absolute=tolerance(name, soft))


def test_state_has_the_published_names_and_shapes(network):
    ours = {OWN_NAMES.get(name, name): list(value.shape) for name, value in network.state_dict().items()}
    assert ours == SHAPES


def test_optimiser_groups(network):
    published = json.loads((FOLDER / "mcis" / "param_groups.json").read_text())
    params = TrainParams(lr=1e-3, head_lr_factor=10, bias_lr_factor=2, decay="all", weight_decay=5e-4)
    names = {id(parameter): OWN_NAMES[name] for name, parameter in network.named_parameters()}
    groups = parameter_groups(network, params)
    ours = {round(group["lr"] / 1e-3, 9): sorted(names[id(p)] for p in group["params"]) for group in groups}
    expected = zip(published["lr_multipliers"], map(sorted, published["groups"]), strict=True)
    assert ours == dict(expected)
    assert len(groups) == len(ours)
    assert {group["weight_decay"] for group in groups} == {5e-4}


def test_every_result(near_enough, ours, arrays):
    """Also the common maps and scores of the fast path."""
    for name, value in ours.items():
        recorded = name.removeprefix("fast_")
        if recorded in arrays:
            near_enough(recorded, value, arrays[recorded])


def test_every_array_is_used(ours, arrays):
    used = {"image1", "image2", "linear_scale", *(name.removeprefix("fast_") for name in ours)}
    assert_all_used(arrays, used if "linear_scale" in arrays else used - ONLY_SOFT)


def test_scores_of_a_training_step(near_enough, filled, arrays):
    """Image 2 stands for the small and the large copy, which may have any size, and if it can for the related image."""
    image1, image2 = torch.from_numpy(arrays["image1"]), torch.from_numpy(arrays["image2"])
    related = image2 if image2.shape == image1.shape else image1
    with torch.no_grad():
        step = filled(image1, related, image1, image2, image2)
    common, difference = np.split(arrays["co_logits"], 2)
    for pair in (0, 2, 3) if related is image2 else (2, 3):
        near_enough("logits", step.single[pair], arrays["logits"])
        near_enough("co_score", step.common[pair], common)
    if related is image2:
        near_enough("diff_score", step.difference, difference)
