from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from acquire.made_archives import EVERYTHING, FILES, FORMS, packed, placed

from seedbed.acquire.archive import Extracted, Rule, lay
from seedbed.errors import UserError
from seedbed.trees import walk


def laid(folder: Path, target: Path, layout) -> Extracted:
    return lay(folder, walk(folder), target, layout)


@pytest.mark.parametrize("form", FORMS)
def test_files_arrive_whole(unpack, tmp_path, form) -> None:
    done = unpack(packed(form, FILES))
    assert placed(tmp_path / "target") == FILES
    assert (done.files, done.bytes, done.skipped) == (3, sum(map(len, FILES.values())), 0)


@pytest.mark.parametrize("form", FORMS)
def test_the_first_rule_decides_and_the_rest_is_skipped(unpack, tmp_path, form) -> None:
    members = {"X-Image/1.jpg": b"1", "X-Mask/1.png": b"m", "X-Mask/readme.txt": b"r", "X-Image/sub/2.jpg": b"2"}
    layout = [
        Rule(r"[^/]*-Image/([^/]+\.jpg)", r"Images/\1"),
        Rule(r"[^/]*-Mask/(?P<id>[^/]+)\.png", r"Masks/\g<id>.png"),
        Rule(r"X-Image/1.jpg", r"elsewhere"),
    ]
    done = unpack(packed(form, members), layout)
    assert placed(tmp_path / "target") == {"Images/1.jpg": b"1", "Masks/1.png": b"m"}
    assert (done.files, done.skipped) == (2, 2)


@pytest.mark.parametrize("form", FORMS)
def test_clutter_is_not_even_counted(unpack, tmp_path, form) -> None:
    clutter = ["__MACOSX/set/._a.jpg", "set/.DS_Store", ".DS_Store", "set/Thumbs.db", "set/._a.jpg"]
    assert unpack(packed(form, FILES | dict.fromkeys(clutter, b"x"))).skipped == 0
    assert placed(tmp_path / "target") == FILES


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [["x/a", "y/a"], ["x/a", "x/a"], ["x/a", "y/a/b"], ["x/a/b", "y/a"], ["x/a/b/c", "y/a"], ["x/./a", "x/a"]]
)
@pytest.mark.parametrize("form", FORMS)
def test_two_members_for_one_place_refuse_the_archive(unpack, form, names) -> None:
    with pytest.raises(UserError, match=f"'{names[1].replace('./', '')}': it would go to .*where .* goes"):
        unpack(packed(form, [(name, b"1") for name in names]), [Rule(r"[^/]*/(.*)", r"\1")])


@pytest.mark.parametrize(
    ("pattern", "to"),
    [
        ("(.*)", "../\\1"),
        ("(.*)", "/tmp/\\1"),
        ("a(.*)", "\\1"),
        ("(.*)", "."),
        ("a", "b" * 250),
        ("a", "b/" * 2000 + "b"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_places_outside_the_target_and_none_are_refused(unpack, tmp_path, form, pattern, to) -> None:
    with pytest.raises(UserError, match="'a': it would go to"):
        unpack(packed(form, {"a": b"1"}), [Rule(pattern, to)])
    assert set(placed(tmp_path)) == {"archive"}


@pytest.mark.parametrize("form", FORMS)
def test_names_with_control_characters_are_no_places(unpack, tmp_path, form) -> None:
    members = {"Icon\r": b"", "a": b"1"}
    assert unpack(packed(form, members), [Rule("a", "a")]).skipped == 1
    with pytest.raises(UserError, match=r"Icon\\r"):
        unpack(packed(form, members))


@pytest.mark.parametrize("form", FORMS)
def test_a_link_in_the_target_leads_nowhere(unpack, tmp_path, form) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_bytes(b"kept")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "set").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="leads out of"):
        unpack(packed(form, FILES))
    (tmp_path / "target" / "set").unlink()
    (tmp_path / "target" / "set").mkdir()
    (tmp_path / "target" / "set" / "a.jpg").symlink_to(tmp_path / "outside" / "kept")
    unpack(packed(form, FILES))
    assert placed(tmp_path / "target") == FILES
    assert placed(tmp_path / "outside") == {"kept": b"kept"}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_there_is_passed_over(unpack, tmp_path, form) -> None:
    content = packed(form, FILES)
    unpack(content)
    kept, changed = tmp_path / "target" / "set" / "sub" / "b.png", tmp_path / "target" / "set" / "a.jpg"
    before = kept.stat().st_ino
    changed.write_bytes(b"another size")
    assert unpack(content).files == 3
    assert kept.stat().st_ino == before
    assert placed(tmp_path / "target") == FILES


SCRIPT = """
import os, signal, sys
from pathlib import Path
from seedbed.acquire import members
from seedbed.acquire.archive import Rule, extract
read = []
def dying(self, info, chunks=members.{reader}._chunks):
    for chunk in chunks(self, info):
        read.append(chunk)
        yield chunk
        if len(read) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
members.{reader}._chunks = dying
extract(Path(sys.argv[1]), Path(sys.argv[2]), [Rule("(.*)", r"\\1")])
"""


def test_zeros_of_the_right_size_are_not_passed_over(unpack, tmp_path) -> None:
    unpack(packed("zip", FILES))
    (tmp_path / "target" / "set" / "sub" / "b.png").write_bytes(bytes(len(FILES["set/sub/b.png"])))
    unpack(packed("zip", FILES))
    assert placed(tmp_path / "target") == FILES


@pytest.mark.parametrize("form", FORMS)
def test_a_killed_extraction_goes_on(unpack, tmp_path, form) -> None:
    content, target = packed(form, FILES), tmp_path / "target"
    (tmp_path / "archive").write_bytes(content)
    script = SCRIPT.format(reader="_Zip" if form == "zip" else "_Tar")
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "archive", target], check=False)
    assert done.returncode == -signal.SIGKILL
    assert set(placed(target)) == {"set/a.jpg", "set/sub/.b.png.part"}
    before = (target / "set/a.jpg").stat().st_ino
    unpack(content)
    assert placed(target) == FILES
    assert (target / "set/a.jpg").stat().st_ino == before


def test_a_full_disk(unpack, tmp_path, monkeypatch) -> None:
    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(UserError, match="the disk is full"):
        unpack(packed("zip", FILES))
    assert placed(tmp_path / "target") == {}


def test_rules_are_checked() -> None:
    with pytest.raises(ValueError, match="is no regular expression"):
        Rule("(", "a")
    with pytest.raises(UserError, match="does not fit the pattern"):
        Rule("a", r"\1").place("a")


def test_a_folder_is_laid_by_the_same_rules(tmp_path) -> None:
    for name, content in (FILES | {"set/.DS_Store": b"x", "other": b"y"}).items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(content)
    for _ in range(2):
        done = laid(tmp_path / "source", tmp_path / "target", [Rule("set/(.*)", r"\1")])
        assert (done.files, done.bytes, done.skipped) == (3, sum(map(len, FILES.values())), 1)
        assert placed(tmp_path / "target") == {name.removeprefix("set/"): FILES[name] for name in FILES}
    assert (tmp_path / "target" / "a.jpg").samefile(tmp_path / "source" / "set" / "a.jpg")


def test_a_folder_on_another_disk_is_copied(tmp_path, monkeypatch) -> None:
    def other_disk(*_) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", other_disk)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_bytes(b"1")
    laid(tmp_path / "source", tmp_path / "target", EVERYTHING)
    assert placed(tmp_path / "target") == {"a": b"1"}
    assert not (tmp_path / "target" / "a").samefile(tmp_path / "source" / "a")


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc"), os.mkfifo])
def test_a_folder_with_links_or_devices_is_refused(tmp_path, make) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_bytes(b"1")
    make(tmp_path / "source" / "b")
    with pytest.raises(UserError, match=r"is refused: .*b': it is a link or a device"):
        laid(tmp_path / "source", tmp_path / "target", EVERYTHING)
    assert not (tmp_path / "target").exists()
    assert (
        laid(tmp_path / "source", tmp_path / "target", [Rule("a", "a")]).files == 1
    )  # what no rule is about may lie there


def test_another_file_in_the_place_of_a_folders_is_replaced(tmp_path) -> None:
    for folder, content in (("source", b"new"), ("target", b"old")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_bytes(content)
    laid(tmp_path / "source", tmp_path / "target", EVERYTHING)
    assert placed(tmp_path / "target") == {"a": b"new"}


def test_two_files_of_a_folder_for_one_place(tmp_path) -> None:
    for name in ("x", "y"):
        (tmp_path / "source" / name).mkdir(parents=True)
        (tmp_path / "source" / name / "a").write_bytes(b"1")
    with pytest.raises(UserError, match="'y/a': it would go to a, where 'x/a' goes"):
        laid(tmp_path / "source", tmp_path / "target", [Rule("./(.*)", r"\1")])
    assert not (tmp_path / "target").exists()
