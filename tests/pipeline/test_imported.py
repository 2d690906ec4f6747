"""Methods that others have run, beside those trained here: class maps and pseudo-labels, up to the comparison page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pipeline import tiny

from seedbed.errors import UserError
from seedbed.seeds.store import MapStore, MapWriter
from seedbed.stages import compare, localise, pseudo, segment, study
from seedbed.stages.context import Context

MAPS, LABELS = "cam-maps", "eps-labels"
FIRST = "train_0000"
STAGES = (localise.train, localise.seeds, study.study, pseudo.pseudo, segment.train, segment.evaluate)


def read(root: Path, path: str) -> Any:
    return json.loads((root / "reports" / path).read_text())


def parameters(**study_params: Any) -> dict[str, Any]:
    """Return the parameters with what was imported first: its study is not one that speaks for the others."""
    params = tiny.parameters()
    params["methods"] = [LABELS, "cam", MAPS]
    params["localiser"][MAPS] = {"method": "imported", "options": {"seeds": "ours"}}
    params["localiser"][LABELS] = {"method": "imported", "options": {"pseudo": "ours"}}
    params["fusion"][MAPS] = params["fusion"]["cam"]
    params["fusion"][LABELS] = {"rule": "none"}
    params["study"] |= study_params
    return params


def bring(root: Path, params: dict[str, Any] | None = None) -> Context:
    """Import CAM's own class maps and EPS's own pseudo-labels, the latter as grey index PNGs."""
    imported = root / "data" / "imported"
    if not imported.exists():
        shutil.copytree(root / "maps" / "seeds" / "cam", imported / "seeds" / "ours")
        (imported / "pseudo" / "ours").mkdir(parents=True)
        for path in (root / "maps" / "pseudo" / "eps").glob("*.png"):
            Image.fromarray(np.asarray(Image.open(path))).save(imported / "pseudo" / "ours" / path.name)
    tiny.write_parameters(root, params or parameters())
    return Context.load(root / "params.yaml", root)


@pytest.fixture(scope="module")
def compared(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the finished project with imports compared to plain CAM; not to be changed."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("imported") / "project"))
    context = bring(root)
    for name in (MAPS, LABELS):
        for stage in STAGES:
            stage(context, name)
    compare.compare(context)
    return root


def without_origin(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if key not in ("method", "imported")}


def test_our_own_class_maps_come_back_as_the_same_numbers(compared: Path) -> None:
    for stage in ("pseudo", "evaluate-segmenter"):
        own, imported = (read(compared, f"metrics/{stage}-{name}.json") for name in ("cam", MAPS))
        assert without_origin(imported) == without_origin(own)
    assert read(compared, f"metrics/pseudo-{MAPS}.json")["imported"] == {"seeds": "ours"}
    assert read(compared, f"study/{MAPS}/study.json") == read(compared, "study/cam/study.json")
    methods = read(compared, "compare.json")["methods"]
    assert methods[MAPS]["against_cam"]["pseudo"] == {"difference": 0.0, "interval": [0.0, 0.0]}
    for folder in ("maps/seeds", "maps/pseudo", "maps/predictions"):
        for path in (compared / folder / "cam").iterdir():
            if path.suffix != ".json":
                assert (compared / folder / MAPS / path.name).read_bytes() == path.read_bytes()


def test_pseudo_labels_are_taken_as_they_are(compared: Path) -> None:
    own, imported = (read(compared, f"metrics/pseudo-{name}.json") for name in ("eps", LABELS))
    chosen = {"rule": None, "values": {}, "choose": "imported", "crf": None}
    assert without_origin(imported) == without_origin(own) | chosen
    assert imported["imported"] == {"pseudo": "ours"}
    val = [read(compared, f"metrics/evaluate-segmenter-{name}.json") for name in ("eps", LABELS)]
    assert without_origin(val[0]) == without_origin(val[1])
    for path in (compared / "maps" / "pseudo" / "eps").iterdir():
        assert (compared / "maps" / "pseudo" / LABELS / path.name).read_bytes() == path.read_bytes()


def test_the_study_of_pseudo_labels_chooses_nothing_and_reports_on_the_same_images(compared: Path) -> None:
    found = read(compared, f"study/{LABELS}/study.json")
    assert (found["rules"], found["crf"]) == ({}, None)
    assert "nothing was chosen" in found["protocol"]["statement"]
    assert read(compared, f"study/{LABELS}/split.json") == read(compared, "study/cam/split.json")
    assert len(MapStore(compared / "maps" / "seeds" / LABELS)) == 0


@pytest.mark.parametrize("name", [MAPS, LABELS])
def test_nothing_was_trained_and_every_file_says_so(compared: Path, name: str) -> None:
    origin = {"imported": {"seeds" if name == MAPS else "pseudo": "ours"}}
    assert read(compared, f"metrics/train-localiser-{name}.json") == {"steps": 0, **origin}
    folder = compared / "models" / "localiser" / name
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert json.loads((folder / "config.json").read_text()) == {"method": "imported", **origin}
    assert (compared / "reports" / "curves" / f"train-localiser-{name}.csv").read_text() == "step,lr,total\n"
    for stage in ("train-localiser", "study", "pseudo", "train-segmenter", "evaluate-segmenter"):
        assert read(compared, f"runs/{stage}-{name}.json")["mlflow"]["logged"]


def test_the_page_tells_what_was_imported(compared: Path) -> None:
    html = (compared / "reports" / "index.html").read_text()
    assert "imported: ours, taken as they are, no CRF" in html
    assert "imported class maps: ours" in html
    assert "Thresholds are chosen on 4 of the 12 images" in html  # though the first method chose nothing
    assert "No rule applies to the imported pseudo-labels of EPS-LABELS." in html
    assert "pseudo-labels of EPS-LABELS (ours), class maps of CAM-MAPS (ours)" in html
    assert f"class map of {MAPS}" in html
    assert f"class map of {LABELS}" not in html
    comparison = read(compared, "compare.json")
    assert set(comparison["same_rule"]["threshold"]) == {"cam", MAPS}
    assert comparison["methods"][MAPS]["method"] == "imported"
    assert "method" not in comparison["methods"]["cam"]


def test_an_oracle_does_not_touch_what_was_imported(done: Path) -> None:
    """All images choose: what a rule makes is an oracle, what was brought is not."""
    context = bring(done, parameters(tune_images="all", rules=["threshold"]) | {"methods": [LABELS, "cam"]})
    for stage in STAGES:
        stage(context, LABELS)
    for stage in (study.study, pseudo.pseudo):
        stage(context, "cam")
    compare.compare(context)
    metrics = {name: read(done, f"metrics/pseudo-{name}.json") for name in (LABELS, "cam")}
    assert [metrics[name]["images"] for name in metrics] == [12, 12]
    assert [metrics[name]["split"] for name in metrics] == [
        "train_aug",
        "train_aug, the images that the study chose on (oracle)",
    ]
    html = (done / "reports" / "index.html").read_text()
    assert html.count("oracle: scored on the images that chose") == 1


def test_a_crf_may_follow_and_sees_classes_beyond_the_labels(done: Path) -> None:
    params = parameters()
    params["fusion"][LABELS] = {"rule": "none", "crf": True}
    context = bring(done, params)
    path = done / "data" / "imported" / "pseudo" / "ours" / f"{FIRST}.png"
    mask = np.asarray(Image.open(path)).copy()
    unlabelled = int(np.flatnonzero(context.voc.labels([FIRST])[FIRST] == 0)[0]) + 1
    mask[20:60, 20:60] = unlabelled
    Image.fromarray(mask).save(path)
    for stage in (localise.train, localise.seeds, study.study, pseudo.pseudo):
        stage(context, LABELS)
    assert read(done, f"metrics/pseudo-{LABELS}.json")["crf"]["iterations"] == 2
    assert unlabelled in np.asarray(Image.open(done / "maps" / "pseudo" / LABELS / f"{FIRST}.png"))


def test_a_variant_trains_its_method_under_its_own_name(project: Path) -> None:
    params = tiny.parameters()
    params["methods"] = ["cam", "cam-again"]
    params["localiser"]["cam-again"] = params["localiser"]["cam"] | {"method": "cam"}
    params["fusion"]["cam-again"] = params["fusion"]["cam"]
    tiny.write_parameters(project, params)
    context = Context.load(project / "params.yaml", project)
    for name in params["methods"]:
        localise.train(context, name)
        localise.seeds(context, name)
    first, second = (project / "models" / "localiser" / name for name in params["methods"])
    assert (first / "weights.safetensors").read_bytes() == (second / "weights.safetensors").read_bytes()
    assert json.loads((second / "config.json").read_text())["method"] == "cam"
    assert len(MapStore(project / "maps" / "seeds" / "cam-again")) == 12


def without_the_first(root: Path) -> None:
    store = MapStore(root / "data" / "imported" / "seeds" / "ours")
    kept = {name: store.stored(name) for name in store if name != FIRST}
    rewrite(root, kept)
    (root / "data" / "imported" / "pseudo" / "ours" / f"{FIRST}.png").unlink()


def rewrite(root: Path, maps: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    folder = root / "data" / "imported" / "seeds" / "ours"
    shutil.rmtree(folder)
    with MapWriter(folder, "changed") as writer:
        for name, (values, classes) in maps.items():
            writer.add(name, values, classes)


def of_another_size(root: Path) -> None:
    store = MapStore(root / "data" / "imported" / "seeds" / "ours")
    maps = {name: store.stored(name) for name in store}
    rewrite(root, maps | {FIRST: (maps[FIRST][0][:, :40], maps[FIRST][1])})
    path = root / "data" / "imported" / "pseudo" / "ours" / f"{FIRST}.png"
    Image.open(path).resize((40, 30)).save(path)


def gone(root: Path) -> None:
    shutil.rmtree(root / "data" / "imported")


@pytest.mark.parametrize(
    ("damage", "of_maps", "of_labels"),
    [
        (
            without_the_first,
            f"1 of 12 training images have no class maps in .*: {FIRST}",
            f"1 of 12 .* no pseudo-label .*{FIRST}",
        ),
        (of_another_size, f"{FIRST}: class maps of . x 40 x 128 for", rf"{FIRST}.png is 40x30 pixels"),
        (gone, "index.json does not exist", "12 of 12 training images have no pseudo-label"),
    ],
)
def test_an_import_that_does_not_fit_is_refused(
    done: Path, damage: Callable[[Path], None], of_maps: str, of_labels: str
) -> None:
    context = bring(done)
    study.study(context, LABELS)
    damage(done)
    with pytest.raises(UserError, match=of_maps) as caught:
        localise.seeds(context, MAPS)
    assert "seedbed import seeds" in caught.value.fix
    with pytest.raises(UserError, match=of_labels) as caught:
        pseudo.pseudo(context, LABELS)
    assert not (done / "reports" / "metrics" / f"pseudo-{LABELS}.json").exists()


def test_imported_pseudo_labels_cannot_be_searched(done: Path) -> None:
    context = bring(done)
    for kind in ("fusion", "crf", "joint"):
        with pytest.raises(UserError, match="there is nothing to search"):
            study.search(context, LABELS, kind, study.Options())


def test_a_rule_means_nothing_to_pseudo_labels(project: Path) -> None:
    params = parameters(rules=["mcis"])
    params["methods"] = [LABELS]
    tiny.write_parameters(project, params)
    Context.load(project / "params.yaml", project)
    for block in ({}, {"rule": "mcis"}, {"rule": "none", "choose": "given", "values": {"threshold": 0.3}}):
        params["fusion"][LABELS] = block
        tiny.write_parameters(project, params)
        with pytest.raises(UserError, match=f"the pseudo-labels of {LABELS} are imported: no rule makes them"):
            Context.load(project / "params.yaml", project)


@pytest.mark.parametrize(
    ("name", "block", "said"),
    [
        ("theirs", {"method": "imported"}, r"localiser\.theirs\.options: give either seeds: NAME or pseudo: NAME"),
        ("theirs", {"method": "imported", "options": {"seeds": "a", "pseudo": "b"}}, "give either"),
        ("theirs", {"method": "imported", "options": {"seeds": "../voc"}}, r"localiser\.theirs\.options: seeds"),
        ("theirs", {"method": "imported", "options": {"seed": "a"}}, "did you mean 'seeds'"),
        ("theirs", {"method": "importd"}, "did you mean 'imported'"),
        ("theirs", {}, "unknown method 'theirs'"),
        ("eps", {"method": "imported", "options": {"seeds": "a"}}, "localiser.eps.method is imported, but eps is"),
        ("a.b", {"method": "cam"}, "a method cannot be called 'a.b'"),
        ("crf-eps", {"method": "eps"}, "a method cannot be called 'crf-eps'"),
        ("eps-searches", {"method": "eps"}, "a method cannot be called 'eps-searches'"),
    ],
)
def test_blocks_that_would_mislead_are_refused(project: Path, name: str, block: dict[str, Any], said: str) -> None:
    params = tiny.parameters()
    params["methods"] = ["cam", name]
    params["localiser"][name] = block
    params["fusion"][name] = {"rule": "none"}
    tiny.write_parameters(project, params)
    with pytest.raises(UserError, match=said):
        Context.load(project / "params.yaml", project)
