"""The record of data/, against the real DVC: every test is what a user may do to a file."""

import json
import os
import shutil

import pytest
import yaml

from seedbed.errors import UserError
from seedbed.intake import record
from seedbed.intake.dvc import Cache, hash_files, run_dvc, tree_of
from seedbed.intake.record import Differences, adopt, commit_data, differences, record_data, recorded, restore_data
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
    return differences(recorded(repo), hash_files(repo / "data"))


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
    return {name: (repo / "data" / name).read_text() for name in hash_files(repo / "data")}


def test_what_dvc_and_we_say_of_a_folder_is_the_same(repo):
    said = yaml.safe_load((repo / "data.dvc").read_text())
    assert said["outs"][0]["md5"] == tree_of(hash_files(repo / "data")) == recorded(repo).data
    assert recorded(repo).listing() == hash_files(repo / "data")
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
    for damage in ("- a\n- list\n", "outs: [", "outs: 3\n"):
        (repo / "data.dvc").write_text(damage)
        with pytest.raises(UserError, match=r"data\.dvc is no"):
            recorded(repo)


def test_every_difference_is_named(repo):
    replace(repo, ONE, "another")
    replace(repo, "b/new.jpg", "new")
    (repo / "data" / "empty").unlink()
    changed = found(repo)
    assert changed == Differences(modified=(ONE,), missing=("empty",), added=("b/new.jpg",))
    assert str(changed) == "1 modified, 1 missing, 1 added"


def test_what_dvc_ignores_is_no_difference(repo):
    (repo / ".dvcignore").write_text("*.log\n")
    replace(repo, "a/train.log", "steps")
    assert not found(repo)
    replace(repo, "b/new.jpg", "new")
    assert found(repo) == Differences(added=("b/new.jpg",))


def test_without_the_listing_a_difference_is_known_but_not_named(repo):
    Cache(repo).place(recorded(repo).data).unlink()
    assert not found(repo)
    replace(repo, ONE, "another")
    assert found(repo) == Differences(listed=False)
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
    assert restore_data(repo) == Differences(modified=(ONE,), missing=("empty",), added=("b/new.jpg",))
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
    with pytest.raises(UserError, match=rf"lacks the recorded content of 1 files .*damaged\), first {ONE}") as caught:
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
    assert commit_data(repo) == Differences(modified=(ONE,), added=("b/new.jpg",))
    assert not found(repo)
    assert recorded(repo).sources == ("photos", "changed by hand")
    before = (repo / "data.dvc").read_text()
    assert commit_data(repo) == Differences()
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


def test_an_import_is_recorded(repo):
    replace(repo, "image_labels.json", json.dumps({"1": []}))
    record_data(repo, "labels of cls_labels.npy")
    replace(repo, "imported/seeds/theirs/index.json", "{}")
    record_data(repo, "seeds theirs")
    record_data(repo, "seeds theirs")
    assert not found(repo)
    assert recorded(repo).sources == ("photos", "labels of cls_labels.npy", "seeds theirs")


def test_an_import_lets_no_other_change_pass(repo):
    before = (repo / "data.dvc").read_text()
    replace(repo, "imported/seeds/theirs/index.json", "{}")
    replace(repo, ONE, "another")
    with pytest.raises(UserError, match=rf"in 1 files that seeds theirs has not brought, first {ONE}"):
        record_data(repo, "seeds theirs")
    assert (repo / "data.dvc").read_text() == before
    assert found(repo) == Differences(modified=(ONE,), added=("imported/seeds/theirs/index.json",))


def test_an_import_where_nothing_is_tracked(tmp_path, caplog):
    (tmp_path / "data").mkdir()
    with caplog.at_level("INFO", logger=record.__name__):
        record_data(tmp_path, "seeds theirs")
    assert "not tracked by DVC" in caplog.text
    assert not (tmp_path / "data.dvc").exists()


def test_a_cache_elsewhere(repo, tmp_path):
    run_dvc(repo, "config", "cache.dir", str(tmp_path / "elsewhere"))
    (repo / ".dvc" / "cache").rename(tmp_path / "elsewhere")
    assert recorded(repo).listing() == hash_files(repo / "data")
