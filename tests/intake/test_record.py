"""The record of data/, against the real DVC: every test is what a user may do to a file."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from seedbed.errors import UserError
from seedbed.intake import record
from seedbed.intake.changing import changing
from seedbed.intake.dvc import Cache, hash_folder, run_dvc, tree_of
from seedbed.intake.record import (
    Changes,
    adopt,
    commit_data,
    differences,
    record_data,
    recorded,
    restore_data,
    tracked_hash,
)
from seedbed.intake.use import use_data

FILES = {"a/1.jpg": "one", "a/2.jpg": "two", "a/ü .jpg": "three", "image_labels.json": "{}", "empty": ""}
ONE = "a/1.jpg"


@pytest.fixture(scope="module")
def recorded_repo(empty_repo, tmp_path_factory):
    """A repository with recorded data and a full remote; not to be changed."""
    folder = tmp_path_factory.mktemp("recorded")
    for name, content in FILES.items():
        (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "photos" / name).write_text(content)
    copy(empty_repo, folder / "repo")
    run_dvc(folder / "repo", "remote", "add", "--default", "store", str(folder / "store"))
    use_data([folder / "photos"], folder / "repo")
    run_dvc(folder / "repo", "push")
    return folder / "repo"


@pytest.fixture
def repo(recorded_repo, tmp_path):
    """A repository with recorded data, linked to its cache as DVC does, to be changed."""
    copy(recorded_repo, tmp_path / "repo")
    run_dvc(tmp_path / "repo", "checkout", "--relink")
    assert (tmp_path / "repo" / "data" / ONE).stat().st_nlink == 2
    return tmp_path / "repo"


def copy(source, target):
    """Copy a folder without DVC's memory of another place."""
    return shutil.copytree(source, target, ignore=shutil.ignore_patterns("tmp"))


def found(repo):
    return differences(recorded(repo), hash_folder(repo / "data"))


def replace(repo, name, content):
    """Write a file as programs do that replace it: the cache keeps the old one."""
    (repo / "data" / name).unlink(missing_ok=True)
    (repo / "data" / name).parent.mkdir(parents=True, exist_ok=True)
    (repo / "data" / name).write_text(content)


def tamper(repo, name, content, times=False):
    """Write into a file: the cache, which is the same file, is damaged with it."""
    path = repo / "data" / name
    before = path.stat()
    path.chmod(0o644)
    path.write_text(content)
    path.chmod(0o444)
    if times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def contents(repo):
    return {name: (repo / "data" / name).read_text() for name in hash_folder(repo / "data")}


def test_what_dvc_and_we_say_of_a_folder_is_the_same(repo):
    said = yaml.safe_load((repo / "data.dvc").read_text())
    assert said["outs"][0]["md5"] == tree_of(hash_folder(repo / "data")) == recorded(repo).data
    assert recorded(repo).listing() == hash_folder(repo / "data")
    assert recorded(repo).sources == ("photos",)
    assert not found(repo)


def test_dvc_leaves_the_record_alone(repo):
    before = (repo / "data.dvc").read_text()
    agreed = recorded(repo)
    replace(repo, ONE, "another")
    run_dvc(repo, "add", "data")
    assert recorded(repo) == agreed
    replace(repo, ONE, "one")
    run_dvc(repo, "commit", "--force", "data.dvc")
    assert (repo / "data.dvc").read_text() == before


def test_no_record(empty_repo, repo):
    assert recorded(empty_repo) is None
    (repo / "data.dvc").write_text("outs:\n- md5: x.dir\n  path: data\nmeta: text\n")
    assert recorded(repo) is None


@pytest.mark.parametrize(
    "damage",
    ["- a\n- list\n", "outs: [", "outs: 3\n", "outs: []\n", "outs: [data]\n", "meta: {}\n", "",
     "outs: [{path: data}]\n", "outs: [{md5: x.dir, path: other}]\n",
     "outs: [{md5: x.dir, path: data}, {md5: y.dir, path: data}]\n", b"\xff\x00"],
)  # fmt: skip
def test_a_damaged_file_is_told_by_every_command(repo, damage):
    before = (repo / "data.dvc").read_bytes()
    (repo / "data.dvc").write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    for command in (recorded, tracked_hash, commit_data, restore_data, lambda repo: use_data([repo.parent], repo)):
        with pytest.raises(UserError, match=r"data\.dvc is no|lie inside"):
            command(repo)
    (repo / "data.dvc").write_bytes(before)
    assert recorded(repo).sources == ("photos",)


@pytest.mark.parametrize(("side", "content"), [("ours", "our one"), ("theirs", "their one")])
def test_a_merge_that_conflicts_is_solved_as_advised(repo, side, content):
    def git(*words, status=0):
        done = subprocess.run(["git", *words], cwd=repo, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr

    def save():
        git("add", "data.dvc")
        git("-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-qm", "Data")

    git("init", "-q", "-b", "main")
    save()
    git("checkout", "-q", "-b", "side")
    replace(repo, ONE, "their one")
    commit_data(repo)
    save()
    git("checkout", "-q", "main")
    restore_data(repo)
    replace(repo, ONE, "our one")
    commit_data(repo)
    save()
    git("merge", "-q", "side", status=1)
    for command in (recorded, commit_data, restore_data):
        with pytest.raises(UserError, match="both sides of a merge") as caught:
            command(repo)
    assert f"git checkout --{side} data.dvc" in caught.value.fix
    git("checkout", "-q", f"--{side}", "data.dvc")
    restore_data(repo)
    assert contents(repo) == FILES | {ONE: content}
    assert not found(repo)
    save()


def test_every_difference_is_named(repo):
    replace(repo, ONE, "another")
    replace(repo, "b/new.jpg", "new")
    (repo / "data" / "empty").unlink()
    changed = found(repo)
    assert changed == Changes(modified=(ONE,), missing=("empty",), added=("b/new.jpg",))
    assert str(changed) == "1 modified, 1 missing, 1 added"


def test_what_dvc_ignores_is_no_difference(repo):
    (repo / ".dvcignore").write_text("*.log\n")
    replace(repo, "a/train.log", "steps")
    assert not found(repo)
    replace(repo, "b/new.jpg", "new")
    assert found(repo) == Changes(added=("b/new.jpg",))


def test_without_the_listing_a_difference_is_known_but_not_named(repo):
    Cache(repo).place(recorded(repo).data).unlink()
    assert not found(repo)
    replace(repo, ONE, "another")
    assert found(repo) == Changes(listed=False)
    with pytest.raises(UserError, match="lacks the listing") as caught:
        restore_data(repo)
    assert "dvc fetch" in caught.value.fix
    run_dvc(repo, "fetch", "data.dvc")
    assert restore_data(repo).modified == (ONE,)


def test_restore(repo):
    before = (repo / "data.dvc").read_text()
    replace(repo, ONE, "another")
    replace(repo, "b/new.jpg", "new")
    (repo / "data" / "empty").unlink()
    run_dvc(repo, "add", "data")
    assert restore_data(repo) == Changes(modified=(ONE,), missing=("empty",), added=("b/new.jpg",))
    assert contents(repo) == FILES
    assert (repo / "data.dvc").read_text() == before


def test_restore_without_any_data(repo):
    before = (repo / "data.dvc").read_text()
    run_dvc(repo, "remove", "data.dvc", "--outs")
    (repo / "data.dvc").write_text(before)
    assert restore_data(repo).missing == tuple(sorted(FILES))
    assert contents(repo) == FILES


@pytest.mark.parametrize(("taken", "times"), [(False, True), (True, False)], ids=["with its old time", "taken by DVC"])
def test_a_damaged_cache_is_noticed_and_mended(repo, taken, times):
    """DVC itself would check the damaged content out again, or leave data/ empty."""
    before = (repo / "data.dvc").read_text()
    tamper(repo, ONE, "ONE", times)
    if taken:
        run_dvc(repo, "add", "data")
    with pytest.raises(UserError, match=rf"lacks the recorded content of 1 file .*damaged\), first {ONE}") as caught:
        restore_data(repo)
    assert "dvc fetch" in caught.value.fix
    assert contents(repo) == FILES | {ONE: "ONE"}
    run_dvc(repo, "fetch", "data.dvc")
    assert restore_data(repo).modified == (ONE,)
    assert contents(repo) == FILES
    assert (repo / "data.dvc").read_text() == before


def test_commit(repo):
    replace(repo, ONE, "another")
    replace(repo, "b/new.jpg", "new")
    assert commit_data(repo) == Changes(modified=(ONE,), added=("b/new.jpg",))
    assert not found(repo)
    assert recorded(repo).sources == ("photos", "changed by hand")
    before = (repo / "data.dvc").read_text()
    assert commit_data(repo) == Changes()
    assert (repo / "data.dvc").read_text() == before


def test_a_committed_change_leaves_no_damaged_content(repo):
    """Else DVC would push it, and check it out with an older commit."""
    old = (repo / "data.dvc").read_text()
    tamper(repo, ONE, "ONE")
    assert commit_data(repo).modified == (ONE,)
    (repo / "data.dvc").write_text(old)
    run_dvc(repo, "pull", "--force", "data.dvc")
    assert contents(repo) == FILES


def test_the_first_record(repo):
    content = yaml.safe_load((repo / "data.dvc").read_text())
    del content["meta"]
    (repo / "data.dvc").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="does not say which data"):
        restore_data(repo)
    adopt(repo, "sample")
    assert recorded(repo).sources == ("sample",)
    (repo / "data.dvc").write_text(yaml.safe_dump(content))
    replace(repo, ONE, "another")
    adopt(repo, "sample")
    assert recorded(repo) is None
    assert commit_data(repo) is None
    assert not found(repo)


def test_an_import_is_recorded_in_the_place_of_an_earlier_one(repo):
    replace(repo, "image_labels.json", json.dumps({"1": []}))
    record_data(repo, "labels of cls_labels.npy", repo / "data" / "image_labels.json")
    replace(repo, "imported/seeds/theirs/index.json", "{}")
    record_data(repo, "seeds theirs of out_cam", repo / "data" / "imported" / "seeds" / "theirs")
    record_data(repo, "seeds theirs of out_cam.zip", repo / "data" / "imported" / "seeds" / "theirs")
    assert not found(repo)
    assert recorded(repo).sources == ("photos", "labels of cls_labels.npy", "seeds theirs of out_cam.zip")


def test_an_import_lets_no_other_change_pass(repo):
    before = (repo / "data.dvc").read_text()
    replace(repo, "imported/seeds/theirs/index.json", "{}")
    replace(repo, ONE, "another")
    with pytest.raises(UserError, match=rf"in 1 file that seeds theirs has not brought, first {ONE}"):
        record_data(repo, "seeds theirs", repo / "data" / "imported" / "seeds" / "theirs")
    assert (repo / "data.dvc").read_text() == before
    assert found(repo) == Changes(modified=(ONE,), added=("imported/seeds/theirs/index.json",))


def test_an_import_where_nothing_is_tracked(tmp_path, caplog):
    (tmp_path / "data").mkdir()
    with caplog.at_level("INFO", logger=record.__name__):
        record_data(tmp_path, "seeds theirs", tmp_path / "data" / "imported" / "seeds" / "theirs")
    assert "not tracked by DVC" in caplog.text
    assert not (tmp_path / "data.dvc").exists()


def test_a_cache_elsewhere(repo, tmp_path):
    run_dvc(repo, "config", "cache.dir", str(tmp_path / "elsewhere"))
    (repo / ".dvc" / "cache").rename(tmp_path / "elsewhere")
    assert recorded(repo).listing() == hash_folder(repo / "data")


def test_nothing_but_plain_files_is_recorded(repo):
    """DVC would wait for ever for the end of a pipe."""
    before = (repo / "data.dvc").read_text()
    os.mkfifo(repo / "data" / "a" / "pipe")
    for command in (commit_data, restore_data):
        with pytest.raises(UserError, match=r"data/a/pipe is neither a file nor a folder"):
            command(repo)
    assert (repo / "data.dvc").read_text() == before


def test_clutter_is_neither_recorded_nor_a_difference(repo):
    shutil.copy(Path(__file__).parents[2] / ".dvcignore", repo)
    before = (repo / "data.dvc").read_text()
    for name in (".DS_Store", "a/Thumbs.db", "a/._1.jpg", "__MACOSX/a/1.jpg"):
        replace(repo, name, "clutter")
    assert not found(repo)
    assert commit_data(repo) == Changes()
    assert "up to date" in run_dvc(repo, "status")
    assert (repo / "data.dvc").read_text() == before


def test_commands_exclude_each_other(repo, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.txt").write_text("a")
    commands = (
        lambda: commit_data(repo),
        lambda: restore_data(repo),
        lambda: record_data(repo, "seeds theirs", repo / "data" / "imported"),
        lambda: use_data([photos], repo),
    )
    with changing(repo):
        for command in commands:
            with pytest.raises(UserError, match=r"another command is changing .*/repo/data"):
                command()
    assert commit_data(repo) == Changes()


def test_dvc_holds_the_lock_of_who_started_it(repo):
    """Else the next command would begin while DVC, whose parent was killed, still records."""
    with changing(repo):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with pytest.raises(UserError, match="another command"):
            commit_data(repo)
    finally:
        child.kill()
        child.wait()
    assert commit_data(repo) == Changes()


def test_a_repository_of_neither_dvc_nor_git(tmp_path):
    (tmp_path / "data").mkdir()
    for command in (commit_data, restore_data):
        with pytest.raises(UserError, match="is no DVC repository") as caught:
            command(tmp_path)
        assert caught.value.fix == "git init && dvc init"
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("")
    with pytest.raises(UserError, match="without git") as caught:
        commit_data(tmp_path)
    assert caught.value.fix == "git init"
