"""Official files of generated weights, imported by the command line, give the golden outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden.conftest import FOLDER
from golden.fill import fill
from nn.mxnet_writer import params
from torch import Tensor, nn
from typer.testing import CliRunner

from seedbed.cli import app
from seedbed.nn.backbones import build_backbone
from seedbed.nn.coattention import PairLocaliser
from seedbed.nn.official import OFFICIAL
from seedbed.nn.weights import load_weights, read_state

CLASSIFIERS = sorted((FOLDER / "mcis").glob("classifier_*.npz"))
COUNTER = "num_batches_tracked"


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


def test_eps_gives_the_golden_maps(golden, eps_state, tmp_path):
    settings, arrays = golden("eps", "network")
    classes = settings["num_classes"]
    folder, _ = bring_in(checkpoint(eps_state, tmp_path / "eps.pth"), "eps", "--classes", str(classes))
    with torch.no_grad():
        maps = imported("eps", classes, folder)(torch.from_numpy(arrays["x"])).numpy()
    expected = arrays["eps_logits"]
    assert maps.shape == expected.shape
    assert np.abs(maps - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_mxnet_file_gives_the_golden_backbone(eps_state, tmp_path):
    names = json.loads((FOLDER / "eps" / "mxnet_names.json").read_text())
    arrays = {mxnet_name: eps_state[name].numpy() for mxnet_name, name in names.items()}
    arrays |= {"arg:linear1000_weight": np.ones((3, 4), np.float32), "arg:linear1000_bias": np.ones(3, np.float32)}
    file = tmp_path / "ilsvrc-cls_rna-a1_cls1000_ep-0001.params"
    file.write_bytes(params(arrays))
    raw = build_backbone("resnet38d", 8, weights=file).state_dict()
    folder, out = bring_in(file, "resnet38d")
    assert out.count("dropped on purpose") == 2
    state = read_state(folder)
    (folder / "weights.safetensors").unlink()
    assert raw.keys() == state.keys() == eps_state.keys() - {"fc8.weight"}
    for name, value in state.items():
        assert torch.equal(value, eps_state[name])
        assert torch.equal(value, raw[name])


@pytest.fixture(scope="module")
def mcis(tmp_path_factory: pytest.TempPathFactory) -> PairLocaliser:
    """Return the golden MCIS network, by way of an official file."""
    state = fill(json.loads((FOLDER / "mcis" / "classifier_shapes.json").read_text()))
    file, classes = tmp_path_factory.mktemp("mcis") / "pascal_voc_epoch_10.pth", len(state["extra_gate.weight"])
    folder, _ = bring_in(checkpoint(state, file), "mcis", "--classes", str(classes))
    return imported("mcis", classes, folder)


@pytest.mark.parametrize("file", CLASSIFIERS, ids=lambda path: path.stem)
def test_mcis_gives_the_golden_maps(file, mcis, monkeypatch):
    with np.load(file, allow_pickle=False) as stored:
        arrays = dict(stored)
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
        np.testing.assert_allclose(maps.numpy(), arrays[name], rtol=0, atol=tolerance, err_msg=name, strict=True)


def test_there_are_cases():
    assert CLASSIFIERS
