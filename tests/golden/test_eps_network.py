"""ResNet38d, the localisers of EPS and of its baseline on it, and one training step of each, as the published code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from golden.conftest import assert_all_used
from golden.fill import fill
from torch import Tensor, nn

from seedbed.engine.optim import build_optimizer, parameter_groups
from seedbed.engine.schedule import Schedule
from seedbed.methods import METHODS
from seedbed.methods.base import Batch, Method
from seedbed.nn.classifier import from_published
from seedbed.nn.weights import check_state
from seedbed.params import LocaliserParams, TrainParams

KINDS = {"eps": ("eps", 0.0), "base": ("cam", 0.5)}
"""Our method, and its dropout before the classifier, for each network of the case."""
INPUTS = {"x": "image", "saliency": "saliency", "label": "label"}
"""Names of the step's inputs in the case and in a batch."""
FACTORS = (1, 2, 10, 20)
"""On the rate: convolutions and biases of the backbone, weight and bias of fc8."""
SIDES = ("conv4", "conv5", "conv6")
FORWARD, GRADIENT = 1e-4, 1e-3


@dataclass(frozen=True)
class Step:
    """A training step: its losses, and for each trained tensor the norms of its gradient and of its change."""

    losses: dict[str, float]
    grad_norms: list[float]
    update_norms: list[float]
    fc8_grad: Tensor
    b3_shortcut_grad: Tensor


@dataclass(frozen=True)
class Replay:
    """One network of the case, and what our code makes of its inputs, computed once."""

    kind: str
    settings: dict[str, Any]
    arrays: dict[str, np.ndarray]
    method: Method
    params: LocaliserParams
    network: nn.Module
    dropout: list[list[Any]]
    """Name and probability of each dropout layer that is active in training."""
    maps: Tensor
    sides: dict[str, Tensor]
    step: Step


@pytest.fixture(scope="module", params=list(KINDS))
def replay(golden, request) -> Replay:
    settings, arrays = golden("eps", "network")
    kind = request.param
    name, dropout = KINDS[kind]
    method, params = METHODS[name], recipe(name, dropout, settings["step"])
    with torch.device("meta"):  # no time spent on random weights
        network = method.network(params, settings["num_classes"], pretrained=False)
    state = from_published(fill(shapes_of(kind, settings)))
    check_state(network, state, source="golden case")
    network.load_state_dict(state, assign=True)
    with torch.no_grad():
        x = torch.from_numpy(arrays["x"])
        maps, sides = network.eval()(x), network.backbone.side_outputs(x)
    active = active_dropout(network.train())
    batch = {ours: torch.from_numpy(arrays[f"step_{theirs}"]) for theirs, ours in INPUTS.items()}
    scale_head(network, settings["step"]["fc8_scale"])
    step = train_once(method, params, network, batch)
    return Replay(kind, settings, arrays, method, params, network, active, maps, sides, step)


def recipe(method: str, dropout: float, step: dict[str, Any]) -> LocaliserParams:
    """Return the published recipe with the settings of the case."""
    return LocaliserParams(
        backbone="resnet38d",
        batchnorm="frozen",
        freeze_stem=True,
        dropout=dropout,
        options={"tau": step["tau"], "lam": step["lam"]} if method == "eps" else {},
        train=TrainParams(
            steps=step["max_step"],
            lr=step["base_lr"],
            head_lr_factor=10,
            bias_lr_factor=2,
            weight_decay=step["weight_decay"],
            momentum="published",
        ),
    )


def shapes_of(kind: str, settings: dict[str, Any]) -> dict[str, list[int]]:
    """Return the state dict of a published network: its names and shapes."""
    return settings["eps_state"] | (settings["base_state_differs_in"] if kind == "base" else {})


def published_name(name: str) -> str:
    return "dropout7" if name == "dropout" else name.removeprefix("backbone.")


def active_dropout(network: nn.Module) -> list[list[Any]]:
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Dropout2d)]
    return [[published_name(name), layer.p] for name, layer in layers if layer.training and layer.p > 0]


def trained(network: nn.Module) -> dict[str, nn.Parameter]:
    return {published_name(name): value for name, value in network.named_parameters() if value.requires_grad}


def scale_head(network: nn.Module, text: str) -> None:
    """Scale fc8.weight as the case says: `... times 2**-10`."""
    match = re.search(r"times 2\*\*(-?\d+)$", text)
    assert match
    with torch.no_grad():
        network.fc8.weight.mul_(2.0 ** int(match[1]))


def train_once(method: Method, params: LocaliserParams, network: nn.Module, batch: Batch) -> Step:
    """Take the first step, on `batch`, all dropout probabilities 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Dropout2d):
            layer.p = 0.0
    train, parameters = method.training(params.train), trained(network)
    before = [parameter.detach().clone() for parameter in parameters.values()]
    optimizer = build_optimizer(parameter_groups(network, train), train)
    Schedule(optimizer, train).set(0)
    losses = method.training_loss(params)(network, batch)
    losses["total"].backward()
    optimizer.step()
    return Step(
        {name: loss.item() for name, loss in losses.items()},
        [norm(parameter.grad) for parameter in parameters.values()],
        [norm(parameter.detach() - old) for parameter, old in zip(parameters.values(), before, strict=True)],
        network.fc8.weight.grad[:, :, 0, 0],
        network.backbone.b3.conv_branch1.weight.grad[:, :, 0, 0],
    )


def norm(tensor: Tensor) -> float:
    return tensor.double().norm().item()


def test_state_has_the_published_names_and_shapes(replay):
    ours = {published_name(name): list(value.shape) for name, value in replay.network.state_dict().items()}
    assert ours == shapes_of(replay.kind, replay.settings)


def test_maps_and_scores(near, replay):
    arrays = replay.arrays
    maps = {"eps": replay.maps, "base": replay.method.class_maps(replay.maps)}[replay.kind]
    near(maps, arrays[{"eps": "eps_logits", "base": "base_cam"}[replay.kind]], relative=FORWARD)
    near(replay.maps.mean((2, 3)), arrays[f"{replay.kind}_pooled"], relative=FORWARD)


@pytest.mark.parametrize("name", SIDES)
def test_side_outputs(near, replay, name):
    side, arrays = replay.sides[name], replay.arrays
    near(side[:, : arrays[f"{name}_first"].shape[1]], arrays[f"{name}_first"], relative=FORWARD)
    near(side.mean((2, 3)), arrays[f"{name}_mean"], relative=FORWARD)
    near(side.amax((2, 3)), arrays[f"{name}_max"], relative=FORWARD)


def test_what_is_active_in_training(replay):
    kind, settings = replay.kind, replay.settings
    norms = {name: layer for name, layer in replay.network.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    assert norms
    assert list(trained(replay.network)) == settings[f"{kind}_trainable"]
    assert [name for name, layer in norms.items() if layer.training] == settings[f"{kind}_batchnorm_in_training_mode"]
    assert replay.dropout == settings[f"{kind}_dropout"]


def test_optimizer_groups(replay):
    """The published groups hold frozen layers too, which never move; ours do without, and without empty groups."""
    kind, settings, network = replay.kind, replay.settings, replay.network
    train, trainable = replay.params.train, settings[f"{kind}_trainable"]
    decays = (train.weight_decay, 0, train.weight_decay, 0)
    published = zip(settings[f"{kind}_groups"], FACTORS, decays, strict=True)
    expected = [([n for n in names if n in trainable], train.lr * factor, decay) for names, factor, decay in published]
    names = {parameter: name for name, parameter in trained(network).items()}
    ours = [
        ([names[parameter] for parameter in group["params"]], group["lr"], group["weight_decay"])
        for group in parameter_groups(network, train)
    ]
    assert ours == [group for group in expected if group[0]]


def test_losses_of_a_step(near, replay):
    losses = replay.step.losses
    ours = [losses.get("classification", losses["total"]), losses.get("saliency", 0), losses["total"]]
    near(ours, replay.arrays[f"step_{replay.kind}_losses"], absolute=1e-5)


def test_gradients_of_a_step(near, replay):
    step, arrays, prefix = replay.step, replay.arrays, f"step_{replay.kind}"
    head, shortcut = arrays[f"{prefix}_fc8_grad"], arrays[f"{prefix}_b3_shortcut_grad"]
    near(step.grad_norms, arrays[f"{prefix}_grad_norm"], each=GRADIENT)
    near(step.fc8_grad[:, : head.shape[1]], head, relative=GRADIENT)
    near(step.b3_shortcut_grad[: len(shortcut)], shortcut, relative=GRADIENT)


def test_change_by_a_step(near, replay):
    near(replay.step.update_norms, replay.arrays[f"step_{replay.kind}_update_norm"], each=GRADIENT)


def test_every_array_is_used(golden):
    _, arrays = golden("eps", "network")
    of_step = ("losses", "grad_norm", "update_norm", "fc8_grad", "b3_shortcut_grad")
    used = {"x", "eps_logits", "eps_pooled", "base_cam", "base_pooled", *(f"step_{name}" for name in INPUTS)}
    used |= {f"{side}_{part}" for side in SIDES for part in ("first", "mean", "max")}
    used |= {f"step_{kind}_{name}" for kind in KINDS for name in of_step}
    assert_all_used(arrays, used)
