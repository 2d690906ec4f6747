"""ResNet38d and the localiser on it against the published EPS code: forward pass, trainable tensors, dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from golden.fill import fill, tensor
from torch import Tensor, nn

from seedbed.nn.classifier import Localiser, from_published
from seedbed.nn.freeze import freeze_batchnorm, freeze_untrained
from seedbed.nn.resnet38d import ResNet38d
from seedbed.nn.weights import load_state


@dataclass(frozen=True)
class Replay:
    """The golden case beside what our network makes of its input, computed once."""

    settings: dict[str, Any]
    arrays: dict[str, np.ndarray]
    network: Localiser
    maps: Tensor
    sides: dict[str, Tensor]


@pytest.fixture(scope="module")
def replay(golden) -> Replay:
    settings, arrays = golden("eps", "network")
    with torch.device("meta"):  # no time spent on random weights
        network = Localiser(ResNet38d(), settings["num_classes"] + 1)
    network.to_empty(device="cpu").eval()
    load_state(network, from_published(fill(settings["eps_state"])), source="golden case")
    sides: dict[str, Tensor] = {}
    side_outputs = network.backbone.side_outputs

    def spy(x: Tensor) -> dict[str, Tensor]:
        sides.update(side_outputs(x))
        return sides

    network.backbone.side_outputs = spy
    with torch.no_grad():
        maps = network(torch.from_numpy(arrays["x"]))
    del network.backbone.side_outputs
    return Replay(settings, arrays, network, maps, sides)


def assert_close(ours: Tensor, golden: np.ndarray) -> None:
    """Compare at the tolerance of the case: the largest difference relative to the largest golden value."""
    assert ours.shape == golden.shape
    assert np.abs(ours.numpy() - golden).max() <= 1e-4 * np.abs(golden).max()


def test_state_has_the_published_names_and_shapes(replay):
    ours = {name.removeprefix("backbone."): list(value.shape) for name, value in replay.network.state_dict().items()}
    assert ours == replay.settings["eps_state"]


def test_eps_maps_and_scores(replay):
    assert_close(replay.maps, replay.arrays["eps_logits"])
    assert_close(replay.maps.mean((2, 3)), replay.arrays["eps_pooled"])


@pytest.mark.parametrize("name", ["conv4", "conv5", "conv6"])
def test_side_outputs(replay, name):
    side, arrays = replay.sides[name], replay.arrays
    assert_close(side[:, : arrays[f"{name}_first"].shape[1]], arrays[f"{name}_first"])
    assert_close(side.mean((2, 3)), arrays[f"{name}_mean"])
    assert_close(side.amax((2, 3)), arrays[f"{name}_max"])


def test_base_cam_and_scores(replay):
    ((name, shape),) = replay.settings["base_state_differs_in"].items()
    raw = nn.functional.conv2d(replay.sides["conv6"], tensor(name, tuple(shape)))
    assert_close(raw.relu(), replay.arrays["base_cam"])
    assert_close(raw.mean((2, 3)), replay.arrays["base_pooled"])


@pytest.mark.parametrize(("kind", "dropout"), [("eps", 0.0), ("base", 0.5)])
def test_training_mode_as_published(replay, kind, dropout):
    with torch.device("meta"):
        network = Localiser(ResNet38d(), 20, dropout)
    freeze_batchnorm(network)
    freeze_untrained(network.backbone)
    network.train()
    trainable = [name.removeprefix("backbone.") for name, p in network.named_parameters() if p.requires_grad]
    assert trainable == replay.settings[f"{kind}_trainable"]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms)
    assert len(norms) > 30
    drops = [m.p for m in network.modules() if isinstance(m, nn.Dropout2d) and m.training and m.p > 0]
    assert drops == [p for _, p in replay.settings[f"{kind}_dropout"]]


def test_gradients_and_first_update_of_the_base_network(replay):
    arrays, step = replay.arrays, replay.settings["step"]
    ((name, shape),) = replay.settings["base_state_differs_in"].items()
    network = replay.network
    network.fc8.weight = nn.Parameter(tensor(name, tuple(shape)) * 2**-10)
    freeze_batchnorm(network)
    freeze_untrained(network.backbone)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    scores = network(torch.from_numpy(arrays["step_x"])).mean((2, 3))
    loss = nn.functional.multilabel_soft_margin_loss(scores, torch.from_numpy(arrays["step_label"]))
    loss.backward()
    assert abs(loss.item() - arrays["step_base_losses"][0]) <= 1e-5
    assert_close(network.fc8.weight.grad[:, :128, 0, 0], arrays["step_base_fc8_grad"])
    assert_close(network.backbone.b3.conv_branch1.weight.grad[:16, :, 0, 0], arrays["step_base_b3_shortcut_grad"])
    trained = {n.removeprefix("backbone."): p for n, p in network.named_parameters() if p.requires_grad}
    norms, updates = [], []
    for n, p in trained.items():
        rate = step["base_lr"] * (10 if n == "fc8.weight" else 1)
        norms.append(p.grad.double().norm().item())
        updates.append(rate * (p.grad + step["weight_decay"] * p.detach()).double().norm().item())
    assert list(trained) == replay.settings["base_trainable"]
    np.testing.assert_allclose(norms, arrays["step_base_grad_norm"], rtol=1e-3)
    np.testing.assert_allclose(updates, arrays["step_base_update_norm"], rtol=1e-3)
