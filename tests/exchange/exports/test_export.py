"""The folder of an export: it appears whole or not at all, and takes the place of nothing but an export."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.data.masks import write_mask
from seedbed.errors import UserError
from seedbed.exchange.exports.export import CARD, PROVENANCE, count_files


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def spoil(project) -> str:
    """Make an id of the last pseudo-label unknown, so that an export fails at its end."""
    image_id = project.context.voc.ids("train_aug")[-1]
    path = project.paths.pseudo_labels("eps") / f"{image_id}.png"
    mask = project.context.voc.mask(image_id)
    mask[0, 0] = 77
    write_mask(path, mask)
    return image_id


def test_files_are_counted_by_folder(project):
    out = project.export("psa", "saliency")
    assert project.facts(out)["files"] == {".": 3, "pseudo": 7, "saliency": 7, "seeds": 7}
    assert count_files(out) == project.facts(out)["files"]


def test_the_same_export_twice_is_the_same_bytes(project):
    assert content(project.export("caffe", out="one")) == content(project.export("caffe", out="two"))


def test_a_new_folder_is_made_and_an_empty_one_is_taken(project):
    assert (project.export("caffe", out="deep/down") / CARD).is_file()
    (project.root / "empty").mkdir()
    assert (project.export("caffe", out="empty") / CARD).is_file()


def test_an_earlier_export_is_replaced(project):
    project.export("psa", "saliency")
    out = project.export("caffe")
    assert sorted(path.name for path in out.iterdir()) == [CARD, PROVENANCE, "pseudo", "train_ins.txt"]
    assert not list(project.root.glob(".exported*"))


@pytest.mark.parametrize("name", ["thesis.tex", PROVENANCE])
def test_a_folder_with_other_files_is_refused(project, name):
    mine = project.root / "exported" / name
    mine.parent.mkdir()
    mine.write_text("{}")
    with pytest.raises(UserError, match=r"not empty.*\n.*--out"):
        project.export("caffe")
    assert content(mine.parent) == {name: b"{}"}


def test_an_earlier_export_to_which_files_were_added_is_refused(project):
    out = project.export("caffe")
    (out / "pseudo" / "snapshot.caffemodel").write_text("weeks of work")
    before = content(out)
    with pytest.raises(UserError, match="files were added"):
        project.export("caffe")
    assert content(out) == before


def test_a_file_in_the_way_is_named(project):
    (project.root / "exported").write_text("a file")
    with pytest.raises(UserError, match="exported is a file"):
        project.export("caffe")
    with pytest.raises(UserError, match="exported is a file"):
        project.export("caffe", out="exported/below")


@pytest.mark.parametrize("layout", ["caffe", "psa", "huggingface"])
def test_a_failure_leaves_the_earlier_export(project, layout):
    out = project.export("deeplab-pytorch")
    before = content(out)
    image_id = spoil(project)
    with pytest.raises(UserError, match=rf"{image_id}.png holds unknown class ids \(77\)"):
        project.export(layout)
    assert content(out) == before
    assert not list(project.root.glob(".exported*"))


def test_what_a_killed_export_left_is_cleared_away(project):
    part = project.root / ".exported.part"
    part.mkdir()
    (part / "half.png").write_text("half")
    assert "half.png" not in content(project.export("caffe"))
    assert not part.exists()


def test_an_export_killed_between_two_renames_is_put_back(project):
    out = project.export("caffe")
    before = content(out)
    out.rename(project.root / ".exported.old")
    spoil(project)
    with pytest.raises(UserError, match="unknown class ids"):
        project.export("caffe")
    assert content(out) == before


@pytest.mark.parametrize("out", ["data", "data/exported", "maps/exported", "models", "reports/exported"])
def test_folders_of_the_pipeline_are_refused(project, out):
    with pytest.raises(UserError, match="belongs to the pipeline"):
        project.export("caffe", out=out)
    assert not (project.root / "data" / "exported").exists()
