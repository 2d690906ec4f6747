from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from pipeline import tiny

from seedbed.acquire.library import Status
from seedbed.errors import UserError
from seedbed.params import Params, check_params
from seedbed.paths import Paths
from seedbed.seeds.store import MapWriter
from seedbed.stages.doctor import content
from seedbed.stages.doctor.content import (
    probe_check,
    probe_data,
    probe_inputs,
    probe_library,
    probe_lists,
    probe_names,
    probe_weights,
    read_params,
)

AGREED = "0123456789abcdef0123456789abcdef.dir"


def changed(**blocks: dict[str, object]) -> Params:
    """Return the tiny parameters with entries of some blocks replaced."""
    params = tiny.parameters()
    for name, entries in blocks.items():
        params[name] = {**params[name], **entries}
    return check_params(params)


def test_parameters_are_read(project: Path, tmp_path: Path) -> None:
    assert read_params(project / "params.yaml")[1][0].state == "ok"
    (project / "params.yaml").write_text("seed: [")
    params, (line,) = read_params(project / "params.yaml")
    assert params is None
    assert line.state == "problem"
    assert read_params(tmp_path)[1][0].what == f"{tmp_path} cannot be read (Is a directory)"


def test_names_are_asked_of_the_registries(project: Path) -> None:
    assert probe_names(project / "params.yaml", project)[0].state == "ok"
    params = tiny.parameters()
    params["segmenter"]["head"] = "aspp2"
    tiny.write_parameters(project, params)
    with pytest.raises(UserError, match="unknown segmenter head"):
        probe_names(project / "params.yaml", project)


def record(paths: Paths, held: str, meta: dict[str, object] | None = None) -> None:
    outs = [{"md5": held, "path": "data"}]
    paths.data_record.write_text(yaml.safe_dump({"outs": outs, **({"meta": {"seedbed": meta}} if meta else {})}))


def test_the_record_of_data(project: Path) -> None:
    paths = Paths(project)
    assert [(line.state, line.fix) for line in probe_data(paths)] == [("note", "seedbed data commit")]
    record(paths, AGREED)
    assert "does not say which data were agreed to" in probe_data(paths)[0].what
    record(paths, AGREED, {"data": AGREED, "sources": ["voc12", "sbd"]})
    assert probe_data(paths)[0].what.endswith("records voc12, sbd")
    record(paths, AGREED, {"data": AGREED, "sources": [*"abcdefg"]})
    assert probe_data(paths)[0].what.endswith("records a, b, c, d, e and 2 more")
    record(paths, "f" * 32 + ".dir", {"data": AGREED, "sources": ["voc12"]})
    assert probe_data(paths)[0].state == "problem"


@pytest.mark.parametrize("recorded", [True, False])
def test_data_that_are_not_here(project: Path, recorded: bool) -> None:
    paths = Paths(project)
    shutil.rmtree(paths.data)
    if recorded:
        record(paths, AGREED)
    (line,) = probe_data(paths)
    assert (line.state, line.what) == ("problem", "data/ is not here")
    assert ("dvc pull" in line.fix) == recorded


def write_report(paths: Paths, text: str, later: float = 10) -> None:
    file = paths.root / "reports" / "data" / "check.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    moment = content.newest(paths.data) + later
    os.utime(file, (moment, moment))


def test_the_last_check(project: Path) -> None:
    paths = Paths(project)
    report = {"usable": True, "errors": 0, "warnings": 3}
    assert probe_check(paths)[0].what == "data/ was never checked here"
    write_report(paths, json.dumps(report))
    assert [line.state for line in probe_check(paths)] == ["ok"]
    write_report(paths, json.dumps(report), later=-10)
    assert probe_check(paths)[0].what == "data/ holds something newer than its last check"
    write_report(paths, json.dumps({**report, "usable": False, "errors": 2}))
    assert "unusable: 2 errors" in probe_check(paths)[0].what
    write_report(paths, "[]")
    assert "is no report" in probe_check(paths)[0].what


def test_a_file_deep_in_data_counts_as_newer(project: Path) -> None:
    paths = Paths(project)
    before = content.newest(paths.data)
    deep = paths.data / "VOCdevkit" / "VOC2012" / "JPEGImages" / "train_0000.jpg"
    os.utime(deep, (before + 50, before + 50))
    assert content.newest(paths.data) == before + 50


def test_lists_are_counted(project: Path, params: Params) -> None:
    (line,) = probe_lists(Paths(project), params)
    assert line.what == "tiny: 12 training images, 12 with a mask, 6 validation images, labels from json"


def test_folders_that_the_parameters_read_must_be_here(project: Path) -> None:
    paths = Paths(project)
    assert probe_inputs(paths, changed()) == []
    shutil.rmtree(paths.data / "DUTS-TR")
    (line,) = probe_inputs(paths, changed())
    assert line.what == f"data.saliency_train: {paths.data / 'DUTS-TR'} is not here"
    (line,) = probe_inputs(paths, changed(saliency={"source": "folder", "folder": "imported/saliency/poolnet"}))
    assert line.what.startswith("saliency.folder: ")
    localiser = {**tiny.parameters()["localiser"]["cam"], "method": "imported", "options": {"pseudo": "oaa"}}
    lines = probe_inputs(paths, changed(localiser={"cam": localiser}))
    assert lines[1].what == f"localiser.cam.options.pseudo: {paths.imported('pseudo', 'oaa')} is not here"


def test_imports_must_be_whole(project: Path) -> None:
    paths = Paths(project)
    ids = [f"train_{number:04d}" for number in range(12)]
    pseudo, maps = paths.imported("pseudo", "oaa"), paths.imported("saliency", "poolnet")
    for folder, names in ((pseudo, ids[:1] + ids[3:]), (maps, ids)):
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name}.png").touch()
    with MapWriter(paths.imported("seeds", "psa"), "made") as writer:
        for name in ids[:11]:
            writer.add(name, np.zeros((1, 2, 2)), np.zeros(1, np.int64))
    cam = tiny.parameters()["localiser"]["cam"]
    blocks = {
        "cam": {**cam, "method": "imported", "options": {"pseudo": "oaa"}},
        "eps": {**cam, "method": "imported", "options": {"seeds": "psa"}},
    }
    params = changed(localiser=blocks, saliency={"source": "folder", "folder": "imported/saliency/poolnet"})
    found = {line.what.split(":")[0]: line for line in probe_inputs(paths, params)}
    assert f"6 of 18 images are not in {maps}, the first is 'val_0000'" in found["saliency.folder"].what
    assert "2 of 12 images are not in" in found["localiser.cam.options.pseudo"].what
    assert found["localiser.cam.options.pseudo"].what.endswith("the first is 'train_0001'")
    assert "1 of 12" in found["localiser.eps.options.seeds"].what
    assert found["localiser.eps.options.seeds"].fix.startswith("seedbed import seeds SOURCE --as psa")
    assert {line.state for line in found.values()} == {"problem"}


def test_weight_files_must_be_here(project: Path) -> None:
    paths = Paths(project)
    assert "no weight files" in probe_weights(paths, changed())[0].what
    params = changed(segmenter={"weights": "models/pretrained/a.pth"}, saliency={"weights": "models/pretrained/b"})
    (line,) = [line for line in probe_weights(paths, params) if "a.pth" in line.what]
    assert line.what == "models/pretrained/a.pth is not here (segmenter.weights)"
    folder = project / "models" / "pretrained" / "b"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").touch()
    assert [line.state for line in probe_weights(paths, params)] == ["problem", "ok"]
    (project / "models" / "pretrained" / "a.pth").touch()
    assert [line.state for line in probe_weights(paths, params)] == ["ok"]


def test_weights_that_no_stage_reads_may_be_missing(project: Path) -> None:
    blocks = tiny.parameters()["localiser"]
    localiser = {**blocks["cam"], "weights": "initial", "trained": "trained"}
    unused = {**blocks["cam"], "weights": "unused"}
    imported = {**unused, "method": "imported", "options": {"pseudo": "oaa"}}
    saliency = {"source": "folder", "folder": "maps", "weights": "unused"}
    params = changed(localiser={"cam": localiser, "eps": imported, "other": unused}, saliency=saliency)
    assert [line.what for line in probe_weights(Paths(project), params)] == [
        "trained is not here (localiser.cam.trained)"
    ]


def test_the_library_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = {
        "voc12": Status(True, True, 17125, 10, None),
        "sbd": Status(True, False, 1, 10, "3 missing"),
        "duts-tr": Status(False, False, 0, 0, "half downloaded"),
        "sod": Status(False, False, 0, 0, None),
    }
    library = SimpleNamespace(catalogue=known, status=known.__getitem__, root=tmp_path)
    monkeypatch.setattr(content, "open_library", lambda folder, root: library)
    lines = probe_library(tmp_path)
    assert [line.state for line in lines] == ["ok", "problem", "note", "ok"]
    assert lines[1].fix == "seedbed data fetch sbd"
    assert lines[3].what == f"{tmp_path}: not here sod"
