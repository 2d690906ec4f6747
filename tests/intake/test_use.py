import os
import shutil
import subprocess
import sys

import pytest
import yaml

from seedbed.errors import UserError
from seedbed.intake import record, use
from seedbed.intake.dvc import hash_files, tree_of
from seedbed.intake.record import recorded
from seedbed.intake.use import use_data


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "photographs"
    for name in ("a/1.jpg", "a/2.jpg", "labels.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    return folder


@pytest.fixture
def recorder(monkeypatch):
    """DVC replaced by one that records every file: the tests of refusals need no more."""

    def run(repo, *words):
        if words[0] == "add":
            file = repo / "data.dvc"
            before = yaml.safe_load(file.read_text()) if file.exists() else {}
            outs = [{"md5": tree_of(hash_files(repo / "data"))}]
            file.write_text(yaml.safe_dump(before | {"outs": outs}, sort_keys=False))

    monkeypatch.setattr(use, "run_dvc", run)
    monkeypatch.setattr(record, "run_dvc", run)
    monkeypatch.setattr(record.Record, "listing", lambda self: hash_files(self.repo / "data"))


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def assert_refused(source, repo, message):
    before = names(repo)
    with pytest.raises(UserError, match=message):
        use_data([source], repo)
    assert names(repo) == before


def test_dvc_records_the_folder_and_keeps_the_old_one(source, repo, tmp_path):
    done = use_data([source], repo)
    assert (done.files, done.how, done.replaced) == (3, "hard link", False)
    assert names(repo / "data") == names(source)
    first = (repo / "data.dvc").read_text()
    assert yaml.safe_load(first)["outs"][0]["nfiles"] == 3
    assert recorded(repo).sources == ("photographs",)

    other = tmp_path / "other"
    other.mkdir()
    (other / "x.txt").write_text("x")
    assert use_data([other], repo).replaced
    assert names(repo / "data") == ["x.txt"]
    assert names(source) == ["a/1.jpg", "a/2.jpg", "labels.json"]
    assert (source / "labels.json").stat().st_mode & 0o200
    (source / "labels.json").write_text("may still be written")

    (repo / "data.dvc").write_text(first)
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    subprocess.run([sys.executable, "-m", "dvc", "checkout", "-q", "-f", "data"], cwd=repo, env=environment, check=True)
    assert names(repo / "data") == ["a/1.jpg", "a/2.jpg", "labels.json"]
    assert (repo / "data" / "labels.json").read_text() == "content of labels.json"


def test_files_that_dvc_leaves_out_are_an_error_and_undone(source, repo):
    (repo / ".dvcignore").write_text("*.log\n")
    (source / "train.log").write_text("x")
    with pytest.raises(UserError, match="recorded 3 of 4 files"):
        use_data([source], repo)
    assert not (repo / "data").exists()
    assert not (repo / "data.dvc").exists()


def test_a_failure_of_dvc_is_told(source, tmp_path):
    (tmp_path / "plain").mkdir()
    assert_refused(source, tmp_path / "plain", "`dvc add data` failed")


@pytest.mark.parametrize("how", ["hard link", "copy"])
def test_every_way_of_filling_gives_the_same_files(source, repo, recorder, monkeypatch, how):
    monkeypatch.setattr(use, "_linker", lambda sample, folder: how)
    assert use_data([source], repo).how == how
    assert [(repo / "data" / name).read_text() for name in names(source)] == [
        (source / name).read_text() for name in names(source)
    ]
    assert (repo / "data" / "labels.json").samefile(source / "labels.json") == (how == "hard link")


def test_links_that_the_file_system_refuses_become_copies(source, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(use.errno.EXDEV, "another file system")

    monkeypatch.setitem(use._LINKERS, "hard link", refuse)
    monkeypatch.setitem(use._LINKERS, "reflink", refuse)
    assert use._linker([source / "labels.json"], tmp_path) == "copy"


def test_symbolic_links_are_refused(source, repo, recorder, tmp_path):
    (source / "a" / "3.jpg").symlink_to("1.jpg")
    assert_refused(source, repo, r"holds 1 symbolic links, the first is .*3\.jpg; .* DVC would record nothing")
    (tmp_path / "link").symlink_to(source)
    assert_refused(tmp_path / "link", repo, "is a symbolic link")


def test_a_linked_data_folder_is_refused(source, repo, recorder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (repo / "data").symlink_to(tmp_path / "elsewhere")
    assert_refused(source, repo, "data is a symbolic link")


def test_sources_that_cannot_be(repo, recorder, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_refused(tmp_path / "nothing", repo, "is not a folder")
    assert_refused(tmp_path / "empty", repo, "holds no files")
    assert_refused(repo, repo, "inside each other")


def test_lack_of_space_is_seen_before_anything_is_written(source, repo, recorder, monkeypatch):
    monkeypatch.setattr(use.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    assert_refused(source, repo, "not enough space")


def test_unrecorded_content_is_never_replaced(source, repo, recorder):
    (repo / "data").mkdir()
    (repo / "data" / "mine.txt").write_text("mine")
    assert_refused(source, repo, "content that data.dvc does not record")
    use.run_dvc(repo, "add", "data")
    (repo / "data" / "mine.txt").write_text("changed since")
    assert_refused(source, repo, "content that data.dvc does not record")
    assert (repo / "data" / "mine.txt").read_text() == "changed since"


def test_a_failure_while_recording_brings_the_old_data_back(source, repo, recorder, monkeypatch):
    use_data([source], repo)
    record = (repo / "data.dvc").read_text()
    other = source.parent / "other"
    other.mkdir()
    (other / "x.txt").write_text("x")

    def fail(target, sources, count):
        (target.parent / "data.dvc").write_text("half")
        raise UserError("no")

    monkeypatch.setattr(use, "_record", fail)
    assert_refused(other, repo, "no")
    assert names(repo / "data") == names(source)
    assert (repo / "data.dvc").read_text() == record


def test_trees_are_laid_together(source, repo, recorder, tmp_path):
    other = tmp_path / "maps"
    (other / "a").mkdir(parents=True)
    (other / "a" / "1.png").write_text("a map")
    shutil.copy(source / "labels.json", other / "labels.json")
    done = use_data([source, other], repo)
    assert done.files == 4
    assert names(repo / "data") == ["a/1.jpg", "a/1.png", "a/2.jpg", "labels.json"]
    assert recorded(repo).sources == ("photographs", "maps")


def test_files_that_contradict_each_other_are_refused(source, repo, recorder, tmp_path):
    other = tmp_path / "other"
    (other / "b").mkdir(parents=True)
    (other / "labels.json").write_text("other labels of one size")
    before = names(repo)
    with pytest.raises(
        UserError, match=r"labels\.json and .*labels\.json differ, but both would become data/labels\.json"
    ):
        use_data([source, other], repo)
    (other / "labels.json").unlink()
    (other / "a").write_text("a file")
    with pytest.raises(UserError, match=r"is a file, but .* needs a folder of that name"):
        use_data([source, other], repo)
    assert names(repo) == before
