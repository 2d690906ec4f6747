from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from seedbed.errors import UserError
from seedbed.params import AugmentParams, Block, LocaliserParams, Params, StudyParams, check_params, load_params

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
        ({"saliency": {"train": {"optimiser": "sgd"}}}, ["saliency.train.optimiser", "did you mean 'optimizer'"]),
        ({"segmenter": {"augment": {"cropp": 9}}}, ["segmenter.augment.cropp", "did you mean 'crop'"]),
        ({"segmenter": {"train": [1]}}, ["segmenter.train", "dictionary"]),
        (
            {"segmenter": {"augment": {"resize": "long-side"}}},
            ["segmenter.augment", "resize long-side takes whole numbers of pixels >= 16", "0.5", "set low and high"],
        ),
        (
            {"localiser": {"cam": {"augment": {"resize": "factor"}}}},
            ["localiser.cam.augment", "resize factor takes factors in 0.05..8", "256", "set low and high"],
        ),
    ],
)
def test_findings_name_the_parameter(change: dict, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        check_params({**MINIMAL, **change}, "some.yaml")
    for word in ["some.yaml", *words]:
        assert word in str(caught.value)


def inner_blocks(model: type[Block], *outer: str) -> Iterator[tuple[tuple[str, ...], Block]]:
    """Yield the path and the documented default of every block inside `model`, which stands at the path `outer`."""
    for name, field in model.model_fields.items():
        if isinstance(field.default, Block):
            yield (*outer, name), field.default
            yield from inner_blocks(type(field.default), *outer, name)


def nested(path: tuple[str, ...], value: Any) -> Any:
    """Return the mapping that holds `value` at `path`."""
    return {path[0]: nested(path[1:], value)} if path else value


INNER = [*inner_blocks(Params), *inner_blocks(LocaliserParams, "localiser", "cam")]


@pytest.mark.parametrize(("path", "default"), INNER, ids=[".".join(path) for path, _ in INNER])
def test_what_a_partial_block_leaves_out_takes_the_documented_default(path: tuple[str, ...], default: Block) -> None:
    for given in ({}, *({name: value} for name, value in default.model_dump().items())):
        found: Any = check_params({**MINIMAL, **nested(path, given)})
        for key in path:
            found = found[key] if isinstance(found, dict) else getattr(found, key)
        assert found == default


def test_a_partial_block_changes_what_it_names() -> None:
    augment = check_params({**MINIMAL, "segmenter": {"augment": {"crop": 257}}}).segmenter.augment
    assert augment == AugmentParams(resize="factor", low=0.5, high=1.5, crop=257)
    train = check_params({**MINIMAL, "saliency": {"train": {"steps": 7}}}).saliency.train
    assert (train.steps, train.optimizer, train.lr, train.weight_decay) == (7, "adamw", 1e-4, 1e-4)


def test_mappings_that_are_no_blocks_are_taken_whole() -> None:
    params = check_params({**MINIMAL, "fusion": {"cam": {"values": {"threshold": 0.3}}}})
    assert params.fusion["cam"].values == {"threshold": 0.3}
    assert list(params.localiser) == ["cam"]


@pytest.mark.parametrize(
    ("resize", "low", "high"),
    [
        ("long-side", 15, 64),
        ("long-side", 16.5, 64),
        ("long-side", 16, 64.5),
        ("long-side", 16, float("inf")),
        ("factor", 0.04, 1),
        ("factor", 1, 8.1),
    ],
)
def test_ends_that_do_not_fit_the_resize_are_refused(resize: Any, low: float, high: float) -> None:
    with pytest.raises(ValidationError, match="set low and high"):
        AugmentParams(resize=resize, low=low, high=high)


@pytest.mark.parametrize(("resize", "low", "high"), [("long-side", 16, 16), ("factor", 0.05, 8)])
def test_the_outermost_ends_are_taken(resize: Any, low: float, high: float) -> None:
    assert AugmentParams(resize=resize, low=low, high=high).high == high


def test_half_lies_on_the_even_grid_of_saliency_thresholds() -> None:
    assert StudyParams().saliency_steps % 2 == 0


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


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"schedule": "steps"}, "milestones belong to schedule: steps"),
        ({"milestones": [3]}, "milestones belong to schedule: steps"),
        ({"schedule": "steps", "milestones": [5, 3]}, "must ascend"),
        ({"schedule": "steps", "milestones": [3], "horizon": 9}, "horizon belongs to schedule: poly"),
        ({"momentum": "heavy"}, "momentum"),
        ({"momentum": 1.0}, "momentum"),
    ],
)
def test_schedules_and_momentum_are_checked(train: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_params({"segmenter": {"train": train}})
