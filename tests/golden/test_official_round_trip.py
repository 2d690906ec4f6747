"""Official files of generated weights, imported by the command line, give the golden outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden.conftest import FOLDER, load
from golden.fill import fill
from nn.mxnet_writer import params
from torch import Tensor, nn
from typer.testing import CliRunner

from seedbed.cli import app
from seedbed.nn.backbones import build_backbone
from seedbed.nn.coattention import PairLocaliser
from seedbed.nn.official import OFFICIAL
from seedbed.nn.weights import load_weights

CLASSIFIERS = sorted((FOLDER / "mcis").glob("classifier*.npz"))
LOCALISERS = {"eps": ("eps_logits", "eps_pooled"), "cam": ("base_cam", "base_pooled")}
"""Maps and scores of each official file; those of `cam` are recorded after ReLU."""
COUNTER = "num_batches_tracked"
FORWARD = 1e-4


def bring_in(file: Path, name: str, *words: str) -> tuple[Path, str]:
    """Import `file` as `name` and remove it; return the folder that holds it now, and what the command printed."""
    folder = file.with_name("imported")
    result = CliRunner().invoke(app, ["weights", "import", str(file), "--as", name, "--out", str(folder), *words])
    assert result.exit_code == 0, result.output + str(result.exception)
    file.unlink()
    return folder, result.output


def checkpoint(state: dict[str, Tensor], file: Path) -> Path:
    """Write what a training loop on DataParallel saved with an old PyTorch: prefixes, no counters."""
    prefixed = {f"module.{name}": value for name, value in state.items() if not name.endswith(COUNTER)}
    torch.save({"epoch": 10, "global_counter": 5, "state_dict": prefixed, "optimizer": {"param_groups": []}}, file)
    return file


def imported(name: str, num_classes: int, folder: Path) -> nn.Module:
    """Return the network of official file `name` with the weights in `folder`, which are removed."""
    network = OFFICIAL[name].network(num_classes).to_empty(device="cpu").eval()
    load_weights(network, folder)
    (folder / "weights.safetensors").unlink()
    return network


@pytest.fixture(scope="module")
def eps_state() -> dict[str, Tensor]:
    """Return the weights of the golden EPS network, 500 MB."""
    return fill(json.loads((FOLDER / "eps" / "network.json").read_text())["eps_state"])


@pytest.mark.parametrize("name", LOCALISERS)
def test_a_localiser_gives_the_golden_maps(golden, near, eps_state, tmp_path, name):
    settings, arrays = golden("eps", "network")
    classes, (class_maps, scores) = settings["num_classes"], LOCALISERS[name]
    state = eps_state | (fill(settings["base_state_differs_in"]) if name == "cam" else {})
    folder, _ = bring_in(checkpoint(state, tmp_path / "localiser.pth"), name, "--classes", str(classes))
    with torch.no_grad():
        maps = imported(name, classes, folder)(torch.from_numpy(arrays["x"]))
    near(maps.relu() if name == "cam" else maps, arrays[class_maps], relative=FORWARD)
    near(maps.mean((2, 3)), arrays[scores], relative=FORWARD)


def assert_backbone(backbone: nn.Module, localiser: dict[str, Tensor]) -> None:
    """Fail unless `backbone` has the weights of the `localiser`."""
    state = backbone.state_dict()
    assert state.keys() == localiser.keys() - {"fc8.weight"}
    for name, value in state.items():
        assert torch.equal(value, localiser[name]), name


def test_the_mxnet_file_gives_the_golden_backbone(golden, near, eps_state, tmp_path):
    names = json.loads((FOLDER / "eps" / "mxnet_names.json").read_text())
    file = tmp_path / "ilsvrc-cls_rna-a1_cls1000_ep-0001.params"
    classifier = {"weight": np.ones((3, 4), np.float32), "bias": np.ones(3, np.float32)}
    stored = {mxnet_name: eps_state[name].numpy() for mxnet_name, name in names.items()}
    file.write_bytes(params(stored | {f"arg:linear1000_{part}": values for part, values in classifier.items()}))
    assert_backbone(build_backbone("resnet38d", 8, weights=file), eps_state)
    folder, out = bring_in(file, "resnet38d")
    assert out.count("dropped on purpose") == len(classifier)
    backbone = imported("resnet38d", 0, folder)
    assert_backbone(backbone, eps_state)
    _, arrays = golden("eps", "network")
    with torch.no_grad():
        side = backbone.side_outputs(torch.from_numpy(arrays["x"]))["conv6"]
    near(side[:, : arrays["conv6_first"].shape[1]], arrays["conv6_first"], relative=FORWARD)
    near(side.mean((2, 3)), arrays["conv6_mean"], relative=FORWARD)
    near(side.amax((2, 3)), arrays["conv6_max"], relative=FORWARD)


@pytest.fixture(scope="module")
def mcis(tmp_path_factory: pytest.TempPathFactory) -> PairLocaliser:
    """Return the golden MCIS network, by way of an official file."""
    state = fill(json.loads((FOLDER / "mcis" / "classifier_shapes.json").read_text()))
    file, classes = tmp_path_factory.mktemp("mcis") / "pascal_voc_epoch_10.pth", len(state["extra_gate.weight"])
    folder, _ = bring_in(checkpoint(state, file), "mcis", "--classes", str(classes))
    return imported("mcis", classes, folder)


@pytest.mark.parametrize("file", CLASSIFIERS, ids=lambda path: path.stem)
def test_mcis_gives_the_golden_maps(near, file, mcis, monkeypatch):
    arrays = load(file)
    affinity, soft = mcis.coattention.extra_linear_e, "linear_scale" in arrays
    if soft:
        monkeypatch.setattr(affinity, "weight", nn.Parameter(affinity.weight * float(arrays["linear_scale"])))
    with torch.no_grad():
        own, partner = (mcis.features(torch.from_numpy(arrays[name])) for name in ("image1", "image2"))
        pair = mcis.pair(own, partner)
        ours = {
            "cam1": mcis.single_maps(own),
            "cam2": mcis.single_maps(partner),
            "co_map1": pair.common1,
            "co_map2": pair.common2,
            "diff_map1": pair.difference1,
            "diff_map2": pair.difference2,
        }
    for name, maps in ours.items():
        tolerance = 1e-4 if soft or name.startswith("cam") else 2e-3
        near(maps, arrays[name], name, absolute=tolerance)
