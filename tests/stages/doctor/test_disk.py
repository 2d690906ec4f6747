from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from seedbed.params import Params, load_params
from seedbed.paths import Paths
from seedbed.stages.doctor import disk
from seedbed.stages.doctor.disk import existing, maps_line, missing_maps, probe_disk, probe_maps, space_line

GIB = 2**30


def test_places_of_one_file_system_share_a_line(tmp_path: Path) -> None:
    (line,) = probe_disk({"the project": tmp_path, "DVC's cache": tmp_path / "not" / "yet"})
    assert line.what.endswith("free for the project, DVC's cache")


def test_a_place_that_does_not_exist_counts_as_the_folder_above(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path


def test_little_space_is_a_note_and_too_little_for_the_maps_a_problem() -> None:
    assert space_line(GIB, 100 * GIB, ["data/"]).state == "note"
    assert space_line(50 * GIB, 100 * GIB, ["data/"]).state == "ok"
    assert maps_line(3 * GIB, 4 * GIB).state == "ok"
    line = maps_line(5 * GIB, 4 * GIB)
    assert line.state == "problem"
    assert line.what == "the maps of these parameters take roughly 5.0 GiB more, 4.0 GiB are free"


def test_maps_are_estimated_from_size_and_classes_of_the_images(project: Path, params: Params) -> None:
    paths = Paths(project)
    whole = missing_maps(paths, params)
    pixels, images = 128 * 96, 12
    fewest, most = (3 * images * classes * pixels * 2 for classes in (1, 5))
    assert fewest < whole < most + (12 + 6) * pixels
    for method in params.methods:
        paths.seeds(method).mkdir(parents=True)
    assert missing_maps(paths, params) == round((12 + 6) * pixels * 0.3)
    paths.saliency_maps().mkdir(parents=True)
    assert missing_maps(paths, params) == 0


def test_maps_that_do_not_fit_are_a_problem(project: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(GIB, GIB, 10)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda place: usage)
    assert [line.state for line in probe_maps(Paths(project), params)] == ["problem"]


def test_data_that_cannot_be_read_give_no_estimate(project: Path, params: Params) -> None:
    shutil.rmtree(project / "data" / "VOCdevkit")
    assert probe_maps(Paths(project), load_params(project / "params.yaml")) == []
