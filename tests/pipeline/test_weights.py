"""Official weight files by the command line: what fits is written, what does not leaves nothing behind."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from nn.mxnet_writer import params
from safetensors.torch import load_file, save_file
from torch import Tensor

from seedbed.cli import main
from seedbed.nn.backbones import build_backbone
from seedbed.nn.official import NOT_READ, OFFICIAL
from seedbed.nn.weights import load_weights, read_config
from seedbed.params import load_params

Command = Callable[..., tuple[int, str, str]]
OUT = Path("models/pretrained/tiny")
PROFILES = Path(__file__).parents[2] / "profiles"
CLASSES = 20


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, with an official file of a network small enough for every test."""
    entry = dataclasses.replace(OFFICIAL["eps"], name="tiny", backbone="timm/test_byobnet")
    monkeypatch.setitem(OFFICIAL, "tiny", entry)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def seedbed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a command and returns its status, output and messages."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["seedbed", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(stopped.value.code or 0), out, err

    return run


def published(num_classes: int = CLASSES) -> dict[str, Tensor]:
    """Return a state dict as an old release has it: without counters."""
    generator = torch.Generator().manual_seed(0)
    state = OFFICIAL["tiny"].network(num_classes).state_dict()
    return {
        name.removeprefix("backbone."): torch.rand(value.shape, generator=generator)
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


def checkpoint(state: dict[str, Tensor]) -> dict[str, object]:
    """Return `state` as DataParallel's training loop saves it."""
    prefixed = {f"module.{name}": value for name, value in state.items()}
    return {"epoch": 10, "global_counter": 7, "state_dict": prefixed, "optimizer": {"state": {0: torch.ones(2)}}}


@pytest.mark.parametrize("form", ["plain", "checkpoint", "safetensors"])
def test_a_file_that_fits_is_written_whole(seedbed: Command, form: str) -> None:
    state = published()
    file = Path("official.safetensors" if form == "safetensors" else "official.pth")
    if form == "safetensors":
        save_file(state, file)
    else:
        torch.save(checkpoint(state) if form == "checkpoint" else state, file)
    status, out, _ = seedbed("weights", "import", str(file), "--as", "tiny")
    assert status == 0
    network = OFFICIAL["tiny"].network(CLASSES).to_empty(device="cpu")
    load_weights(network, OUT)
    own = network.state_dict()
    assert all(torch.equal(own["backbone." * (name != "fc8.weight") + name], value) for name, value in state.items())
    assert sorted(path.name for path in OUT.iterdir()) == ["config.json", "weights.safetensors"]
    assert read_config(OUT) == {
        "as": "tiny",
        "architecture": "Localiser",
        "backbone": "timm/test_byobnet",
        "classes": CLASSES,
        "source": file.name,
        "source_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "sha256": hashlib.sha256((OUT / "weights.safetensors").read_bytes()).hexdigest(),
        "tensors": len(own),
    }
    assert f"{OUT}: {len(own)} tensors, {CLASSES} classes" in out
    assert f"{len(own) - len(state)} counters of batches are not in the file" in out
    assert f"localiser.METHOD.trained: {OUT}" in out
    assert "missing" not in out


def test_what_does_not_fit_is_told_and_not_written(seedbed: Command) -> None:
    state = published()
    missing, reshaped = list(state)[2:4]
    del state[missing]
    state[reshaped] = torch.zeros(1, 2, 3)
    torch.save({**state, "extra.weight": torch.zeros(3, 4), "[odd]": torch.tensor(1)}, "official.pth")
    status, out, err = seedbed("weights", "import", "official.pth", "--as", "tiny")
    assert status == 2
    rows = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in out.splitlines()]
    found = {row[0]: row[-1] for row in rows if len(row) == 4}
    shapes = {row[0]: row[2] for row in rows if len(row) == 4}
    assert found[f"backbone.{missing}"] == "missing"
    assert found[f"backbone.{reshaped}"] == "of another shape"
    assert found["backbone.extra.weight"] == found["backbone.[odd]"] == "unexpected"
    assert shapes[f"backbone.{reshaped}"] == "1x2x3"
    assert shapes["backbone.extra.weight"] == "3x4"
    assert "1 missing, 2 unexpected, 1 of another shape" in err
    assert not OUT.exists()


@pytest.mark.parametrize(
    ("name", "classifier", "parameter"),
    [
        ("vgg16", "classifier.6.bias", "localiser.METHOD.weights"),
        ("deeplab-resnet101", "fc.bias", "segmenter.weights"),
    ],
)
def test_a_backbone_leaves_its_classifier_behind(
    seedbed: Command, monkeypatch: pytest.MonkeyPatch, name: str, classifier: str, parameter: str
) -> None:
    entry = dataclasses.replace(OFFICIAL[name], name="tiny", backbone="timm/test_byobnet")
    monkeypatch.setitem(OFFICIAL, "tiny", entry)
    state = {key: torch.ones(value.shape) for key, value in entry.network(0).state_dict().items()}
    torch.save({**state, classifier: torch.ones(1000)}, "official.pth")
    status, out, _ = seedbed("weights", "import", "official.pth", "--as", "tiny", "--out", "elsewhere")
    assert status == 0
    assert classifier in out
    assert "dropped on purpose" in out
    assert f"to use it: {parameter}: elsewhere" in out
    assert load_file("elsewhere/weights.safetensors").keys() == state.keys()
    assert read_config(Path("elsewhere"))["classes"] is None
    assert "leave out --classes" in seedbed("weights", "import", "official.pth", "--as", "tiny", "--classes", "20")[2]


def test_the_segmenters_start_is_used_by_its_folder(seedbed: Command) -> None:
    official = OFFICIAL["deeplab-resnet101"]
    shapes = {name: value.shape for name, value in official.network(0).state_dict().items()}
    state = {name: torch.tensor(0.5).expand(shape) for name, shape in shapes.items() if "tracked" not in name}
    torch.save({**state, "fc.weight": torch.ones(21, 2048)}, "converted.pth")
    status, out, _ = seedbed("weights", "import", "converted.pth", "--as", "deeplab-resnet101")
    assert status == 0
    folder = load_params(PROFILES / "voc12-mcis.yaml").segmenter.weights
    assert f"segmenter.weights: {folder}" in out
    backbone = build_backbone(official.backbone, 8, Path(folder))
    (Path(folder) / "weights.safetensors").unlink()
    assert all((backbone.state_dict()[name] == 0.5).all() for name in state)


@pytest.mark.parametrize(
    ("in_file", "words", "said"),
    [
        (CLASSES, ("--classes", "80"), "is for 20 object classes, not 80"),
        (CLASSES - 1, (), "would be for 19 object classes; official files have 20 (VOC) or 80 (COCO)"),
        (0, ("--classes", "20"), "is for 0 object classes, not 20"),
    ],
)
def test_another_class_count_is_refused(seedbed: Command, in_file: int, words: tuple[str, ...], said: str) -> None:
    torch.save(published(in_file), "official.pth")
    status, _, err = seedbed("weights", "import", "official.pth", "--as", "tiny", *words)
    assert status == 2
    assert said in err
    assert "to mend it" in err
    assert not OUT.exists()


@pytest.mark.parametrize(("num_classes", "words"), [(80, ()), (80, ("--classes", "80")), (7, ("--classes", "7"))])
def test_class_counts_of_coco_and_those_asked_for(seedbed: Command, num_classes: int, words: tuple[str, ...]) -> None:
    torch.save(published(num_classes), "official.pth")
    assert seedbed("weights", "import", "official.pth", "--as", "tiny", *words)[0] == 0
    assert read_config(OUT)["classes"] == num_classes


def test_a_missing_classifier_is_in_the_table(seedbed: Command) -> None:
    state = published()
    del state["fc8.weight"]
    torch.save(state, "official.pth")
    status, out, _ = seedbed("weights", "import", "official.pth", "--as", "tiny")
    assert status == 2
    assert "fc8.weight" in out


def test_a_baseline_is_not_taken_for_eps(seedbed: Command) -> None:
    torch.save({"fc8.weight": torch.zeros(CLASSES, 4, 1, 1)}, "baseline.pth")
    status, _, err = seedbed("weights", "import", "baseline.pth", "--as", "eps")
    assert status == 2
    assert "would be for 19 object classes" in err


class Payload:
    """An object whose unpickling runs code."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (Path("ran"),)


def whole_file() -> bytes:
    torch.save(published(), "whole.pth")
    return Path("whole.pth").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pth", lambda: pickle.dumps({"weight": Payload()}, protocol=2), "it holds Python objects besides tensors"),
        ("a.pth", lambda: whole_file()[:-1000], "is not a readable weight file"),
        ("a.pth", lambda: b"404: Not Found\n", "is not a readable weight file"),
        ("a.safetensors", lambda: b"404: Not Found\n", "is not a readable weight file"),
        ("a.pth", lambda: b"", "is not a readable weight file: it is empty"),
        ("a.caffemodel", lambda: b"\x0a\x04", "a.caffemodel is a Caffe model, and those are not read here"),
        ("a.params", lambda: b"404: Not Found\n", "is not a readable MXNet parameter file"),
        ("a.params", lambda: params({"arg:a": np.ones(9, np.float32)})[:-9], "is not a readable MXNet parameter file"),
    ],
)
def test_files_that_cannot_be_read(seedbed: Command, name: str, content: Callable[[], bytes], said: str) -> None:
    Path(name).write_bytes(content())
    status, _, err = seedbed("weights", "import", name, "--as", "tiny")
    assert status == 2
    assert said in err
    assert "to mend it" in err
    assert "\x1b" not in err
    assert not Path("ran").exists()
    assert not OUT.exists()


def test_a_caffe_model_is_refused_before_all_else(seedbed: Command) -> None:
    Path("dpl_init.caffemodel").touch()
    status, _, err = seedbed("weights", "import", "dpl_init.caffemodel", "--as", "dpl_init")
    assert status == 2
    assert "is a Caffe model, and those are not read here" in err
    assert "--as deeplab-resnet101" in err


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(seedbed: Command, dtype: torch.dtype) -> None:
    state = {name: value.to(dtype) for name, value in published().items()}
    torch.save(state, "official.pth")
    assert seedbed("weights", "import", "official.pth", "--as", "tiny")[0] == 0
    imported = load_file(OUT / "weights.safetensors")["fc8.weight"]
    assert imported.dtype == torch.float32
    assert torch.equal(imported, state["fc8.weight"].float())


def test_whole_numbers_are_counters_only(seedbed: Command) -> None:
    state = published()
    counters = [name for name in OFFICIAL["tiny"].network(CLASSES).state_dict() if name.endswith("num_batches_tracked")]
    state |= {name.removeprefix("backbone."): torch.tensor(7) for name in counters}
    torch.save(state, "official.pth")
    torch.save({**state, "fc8.weight": state["fc8.weight"].to(torch.int8)}, "whole.pth")
    status, _, err = seedbed("weights", "import", "whole.pth", "--as", "tiny")
    assert status == 2
    assert "fc8.weight of whole.pth is of int8, where the network has float32" in err
    assert not OUT.exists()
    assert seedbed("weights", "import", "official.pth", "--as", "tiny")[0] == 0
    assert load_file(OUT / "weights.safetensors")[counters[0]] == 7


def test_two_names_of_one_tensor_are_refused(seedbed: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OFFICIAL, "tiny", dataclasses.replace(OFFICIAL["tiny"], own_names=OFFICIAL["oaa"].own_names))
    torch.save({"extra_last_conv.weight": torch.ones(2), "extra_convs.6.weight": torch.zeros(2)}, "official.pth")
    status, _, err = seedbed("weights", "import", "official.pth", "--as", "tiny")
    assert status == 2
    assert "holds one tensor of tiny twice" in err


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_values_that_are_no_numbers_are_refused(seedbed: Command, value: float) -> None:
    state = published()
    state["fc8.weight"] = state["fc8.weight"].double()
    state["fc8.weight"][0, 0] = value
    torch.save(state, "official.pth")
    status, _, err = seedbed("weights", "import", "official.pth", "--as", "tiny")
    assert status == 2
    assert "fc8.weight of official.pth holds values that are no finite numbers" in err
    assert not OUT.exists()


def test_tensors_that_share_memory_are_written(seedbed: Command) -> None:
    state = published()
    ones = torch.ones(max(value.numel() for value in state.values()))
    torch.save({name: ones[: value.numel()].reshape(value.shape) for name, value in state.items()}, "official.pth")
    assert seedbed("weights", "import", "official.pth", "--as", "tiny")[0] == 0


@pytest.mark.parametrize(("words", "said"), [(("none.pth", "--as", "tiny"), "none.pth does not exist")])
def test_a_missing_file(seedbed: Command, words: tuple[str, ...], said: str) -> None:
    assert said in seedbed("weights", "import", *words)[2]


def test_unknown_names_get_the_nearest(seedbed: Command) -> None:
    torch.save(published(), "official.pth")
    status, _, err = seedbed("weights", "import", "official.pth", "--as", "mcsi")
    assert status == 2
    assert "did you mean 'mcis'" in err


def test_other_weights_are_never_overwritten(seedbed: Command) -> None:
    torch.save(published(), "one.pth")
    torch.save(published(80), "other.pth")
    assert seedbed("weights", "import", "one.pth", "--as", "tiny")[0] == 0
    before = (OUT / "weights.safetensors").read_bytes()
    status, _, err = seedbed("weights", "import", "other.pth", "--as", "tiny")
    assert status == 2
    assert "holds something else already: tiny from one.pth" in err
    assert "--out" in err
    assert (OUT / "weights.safetensors").read_bytes() == before
    assert seedbed("weights", "import", "one.pth", "--as", "tiny")[0] == 0, "the same file may come again"
    (OUT / "config.json").unlink()
    assert "weights that no import wrote" in seedbed("weights", "import", "one.pth", "--as", "tiny")[2]
    Path("taken").touch()
    assert "taken is a file" in seedbed("weights", "import", "one.pth", "--as", "tiny", "--out", "taken/deep")[2]


def test_the_list_tells_files_terms_and_imports(seedbed: Command) -> None:
    torch.save(published(), "voc.pth")
    torch.save(published(80), "coco.pth")
    seedbed("weights", "import", "voc.pth", "--as", "tiny")
    seedbed("weights", "import", "coco.pth", "--as", "tiny", "--out", "models/pretrained/tiny-coco")
    broken = Path("models/pretrained/broken")
    broken.mkdir()
    (broken / "config.json").write_text(json.dumps({**read_config(OUT), "as": "vgg16"}))
    Path("models/pretrained/README.md").write_text("not a folder")
    status, out, _ = seedbed("weights", "list")
    assert status == 0
    text = " ".join(out.replace("│", " ").split())
    for name, official in OFFICIAL.items():
        assert name in text
        assert " ".join(official.terms.split()) in text
    for file in NOT_READ:
        assert file.name in text
        assert " ".join(file.terms.split()) in text
    assert text.count("not read here: convert first (docs/methods.md)") == len(NOT_READ)
    assert "vgg16-397923af.pth" in text
    assert "yes, models/pretrained/tiny, 20 classes yes, models/pretrained/tiny-coco, 80 classes" in text
    assert "damaged, models/pretrained/broken" in text
    assert text.count("yes") == 2
