"""What the user got by hand: archives and folders, under their names and others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from acquire.miniature import PAIRS, members, served, with_entry, write_folder, write_zip

from seedbed.acquire.fetching import fetch_sets
from seedbed.acquire.library import Library
from seedbed.data.saliency_sets import SaliencySet
from seedbed.errors import UserError

VOC = Path("VOCdevkit/VOC2012")
TAR = "VOCtrainval_11-May-2012.tar"


def test_an_archive_under_its_name(library, archives, tmp_path, asked):
    given = shutil.copy(archives / TAR, tmp_path)
    fetch_sets(library, ["voc12"], [Path(given)], keep_archives=False)
    assert library.status("voc12").intact
    assert Path(given).exists()  # it is the user's
    assert not asked
    assert json.loads((library.root / "checksums.json").read_text())[f"voc12/{TAR}"]["source"] == "given by hand"


def test_a_folder_of_archives(library, archives, asked):
    assert fetch_sets(library, ["sbd", "hku-is", "coco17"], [archives]) == ["voc12", "sbd", "hku-is", "coco17"]
    assert not asked


def test_an_archive_under_another_name(lonely, tmp_path):
    fetch_sets(lonely, ["duts-tr"], [write_zip(tmp_path / "mine (1).zip", members("duts-tr"))])
    assert lonely.status("duts-tr").files == 2 * PAIRS


def test_an_archive_under_another_name_must_have_the_known_checksum(library, archives, tmp_path):
    fetch_sets(library, ["duts-tr"])
    known = json.loads((library.root / "checksums.json").read_text())["duts-tr/DUTS-TR.zip"]["sha256"]
    shutil.rmtree(library.folder("duts-tr"))
    (library.root / "state" / "duts-tr.files").unlink()
    tampered = write_zip(tmp_path / "mine.zip", ("DUTS-TR-Image/{}.jpg", "DUTS-TR-Mask/{}.png"))
    with pytest.raises(UserError, match=r"mine\.zip is not the DUTS-TR\.zip that is expected"):
        fetch_sets(library, ["duts-tr"], [tampered])
    renamed = Path(shutil.copy(archives / "DUTS-TR.zip", tmp_path / "renamed.zip"))
    fetch_sets(library, ["duts-tr"], [renamed])
    state = json.loads((library.root / "state" / "duts-tr.json").read_text())
    assert state["archives"]["DUTS-TR.zip"][0]["sha256"] == known


def test_one_archive_with_what_is_published_as_two(lonely, tmp_path):
    fetch_sets(lonely, ["ecssd"], [write_zip(tmp_path / "ECSSD.zip", members("ecssd"))])
    archives = lonely.state("ecssd")["archives"]
    assert len({one[0]["sha256"] for one in archives.values()}) == 1


def test_nothing_is_written_of_what_is_given_without_room(lonely, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    given = [write_zip(tmp_path / "mine.zip", members("sod"))]
    with pytest.raises(UserError, match="not enough space"):
        fetch_sets(lonely, ["sod"], given)
    assert not lonely.part("sod").exists()


def test_more_bytes_than_a_set_can_have_are_refused(lonely, tmp_path, monkeypatch):
    monkeypatch.setattr("seedbed.acquire.catalogue.LEAST", 100)
    archive = lonely.entry("sod").archives["SOD.zip"].model_copy(update={"size": 400})
    given = write_zip(tmp_path / "SOD.zip", members("sod"))
    with pytest.raises(UserError, match="more than 1,600 bytes come out"):
        fetch_sets(with_entry(lonely, "sod", archives={"SOD.zip": archive}), ["sod"], [given])


def test_two_sets_with_an_archive_of_one_name(lonely, tmp_path):
    (archive,) = lonely.entry("sod").archives.values()
    rules = {pattern.replace("SOD", "ECSSD"): to.replace("SOD", "ECSSD") for pattern, to in archive.layout.items()}
    sources = {}
    for name, layout in (
        ("sod", ("SOD/Imgs/s{}.jpg", "SOD/GT/s{}.png")),
        ("ecssd", ("ECSSD/Imgs/e{}.jpg", "ECSSD/GT/e{}.png")),
    ):
        (tmp_path / "served" / name).mkdir(parents=True)
        write_zip(tmp_path / "served" / name / "data.zip", layout)
    with served(tmp_path / "served") as (url, _):
        for name, layout in (("sod", dict(archive.layout)), ("ecssd", rules)):
            update = {"layout": layout, "sources": [f"{url}/{name}/data.zip"]}
            sources[name] = lonely.entry(name).model_copy(
                update={"archives": {"data.zip": archive.model_copy(update=update)}}
            )
        fetch_sets(Library(lonely.root, sources, jobs=1), ["sod", "ecssd"])
    assert SaliencySet(lonely.folder("sod") / "SOD").ids() == ["s1", "s2", "s3"]
    assert SaliencySet(lonely.folder("ecssd") / "ECSSD").ids() == ["e1", "e2", "e3"]


def test_links_are_refused_only_where_a_set_would_take_them(lonely, tmp_path):
    given = write_folder(tmp_path / "given", members("ecssd"))
    (given / "elsewhere").symlink_to(tmp_path)
    fetch_sets(lonely, ["ecssd"], [given])
    assert lonely.status("ecssd").intact
    linked = write_folder(tmp_path / "linked", members("sod"))
    (linked / "SOD" / "Imgs" / "more.jpg").symlink_to(linked / "SOD" / "Imgs" / "1.jpg")
    with pytest.raises(UserError, match=r"more\.jpg': it is a link"):
        fetch_sets(lonely, ["sod"], [linked])
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "images").symlink_to(given / "images")
    with pytest.raises(UserError, match=r"holds nothing of sod \(symbolic links are not followed: images"):
        fetch_sets(lonely, ["sod"], [tmp_path / "only"])


def test_folders_that_could_be_of_either_set_are_refused(lonely, tmp_path):
    given = write_folder(tmp_path / "given", ("images/{}.jpg", "masks/{}.png"))
    with pytest.raises(UserError, match=r"does not say whether images/1\.jpg is of ecssd or of sod") as caught:
        fetch_sets(lonely, ["ecssd", "sod"], [given])
    assert "one set at a time" in (caught.value.fix or "")


def test_masks_among_images_as_msra_published_them(lonely, tmp_path):
    fetch_sets(lonely, ["sod"], [write_folder(tmp_path / "given", ("Imgs/{}.jpg", "Imgs/{}.png"))])
    assert SaliencySet(lonely.folder("sod") / "SOD").ids() == ["1", "2", "3"]


@pytest.mark.parametrize("prefix", ["", "ECSSD/", "a/b/ECSSD/"])
@pytest.mark.parametrize("names", [("images", "ground_truth_mask"), ("Images", "Masks"), ("Imgs", "GT")])
def test_an_unpacked_folder_under_the_names_of_the_wild(lonely, tmp_path, prefix, names):
    layout = (f"{prefix}{names[0]}/{{}}.jpg", f"{prefix}{names[1]}/{{}}.png")
    fetch_sets(lonely, ["ecssd"], [write_folder(tmp_path / "given", layout)])
    assert SaliencySet(lonely.folder("ecssd") / "ECSSD").ids() == ["1", "2", "3"]


def test_one_folder_with_several_sets(lonely, tmp_path):
    for name in ("duts-tr", "duts-te", "ecssd"):
        kinds = zip(("Images", "Masks"), members(name), strict=True)
        places = tuple(f"{name.upper()}/{kind}/{Path(member).name}" for kind, member in kinds)
        write_folder(tmp_path / "all", places)
    fetch_sets(lonely, ["duts-tr", "duts-te", "ecssd"], [tmp_path / "all"])
    assert all(lonely.status(name).files == 2 * PAIRS for name in ("duts-tr", "duts-te", "ecssd"))


def test_folders_with_the_names_of_sets_hold_those(lonely, tmp_path):
    layouts = {"ECSSD": ("images/e{}.jpg", "masks/e{}.png"), "sod": ("images/s{}.jpg", "masks/s{}.png")}
    given = [write_folder(tmp_path / name, layout) for name, layout in layouts.items()]
    fetch_sets(lonely, ["sod", "ecssd"], given)
    assert SaliencySet(lonely.folder("sod") / "SOD").ids() == ["s1", "s2", "s3"]


def test_two_folders_for_one_set(lonely, tmp_path):
    images, masks = members("ecssd")
    given = [write_folder(tmp_path / "a", (images,)), write_folder(tmp_path / "b", (masks,))]
    fetch_sets(lonely, ["ecssd"], given)
    assert lonely.status("ecssd").intact


def test_what_is_not_given_is_downloaded(library, tmp_path, asked):
    fetch_sets(library, ["ecssd"], [write_folder(tmp_path / "given", members("ecssd")[:1])])
    assert library.status("ecssd").intact
    assert set(asked) == {"ground_truth_mask.zip"}


def test_voc_from_its_folder(library, archives, tmp_path, asked):
    shutil.unpack_archive(archives / TAR, tmp_path / "unpacked")
    fetch_sets(library, ["voc12"], [tmp_path / "unpacked" / VOC])
    assert library.status("voc12").intact
    assert not asked


def test_a_set_without_an_address_names_its_page_before_anything_is_downloaded(lonely, library, asked):
    mixed = Library(library.root, {**library.catalogue, "sod": lonely.entry("sod")}, jobs=1)
    with pytest.raises(UserError, match="sod has no address") as caught:
        fetch_sets(mixed, ["ecssd", "sod"])
    assert lonely.entry("sod").homepage in (caught.value.fix or "")
    assert not asked


def test_what_is_of_no_use_is_named(library, archives, tmp_path):
    (tmp_path / "empty").mkdir()
    for given in (archives / "DUTS-TE.zip", tmp_path / "empty"):
        with pytest.raises(UserError, match="holds nothing of duts-tr"):
            fetch_sets(library, ["duts-tr"], [given])


def test_a_path_that_is_not_there_is_named(library, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        fetch_sets(library, ["duts-tr"], [tmp_path / "DUTS-TR.zip"])


def test_another_file_under_a_known_name_is_refused(library, tmp_path):
    fetch_sets(library, ["duts-tr"])
    shutil.rmtree(library.folder("duts-tr"))
    other = write_zip(tmp_path / "DUTS-TR.zip", members("duts-tr")[:1])
    with pytest.raises(UserError, match=r"is not the DUTS-TR\.zip that is expected"):
        fetch_sets(library, ["duts-tr"], [other])


def test_a_published_checksum_must_fit(library, archives):
    archive = library.entry("sod").archives["SOD.zip"].model_copy(update={"checksum": f"md5:{'0' * 32}"})
    strict = with_entry(library, "sod", archives={"SOD.zip": archive})
    for given in ([archives / "SOD.zip"], []):
        with pytest.raises(UserError, match=r"0{32}"):
            fetch_sets(strict, ["sod"], given)
    assert not strict.folder("sod").exists()
