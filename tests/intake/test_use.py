import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from seedbed import trees
from seedbed.errors import UserError
from seedbed.intake import changing, dvc, record, use
from seedbed.intake.dvc import hash_folder, tree_of
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
        if words[0] == "cache":
            return str(repo / ".dvc" / "cache")
        if words[0] == "add":
            file = repo / "data.dvc"
            before = yaml.safe_load(file.read_text()) if file.exists() else {}
            outs = [{"md5": tree_of(hash_folder(repo / "data")), "path": "data"}]
            file.write_text(yaml.safe_dump(before | {"outs": outs}, sort_keys=False))
        return ""

    for module in (dvc, use, record):
        monkeypatch.setattr(module, "run_dvc", run)
    monkeypatch.setattr(record.Record, "listing", lambda self: hash_folder(self.repo / "data"))


def names(folder):
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(file.as_posix() for file in files if file.as_posix() != ".seedbed/data/.lock")


def assert_refused(source, repo, message):
    before = names(repo)
    with pytest.raises(UserError, match=message):
        use_data([source], repo)
    assert names(repo) == before


def test_dvc_records_the_folder_and_keeps_the_old_one(source, repo, tmp_path):
    done = use_data([source], repo)
    assert (done.files, done.replaced) == (3, False)
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


def test_a_failure_of_dvc_is_told(source, repo):
    (repo / ".dvc" / "config").write_text("[core\n")
    assert_refused(source, repo, "`dvc cache dir` failed")


def test_without_a_repository_there_is_nothing_to_record_in(source, tmp_path):
    (tmp_path / "plain").mkdir()
    assert_refused(source, tmp_path / "plain", "is no DVC repository")
    assert not list((tmp_path / "plain").iterdir())


@pytest.mark.parametrize("how", ["hard link", "copy"])
def test_every_way_of_filling_gives_the_same_files(source, repo, recorder, monkeypatch, how):
    if how == "copy":
        monkeypatch.setattr(use, "link_or_copy", shutil.copyfile)
    use_data([source], repo)
    assert [(repo / "data" / name).read_text() for name in names(source)] == [
        (source / name).read_text() for name in names(source)
    ]
    assert (repo / "data" / "labels.json").samefile(source / "labels.json") == (how == "hard link")


def test_what_dvc_cannot_record_is_refused(source, repo, recorder, tmp_path):
    (tmp_path / "link").symlink_to(source)
    assert_refused(tmp_path / "link", repo, "is a symbolic link")
    (source / "a" / "3.jpg").symlink_to("1.jpg")
    (source / "b").symlink_to("..")
    assert_refused(source, repo, r"a/3\.jpg is a symbolic link: .* DVC records nothing; and 1 more such")
    (source / "a" / "3.jpg").unlink()
    (source / "b").unlink()
    os.mkfifo(source / "pipe")
    assert_refused(source, repo, "pipe is neither a file nor a folder")
    (source / "pipe").unlink()
    Path(os.fsdecode(os.fsencode(source) + b"/\xff.jpg")).touch()
    assert_refused(source, repo, r"\\udcff\.jpg has a name that is not UTF-8")


def test_clutter_stays_behind(source, repo, recorder):
    for name in (".DS_Store", "a/._1.jpg", "a/Thumbs.db", "__MACOSX/1.jpg"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("clutter")
    assert use_data([source], repo).files == 3
    assert names(repo / "data") == ["a/1.jpg", "a/2.jpg", "labels.json"]


def test_a_source_given_twice_counts_once(source, repo, recorder):
    assert use_data([source, source / "a" / ".."], repo).files == 3
    assert recorded(repo).sources == ("photographs",)


def test_a_linked_data_folder_is_refused(source, repo, recorder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (repo / "data").symlink_to(tmp_path / "elsewhere")
    assert_refused(source, repo, "data is a symbolic link")


def test_sources_that_cannot_be(repo, recorder, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_refused(tmp_path / "nothing", repo, "is not a folder")
    assert_refused(tmp_path / "empty", repo, "holds no files")
    assert_refused(repo, repo, "inside each other")


def full(monkeypatch, free):
    """A disk with so much free space at each place, by the names in their paths."""

    def usage(folder):
        return shutil._ntuple_diskusage(0, 0, next(size for name, size in free.items() if name in str(folder)))

    monkeypatch.setattr(trees.shutil, "disk_usage", usage)


def test_lack_of_space_is_seen_before_anything_is_written(source, repo, recorder, monkeypatch):
    full(monkeypatch, {"": trees.RESERVE + 57})
    assert_refused(source, repo, "not enough space in .*repo: DVC's cache takes 58 bytes, 64.0 MB are free")
    full(monkeypatch, {"": trees.RESERVE + 58})
    use_data([source], repo)


def test_space_is_needed_where_the_cache_lies(source, repo, recorder, monkeypatch):
    elsewhere = next(place for place in (Path("/dev/shm"), Path("/proc")) if place.is_dir())
    assert elsewhere.stat().st_dev != repo.stat().st_dev
    monkeypatch.setattr(use.Cache, "__init__", lambda self, repo: setattr(self, "folder", elsewhere / "files" / "md5"))
    full(monkeypatch, {str(elsewhere): 1000, "": 1000})
    assert_refused(source, repo, f"not enough space in {elsewhere}/files/md5: DVC's cache takes 58 bytes")
    full(monkeypatch, {str(elsewhere): trees.RESERVE + 58, "": 0})
    use_data([source], repo)


def test_what_the_cache_holds_needs_no_space(source, repo, monkeypatch):
    use_data([source], repo)
    full(monkeypatch, {"": 0})
    assert use_data([source], repo).replaced
    (source / "more.txt").write_text("more")
    assert_refused(source, repo, "DVC's cache takes 4 bytes")


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


def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


MOMENTS = {
    "while filling": (use, "link_or_copy", kill),
    "before the swap": (changing, "write_bytes", kill),
    "between the renames": (changing, "fresh_folder", kill),
    "before the record": (use, "_record", kill),
    "after the record": (use, "complete", kill),
    "while the old goes": (changing.shutil, "rmtree", kill),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("replaced", [False, True], ids=["first data", "other data before"])
def test_killed_at_any_moment(source, repo, recorder, monkeypatch, tmp_path, moment, replaced):
    """Nothing is left that git would take, and the next command finds data/ and data.dvc of one kind."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.txt").write_text("x")
    if replaced:
        use_data([other], repo)
    before, visible = names(repo / "data"), {path.name for path in repo.iterdir()}
    if (child := os.fork()) == 0:
        with monkeypatch.context() as patch:
            module, name, death = MOMENTS[moment]
            # The folder is also asked for while it is filled: the swap asks once it has put the old data/ away.
            patch.setattr(module, name, _at_swap(changing.fresh_folder) if name == "fresh_folder" else death)
            use_data([source], repo)
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]) or (moment == "before the swap" and not replaced)
    assert {path.name for path in repo.iterdir()} - {"data", "data.dvc"} <= visible | {".seedbed"}
    with changing.changing(repo):
        done = moment == "while the old goes" or (moment == "before the swap" and not replaced)
        assert names(repo / "data") == (names(source) if done else before)
        assert (recorded(repo) is None) == (not done and not replaced)
        if recorded(repo):
            assert recorded(repo).data == tree_of(hash_folder(repo / "data"))
    assert names(repo / ".seedbed") == ["data/.lock"]
    assert use_data([source], repo).files == 3
    assert names(repo / "data") == names(source)


def _at_swap(folder):
    def ask(repo):
        return kill() if (repo / ".seedbed" / "data" / "use" / "before").exists() else folder(repo)

    return ask
