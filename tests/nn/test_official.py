import re
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet101

from seedbed.errors import UserError
from seedbed.nn.official import NOT_READ, OFFICIAL, find_official

PUBLISHED = {"eps": {20, 80}, "cam": {20, 80}, "mcis": {20}, "oaa": {20}}


def published_names(name: str, num_classes: int = 20) -> dict[str, torch.Tensor]:
    """Return the network's state under the names that official files have."""
    state = OFFICIAL[name].network(num_classes).state_dict()
    if name == "mcis":
        features = {f"vgg.{key.removeprefix('single.')}": value for key, value in state.items() if "single" in key}
        others = {key.removeprefix("coattention."): value for key, value in state.items() if "coattention" in key}
        renamed = {key.replace("backbone.", "").replace("fc8", "extra_last_conv"): v for key, v in features.items()}
        return {**renamed, **others}
    state = {key.removeprefix("backbone."): value for key, value in state.items()}
    return {key.replace("fc8", "extra_last_conv"): v for key, v in state.items()} if name == "oaa" else state


@pytest.mark.parametrize("name", OFFICIAL)
def test_published_names_become_those_of_the_network(name):
    official = OFFICIAL[name]
    state = official.own_names(published_names(name))
    own = official.network(20).state_dict()
    assert {key: value.shape for key, value in state.items()} == {key: value.shape for key, value in own.items()}
    assert all(value.is_meta for value in own.values())


@pytest.mark.parametrize(("name", "num_classes"), [(name, n) for name, numbers in PUBLISHED.items() for n in numbers])
def test_the_classifier_tells_the_number_of_classes(name, num_classes):
    official = OFFICIAL[name]
    assert official.num_classes(official.own_names(published_names(name, num_classes))) == num_classes
    assert official.num_classes({}) is None
    assert official.num_classes({official.classifier: torch.tensor(1.0)}) is None


@pytest.mark.parametrize("name", ["resnet38d", "vgg16", "deeplab-resnet101"])
def test_backbones_have_no_classes(name):
    assert OFFICIAL[name].num_classes({"fc8.weight": torch.zeros(20, 1)}) is None


def test_both_spellings_of_oaas_classifier_are_read():
    for layer in ("extra_last_conv", "extra_convs.6"):
        assert list(OFFICIAL["oaa"].own_names({f"{layer}.weight": torch.ones(1)})) == ["fc8.weight"]


@pytest.mark.parametrize(
    ("name", "entry", "dropped"),
    [
        ("resnet38d", "arg:linear1000_bias", True),
        ("resnet38d", "fc8.weight", True),
        ("resnet38d", "arg:conv1a_weight", False),
        ("vgg16", "classifier.0.weight", True),
        ("vgg16", "features.0.weight", False),
        ("deeplab-resnet101", "fc.weight", True),
        ("deeplab-resnet101", "classifier.bias", True),
        ("deeplab-resnet101", "conv1.weight", False),
        ("eps", "fc8.weight", False),
    ],
)
def test_only_classifiers_of_other_tasks_are_dropped(name, entry, dropped):
    assert OFFICIAL[name].dropped(entry) is dropped


def test_the_deeplab_backbone_has_the_names_and_shapes_of_torchvision():
    official = OFFICIAL["deeplab-resnet101"]
    with torch.device("meta"):
        theirs = resnet101().state_dict()
    kept = {name: value.shape for name, value in theirs.items() if not official.dropped(name)}
    assert kept == {name: value.shape for name, value in official.network(0).state_dict().items()}
    assert theirs.keys() - kept.keys() == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("name", OFFICIAL)
def test_files_say_which_parameter_takes_them(name):
    official = OFFICIAL[name]
    trained = "localiser.METHOD.trained"
    starts = {"localiser.METHOD.weights", "segmenter.weights"}
    assert official.parameter == trained if official.classifier else official.parameter in starts
    assert re.search(official.parameter.replace("METHOD", r"\w+"), official.purpose)


def test_unknown_names_get_the_nearest():
    with pytest.raises(UserError, match="did you mean 'mcis'"):
        find_official("mcsi")


def test_every_file_says_what_a_person_must_know():
    for official in (*OFFICIAL.values(), *NOT_READ):
        assert all((official.file, official.purpose, official.origin, official.terms))
    assert not any(official.tried for official in OFFICIAL.values())


def test_the_documentation_names_every_file():
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()
    read, not_read = page.split("| file | what it is |")
    rows = {line.split("`")[1]: line for line in read.splitlines() if line.startswith("| `")}
    rows.pop("--as")
    assert rows.keys() == OFFICIAL.keys()
    for name, row in rows.items():
        assert all(file in row for file in re.findall(r"[\w<>-]+\.(?:pth|params|caffemodel)", OFFICIAL[name].file))
    caffe = [line for line in not_read.partition("\n\n")[0].splitlines() if "caffemodel" in line]
    assert len(caffe) == len(NOT_READ)
    assert all(re.findall(r"\w*\.caffemodel", f.file)[0] in row for f, row in zip(NOT_READ, caffe, strict=True))
