import os

import pytest

from seedbed.errors import UserError
from seedbed.intake import inspection, memory
from seedbed.intake.check import check_data
from seedbed.intake.facts import Facts, look_at
from seedbed.intake.memory import Memory

STAMP = (10, 1_700_000_000_000_000_000, 1_700_000_000_000_000_001, 7)
FACTS = {
    "a.jpg": Facts("0" * 32, (4, 3)),
    "a.png": Facts("1" * 32, (4, 3), (0, 5, 255), 0.25),
    "b.jpg": Facts("2" * 32, fault="b.jpg cannot be decoded"),
    "c.xml": Facts("3" * 32),
}
KINDS = {"a.jpg": "image", "a.png": "mask", "b.jpg": "image"}


def keep(path, facts=FACTS):
    with Memory(path) as known:
        known.keep((name, KINDS.get(name, "other"), STAMP, said) for name, said in facts.items())


def recall(path, **changed):
    files = dict.fromkeys(FACTS, STAMP) | changed.get("files", {})
    with Memory(path) as known:
        return known.recall(files, KINDS | changed.get("kinds", {}))


@pytest.fixture
def opened(monkeypatch):
    """The files that a check opens, one after the other."""
    names = []

    def look(root, files):
        names.extend(name for name, _ in files)
        return look_at(root, files)

    monkeypatch.setattr(inspection, "look_at", look)
    return names


def test_facts_come_back_as_they_were(tmp_path):
    keep(tmp_path / "check" / "files.db")
    assert recall(tmp_path / "check" / "files.db") == FACTS


@pytest.mark.parametrize(
    "changed",
    [
        {"files": {"a.jpg": (11, *STAMP[1:])}},
        {"files": {"a.jpg": (STAMP[0], STAMP[1] + 1, *STAMP[2:])}},
        {"files": {"a.jpg": (*STAMP[:2], STAMP[2] + 1, STAMP[3])}},
        {"files": {"a.jpg": (*STAMP[:3], 8)}},
        {"kinds": {"a.jpg": "grey"}},
    ],
    ids=["size", "time", "kernel's time", "inode", "kind"],
)
def test_facts_of_a_changed_file_are_forgotten(tmp_path, changed):
    keep(tmp_path / "files.db")
    left = {name: facts for name, facts in FACTS.items() if name != "a.jpg"}
    assert recall(tmp_path / "files.db", **changed) == left
    assert recall(tmp_path / "files.db") == left


def test_a_file_that_could_not_be_read_is_no_fact(tmp_path):
    keep(tmp_path / "files.db", {"a.jpg": Facts("", fault="a.jpg cannot be read (Permission denied)")})
    assert recall(tmp_path / "files.db") == {}


def test_other_code_sees_nothing(tmp_path, monkeypatch):
    keep(tmp_path / "files.db")
    monkeypatch.setattr(memory.PIL, "__version__", "0.0")
    assert recall(tmp_path / "files.db") == {}


def test_a_damaged_memory_is_replaced(tmp_path):
    keep(tmp_path / "files.db")
    (tmp_path / "files.db").write_bytes(b"no database" * 1000)
    assert recall(tmp_path / "files.db") == {}
    keep(tmp_path / "files.db")
    assert recall(tmp_path / "files.db") == FACTS


def test_a_place_that_cannot_be_a_memory_is_an_error(tmp_path):
    (tmp_path / "files.db").mkdir()
    with pytest.raises(UserError, match=r"files\.db cannot be opened"):
        Memory(tmp_path / "files.db")


def test_a_second_check_opens_what_has_changed(root, params, tmp_path, opened):
    place = tmp_path / "files.db"
    first = check_data(root, params, memory=place)
    assert set(opened) == set(first.files)
    opened.clear()
    again = check_data(root, params, memory=place)
    assert opened == []
    assert again.report == first.report
    assert again.facts == first.facts

    changed, gone, new = "VOCdevkit/VOC2012/JPEGImages/train_0001.jpg", "README.txt", "notes.txt"
    (root / changed).write_bytes((root / changed).read_bytes()[:700])
    (root / gone).unlink()
    (root / new).write_text("new")
    third = check_data(root, params, memory=place)
    assert sorted(opened) == sorted([changed, new])
    assert [finding["file"] for finding in third.report["findings"] if finding["severity"] == "error"] == [changed]
    assert gone not in third.facts

    opened.clear()
    check_data(root, params, memory=place, fresh=True)
    assert set(opened) == set(third.files)


def test_a_change_that_keeps_size_and_time_is_seen(root, params, tmp_path):
    file, place = root / "image_labels.json", tmp_path / "files.db"
    before = check_data(root, params, memory=place).facts[file.name].md5
    times = file.stat()
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b" ")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file.stat().st_mtime_ns == times.st_mtime_ns
    assert check_data(root, params, memory=place).facts[file.name].md5 != before


def test_a_stopped_check_goes_on(root, params, tmp_path, opened, monkeypatch):
    monkeypatch.setattr(inspection, "_CHUNK", 5)
    place = tmp_path / "files.db"
    looked = inspection._looked

    def stopped(*arguments):
        for number, chunk in enumerate(looked(*arguments)):
            if number == 3:
                raise KeyboardInterrupt
            yield chunk

    with monkeypatch.context() as patch:
        patch.setattr(inspection, "_looked", stopped)
        with pytest.raises(KeyboardInterrupt):
            check_data(root, params, memory=place)
    seen = set(opened[:15])
    opened.clear()
    checked = check_data(root, params, memory=place)
    assert seen.isdisjoint(opened)
    assert set(opened) | seen == set(checked.files)
    assert checked.report == check_data(root, params).report
