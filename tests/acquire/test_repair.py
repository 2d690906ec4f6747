"""Sets that are here: damaged, outdated, without their record, with files of the user's own."""

from __future__ import annotations

import pytest
from acquire.miniature import PAIRS, files, members, with_entry, write_folder
from PIL import Image

from seedbed.acquire.fetching import fetch_sets
from seedbed.data.saliency_sets import SaliencySet
from seedbed.errors import UserError


@pytest.mark.parametrize("name", ["ecssd", "sbd", "coco14"])
def test_only_what_is_damaged_is_made_anew(library, name, asked):
    fetch_sets(library, [name])
    before, folder = files(library.folder(name)), library.folder(name)
    first, second, *_ = sorted(path for path in before if path.endswith(".png"))
    (folder / first).unlink()
    (folder / second).write_bytes(before[second][::-1])
    assert "1 missing" in str(library.status(name).finding)
    assert "modified" in str(library.status(name, verify=True).finding)
    asked.clear()
    assert fetch_sets(library, [name]) == [name]
    assert files(folder) == before
    assert library.status(name, verify=True).intact
    assert not asked  # the archives are still here


def test_without_the_archives_they_are_fetched_again(library, asked):
    fetch_sets(library, ["ecssd"], keep_archives=False)
    before = files(library.folder("ecssd"))
    (library.folder("ecssd") / "ECSSD" / "Images" / "0001.jpg").unlink()
    fetch_sets(library, ["ecssd"])
    assert files(library.folder("ecssd")) == before
    assert asked["images.zip"] == 2


def test_files_of_the_users_own_are_not_touched(library):
    fetch_sets(library, ["ecssd"])
    (library.folder("ecssd") / "ECSSD" / "Images" / "mine.jpg").touch()
    assert "1 added" in str(library.status("ecssd").finding)
    with pytest.raises(UserError, match=r"1 file that no fetch brought, as .*/ECSSD/Images/mine\.jpg"):
        fetch_sets(library, ["ecssd"])


def test_a_folder_that_no_fetch_made_is_not_touched(library):
    (library.folder("sod") / "SOD").mkdir(parents=True)
    with pytest.raises(UserError, match="was not made by") as caught:
        fetch_sets(library, ["sod"])
    assert "--from ELSEWHERE" in (caught.value.fix or "")
    assert "not made by seedbed data fetch" in str(library.status("sod").finding)


def test_a_changed_entry_that_an_intact_set_meets_is_recorded(library, asked):
    fetch_sets(library, ["ecssd"])
    changed = with_entry(library, "ecssd", expected={"ECSSD/Images": PAIRS})
    assert changed.status("ecssd").outdated
    asked.clear()
    before = library.folder("ecssd").stat().st_ino
    assert fetch_sets(changed, ["ecssd"]) == []
    assert changed.status("ecssd").intact
    assert library.folder("ecssd").stat().st_ino == before
    assert not asked


def test_one_that_it_does_not_meet_is_fetched_anew(library, archives, tmp_path):
    fetch_sets(library, ["ecssd"])
    other = write_folder(tmp_path / "given", members("ecssd"))
    Image.new("RGB", (5, 5)).save(other / "images" / "more.jpg")
    changed = with_entry(library, "ecssd", expected={"ECSSD/Images": PAIRS + 1})
    assert fetch_sets(changed, ["ecssd"], [other]) == ["ecssd"]
    assert changed.status("ecssd").intact


def test_a_changed_entry_does_not_remove_files_of_the_users_own(library):
    fetch_sets(library, ["ecssd"])
    mine = library.folder("ecssd") / "ECSSD" / "mine.txt"
    mine.touch()
    with pytest.raises(UserError, match="1 file that no fetch brought"):
        fetch_sets(with_entry(library, "ecssd", expected={"ECSSD/Images": 7}), ["ecssd"])
    assert mine.exists()


@pytest.mark.parametrize("content", [None, "{"])
def test_a_damaged_record_is_written_anew_for_an_intact_set(library, content, asked):
    fetch_sets(library, ["ecssd"])
    record = library.root / "state" / "ecssd.json"
    record.write_text(content) if content else record.unlink()
    asked.clear()
    assert fetch_sets(library, ["ecssd"]) == []
    assert library.status("ecssd").intact
    assert not asked


def test_without_its_record_a_sets_content_is_verified(library):
    fetch_sets(library, ["ecssd"])
    before = files(library.folder("ecssd"))
    (library.root / "state" / "ecssd.json").unlink()
    path = library.folder("ecssd") / "ECSSD" / "Masks" / "0001.png"
    path.write_bytes(path.read_bytes()[::-1])
    assert fetch_sets(library, ["ecssd"]) == ["ecssd"]
    assert files(library.folder("ecssd")) == before


def test_without_the_list_of_its_files_the_way_out_is_named_and_works(library, tmp_path, asked):
    fetch_sets(library, ["ecssd"])
    (library.root / "state" / "ecssd.files").unlink()
    with pytest.raises(UserError, match="list of its files is damaged") as caught:
        fetch_sets(library, ["ecssd"])
    assert "--from ELSEWHERE" in (caught.value.fix or "")
    library.folder("ecssd").rename(tmp_path / "ELSEWHERE")
    asked.clear()
    fetch_sets(library, ["ecssd"], [tmp_path / "ELSEWHERE"])
    assert library.status("ecssd").intact
    assert not asked


def test_files_of_another_source_are_not_mixed_in(lonely, tmp_path):
    fetch_sets(lonely, ["ecssd"], [write_folder(tmp_path / "first", members("ecssd"))])
    next(lonely.folder("ecssd").rglob("0001.jpg")).unlink()
    second = write_folder(tmp_path / "second", ("images/other{}.jpg", "masks/other{}.png"))
    fetch_sets(lonely, ["ecssd"], [second])
    assert SaliencySet(lonely.folder("ecssd") / "ECSSD").ids() == ["other1", "other2", "other3"]


def test_a_needed_set_without_its_record_is_verified_too(library):
    fetch_sets(library, ["sbd"])
    (library.root / "state" / "voc12.json").unlink()
    path = next(library.folder("voc12").rglob("*.xml"))
    path.write_bytes(path.read_bytes()[::-1])
    assert fetch_sets(library, ["sbd"]) == ["voc12"]
    assert library.status("voc12", verify=True).intact
