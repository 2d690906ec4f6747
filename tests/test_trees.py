"""Trees of files: every kind of thing that may lie in one, and every answer of a file system."""

import errno
import os
import shutil
import subprocess
import sys

import pytest

from seedbed import trees
from seedbed.errors import UserError
from seedbed.trees import (
    Differences,
    alone,
    check_space,
    compare,
    counted,
    hash_files,
    in_words,
    is_clutter,
    link_or_copy,
    walk,
)


@pytest.fixture
def tree(tmp_path):
    """A folder with a file, and something of every other kind."""
    for name in ("b/2", "b.txt", "a", "b/c/3"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(name)
    return tmp_path / "tree"


def kinds(folder):
    return {one.path: one.kind for one in walk(folder)}


def test_files_come_sorted_with_what_tells_them_apart(tree):
    found = list(walk(tree))
    assert [one.path for one in found] == sorted(one.path for one in found) == ["a", "b.txt", "b/2", "b/c/3"]
    stat = (tree / "b/2").stat()
    assert found[2] == ("b/2", "file", 3, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


def test_a_folder_that_is_missing_or_empty_holds_nothing(tmp_path):
    (tmp_path / "empty" / "empty").mkdir(parents=True)
    assert kinds(tmp_path / "empty") == kinds(tmp_path / "missing") == {}


def test_links_are_not_followed(tree):
    for name, target in {"loop": "loop", "up": "..", "file": "a", "broken": "nothing", "b/d": "c"}.items():
        (tree / name).symlink_to(target)
    links = {name for name, kind in kinds(tree).items() if kind == "link"}
    assert links == {"loop", "up", "file", "broken", "b/d"}
    assert len(kinds(tree)) == 4 + len(links)


def test_what_is_no_file_is_named(tree):
    os.mkfifo(tree / "pipe")
    for name in (b"\xff.jpg", b"two\nlines", b"a\ttab", b"caf\xc3\xa9 \xe2\x80\xaf.jpg"):
        (tree / os.fsdecode(name)).touch()
    (tree / os.fsdecode(b"folder\xe9")).mkdir()
    (tree / os.fsdecode(b"folder\xe9") / "inside").touch()
    found = {name: kind for name, kind in kinds(tree).items() if kind != "file"}
    odd = dict.fromkeys(("\\udcff.jpg", "two\\nlines", "a\\ttab", "folder\\udce9"), "odd")
    assert found == {"pipe": "other"} | odd
    assert kinds(tree)["caf\u00e9 \u202f.jpg"] == "file"
    assert all(name.encode() for name in kinds(tree))


def test_clutter_is_left_out(tree):
    for name in (".DS_Store", "b/Thumbs.db", "b/._2", "__MACOSX/2"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).touch()
    assert list(kinds(tree)) == ["a", "b.txt", "b/2", "b/c/3"]
    assert not any(map(is_clutter, ("a.DS_Store", ".hidden", "_._", "thumbs", "MACOSX")))


def test_a_folder_that_may_not_be_read(tree, monkeypatch):
    def refuse(folder):
        raise PermissionError(errno.EACCES, "no", str(folder))

    monkeypatch.setattr(trees.os, "scandir", refuse)
    with pytest.raises(UserError, match="may not be read"):
        list(walk(tree))


def test_differences_have_names():
    changed = compare({"same": 1, "other": 1, "gone": 1}, {"same": 1, "other": 2, "new": 1})
    assert changed == Differences(("other",), ("gone",), ("new",))
    assert changed
    assert str(changed) == "1 modified, 1 missing, 1 added"
    assert changed.files == ("other", "gone", "new")
    assert not Differences()


def test_hashes_come_in_order(tree, monkeypatch):
    monkeypatch.setattr(trees, "_AT_ONCE", 2)
    paths = [tree / name for name in ("b/2", "a", "b.txt")]
    said = subprocess.run(["md5sum", *paths], capture_output=True, text=True, check=True).stdout
    assert list(hash_files(paths, "md5", jobs=2)) == [line.split()[0] for line in said.splitlines()]
    assert {len(digest) for digest in hash_files(paths, "blake2b")} == {32}
    with pytest.raises(FileNotFoundError):
        list(hash_files([tree / "nothing"], "md5"))


def refuse(number):
    def act(*_):
        raise OSError(number, "refused")

    return act


@pytest.mark.parametrize("number", sorted(trees._REFUSED))
def test_what_cannot_be_linked_is_copied(tree, monkeypatch, number):
    assert link_or_copy(tree / "a", tree / "linked") == "hard link"
    assert (tree / "linked").samefile(tree / "a")
    monkeypatch.setattr(trees.Path, "hardlink_to", refuse(number))
    monkeypatch.setattr(trees.fcntl, "ioctl", lambda *_: 0)
    assert link_or_copy(tree / "a", tree / "reflinked") == "reflink"
    monkeypatch.setattr(trees.fcntl, "ioctl", refuse(number))
    assert link_or_copy(tree / "a", tree / "copied") == "copy"
    assert (tree / "copied").read_text() == "a"
    assert not (tree / "copied").samefile(tree / "a")
    with pytest.raises(FileExistsError):
        link_or_copy(tree / "a", tree / "b.txt")


def test_a_full_disk_is_told(tree, monkeypatch):
    monkeypatch.setattr(trees.Path, "hardlink_to", refuse(errno.EXDEV))
    monkeypatch.setattr(trees.fcntl, "ioctl", refuse(errno.ENOSPC))
    with pytest.raises(UserError, match="the disk is full"):
        link_or_copy(tree / "a", tree / "copied")


def test_space_is_looked_for_where_the_folder_will_be(tmp_path, monkeypatch):
    asked = []

    def usage(folder):
        asked.append(folder)
        return shutil._ntuple_diskusage(0, 0, trees.RESERVE + 2_000_000)

    monkeypatch.setattr(trees.shutil, "disk_usage", usage)
    check_space(tmp_path / "not" / "yet", 2_000_000, "a copy")
    assert asked == [tmp_path]
    with pytest.raises(UserError, match=r"a copy takes 2\.0 MB, 66\.0 MB are free, and 64\.0 MB") as caught:
        check_space(tmp_path / "not" / "yet", 2_000_001, "a copy", ", or elsewhere")
    assert caught.value.fix == f"free some space (df -h {tmp_path}), or elsewhere"
    monkeypatch.setattr(trees.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, 0))
    check_space(tmp_path, 0, "nothing")


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (3_340_469, "3.3 MB"), (1_937_000_000, "1.9 GB"),
     (5 * 10**12, "5.0 TB"), (5 * 10**15, "5000.0 TB")],
)  # fmt: skip
def test_sizes_in_words(size, words):
    assert in_words(size) == words


def test_numbers_in_words():
    assert [counted(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_one_process_at_a_time(tmp_path):
    code = (
        "import sys, pathlib; from seedbed.trees import alone\n"
        "with alone(pathlib.Path(sys.argv[1]), 'busy'): print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "folder")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="busy"), alone(tmp_path / "folder", "busy"):
            pass
        other.kill()
    with alone(tmp_path / "folder", "busy"):
        pass
