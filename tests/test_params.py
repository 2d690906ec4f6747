from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from seedbed.errors import UserError
from seedbed.params import Params, check_params, load_params

PROFILES = sorted((Path(__file__).parents[1] / "profiles").glob("*.yaml"))
MINIMAL = {"methods": ["cam"], "localiser": {"cam": {}}, "fusion": {"cam": {}}}


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_profiles_are_valid(profile: Path) -> None:
    assert load_params(profile).methods


def test_params_yaml_is_the_sample_profile() -> None:
    root = Path(__file__).parents[1]
    assert (root / "params.yaml").read_text() == (root / "profiles" / "sample.yaml").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sed": 1}, ["unknown parameter 'sed'", "did you mean 'seed'"]),
        ({"localiser": {"cam": {"train": {"step": 5}}}}, ["localiser.cam.train.step", "did you mean 'steps'"]),
        ({"study": {"tune_image": 5}}, ["study.tune_image", "did you mean 'tune_images'"]),
        ({"seed": -1}, ["seed", "greater than or equal to 0", "given: -1"]),
        ({"crf": {"confidence": 1.5}}, ["crf.confidence", "less than 1"]),
        ({"device": "gpu"}, ["device", "'auto', 'cpu' or 'cuda'"]),
        ({"localiser": {}}, ["method 'cam' has no block localiser.cam"]),
        (
            {"saliency": {"augment": {"low": 9, "high": 8}}},
            ["saliency.augment", "low (9.0) must not exceed high (8.0)"],
        ),
    ],
)
def test_findings_name_the_parameter(change: dict, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        check_params({**MINIMAL, **change}, "some.yaml")
    for word in ["some.yaml", *words]:
        assert word in str(caught.value)


def test_not_a_mapping() -> None:
    with pytest.raises(UserError, match="mapping"):
        check_params([1, 2])


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("seed: [")
    with pytest.raises(UserError, match="not valid YAML"):
        load_params(tmp_path / "params.yaml")


def test_round_trip() -> None:
    params = check_params(MINIMAL)
    assert check_params(yaml.safe_load(yaml.safe_dump(params.model_dump()))) == params


def test_parameters_are_documented() -> None:
    pending = [Params]
    while pending:
        for name, field in pending.pop().model_fields.items():
            nested = field.annotation
            if isinstance(nested, type) and issubclass(nested, Params.__base__):
                pending.append(nested)
            else:
                assert field.description, name
