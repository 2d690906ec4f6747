"""Bringing data sets into the library: downloads, archives and folders got by hand, counts, kills, repairs."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from acquire.made_voc import IDS
from acquire.miniature import PAIRS, SALIENCY, only, served, write_additions, write_archives, write_folder, write_zip
from PIL import Image

from seedbed.acquire import assembly, fetching, manifest
from seedbed.acquire.catalogue import DataSet, load_catalogue
from seedbed.acquire.fetching import fetch_sets
from seedbed.acquire.library import Library
from seedbed.data.saliency_sets import SaliencySet
from seedbed.data.voc import VocData
from seedbed.errors import UserError
from seedbed.params import DataParams

VOC = Path("VOCdevkit/VOC2012")
TAR = "VOCtrainval_11-May-2012.tar"


@pytest.fixture(scope="session")
def archives(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    write_archives(folder / "served", folder / "scratch")
    return folder / "served"


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory) -> dict[str, DataSet]:
    return load_catalogue({"SEEDBED_CATALOGUE": str(write_additions(tmp_path_factory.mktemp("user") / "mine.yaml"))})


@pytest.fixture
def mirror(archives):
    with served(archives) as running:
        yield running


@pytest.fixture
def asked(mirror) -> Counter[str]:
    return mirror[1]


@pytest.fixture
def library(tmp_path, catalogue, mirror) -> Library:
    """A library that fetches from the mirror and from nowhere else."""
    return Library(tmp_path / "library", only(catalogue, mirror[0]), jobs=1)


@pytest.fixture
def lonely(tmp_path, catalogue) -> Library:
    """A library that can fetch nothing: all must be given."""
    silent = {
        name: entry.model_copy(
            update={"archives": {k: one.model_copy(update={"sources": []}) for k, one in entry.archives.items()}}
        )
        for name, entry in catalogue.items()
    }
    return Library(tmp_path / "library", silent, jobs=1)


def members(name: str) -> tuple[str, ...]:
    return tuple(member for found in SALIENCY[name].values() for member in found)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def with_entry(library: Library, name: str, **changes: object) -> Library:
    changed = {**library.catalogue, name: library.entry(name).model_copy(update=changes)}
    return Library(library.root, changed, jobs=1)


class TestDownloads:
    def test_voc_and_sbd_become_one_training_set(self, library):
        assert fetch_sets(library, ["sbd"]) == ["voc12", "sbd"]
        assert library.status("sbd").intact
        assert library.status("voc12").intact
        together = library.root.parent / "data"
        for name in ("voc12", "sbd"):
            shutil.copytree(library.folder(name), together, dirs_exist_ok=True)
        data = VocData(together, DataParams(labels="xml"))
        assert data.ids("train_aug") == IDS.train_aug
        for image_id in [*data.ids("train_aug"), *data.ids("val")]:
            assert data.mask(image_id, data.image(image_id).size).any()
        assert not (together / VOC / "SegmentationObject").exists()

    @pytest.mark.parametrize(("name", "folder"), [("coco14", "COCO2014"), ("coco17", "COCO2017")])
    def test_coco_becomes_masks_lists_and_labels(self, library, name, folder):
        fetch_sets(library, [name])
        data = VocData(library.folder(name), DataParams(voc=folder, masks="SegmentationClass", classes="coco"))
        assert {path.name for path in library.folder(name).iterdir()} == {folder, "image_labels.json"}
        for split in ("train", "val"):
            for image_id in data.ids(split):
                assert np.any(data.labels([image_id])[image_id])
                data.mask(image_id, data.image(image_id).size)

    @pytest.mark.parametrize("name", SALIENCY)
    def test_saliency_sets_become_images_and_masks(self, library, name):
        fetch_sets(library, [name])
        pairs = SaliencySet(library.folder(name) / name.upper())
        assert len(pairs.ids()) == PAIRS
        for image_id in pairs.ids():
            assert pairs.mask(image_id, pairs.image(image_id).size).ndim == 2
        assert len(files(library.folder(name))) == 2 * PAIRS

    def test_what_it_was_made_of_is_recorded(self, library, mirror):
        fetch_sets(library, ["ecssd"])
        state = json.loads((library.root / "state" / "ecssd.json").read_text())
        assert state["archives"]["images.zip"][0]["source"] == f"{mirror[0]}/images.zip"
        assert state["archives"]["images.zip"][0]["files"] == PAIRS
        recorded = json.loads((library.root / "checksums.json").read_text())
        assert recorded["images.zip"]["sha256"] == state["archives"]["images.zip"][0]["sha256"]
        assert state["counts"] == {"ECSSD/Images": PAIRS, "ECSSD/Masks": PAIRS}
        assert state["files"] == len(manifest.read(library.root / "state" / "ecssd.files"))
        assert not list(library.root.glob("[a-z]*.part"))

    def test_a_set_that_is_here_is_not_fetched_again(self, library, asked):
        assert fetch_sets(library, ["ecssd"]) == ["ecssd"]
        asked.clear()
        assert fetch_sets(library, ["ecssd", "ecssd"]) == []
        assert not asked

    def test_archives_are_kept_or_not(self, library):
        fetch_sets(library, ["ecssd"])
        assert sorted(path.name for path in library.downloads.glob("*.zip")) == ["ground_truth_mask.zip", "images.zip"]
        fetch_sets(library, ["sod"], keep_archives=False)
        assert not (library.downloads / "SOD.zip").exists()
        assert library.status("sod").intact

    def test_without_room_nothing_is_downloaded(self, library, asked):
        large = with_entry(library, "sod", unpacked=10**15)
        with pytest.raises(UserError, match="needed"):
            fetch_sets(large, ["sod"])
        assert not asked

    def test_a_failed_download_says_how_to_go_on_by_hand(self, lonely):
        archive = lonely.entry("sod").archives["SOD.zip"].model_copy(update={"sources": ["ftp://127.0.0.1/SOD.zip"]})
        with pytest.raises(UserError) as caught:
            fetch_sets(with_entry(lonely, "sod", archives={"SOD.zip": archive}), ["sod"])
        assert "seedbed data fetch sod --from SOD.zip" in (caught.value.fix or "")
        assert "SEEDBED_MIRROR" in (caught.value.fix or "")

    def test_an_unknown_name_is_told_the_nearest(self, library):
        with pytest.raises(UserError, match="did you mean 'voc12'"):
            fetch_sets(library, ["voc"])

    def test_one_command_at_a_time(self, library):
        with fetching.alone(library.root), pytest.raises(UserError, match="another process"):
            fetch_sets(library, ["sod"])


class TestByHand:
    def test_an_archive_under_its_name(self, library, archives, tmp_path, asked):
        given = shutil.copy(archives / TAR, tmp_path)
        fetch_sets(library, ["voc12"], [Path(given)], keep_archives=False)
        assert library.status("voc12").intact
        assert Path(given).exists()  # it is the user's
        assert not asked
        assert json.loads((library.root / "checksums.json").read_text())[TAR]["source"] == "given by hand"

    def test_a_folder_of_archives(self, library, archives, asked):
        assert fetch_sets(library, ["sbd", "hku-is", "coco17"], [archives]) == ["voc12", "sbd", "hku-is", "coco17"]
        assert not asked

    def test_an_archive_under_another_name(self, lonely, tmp_path):
        fetch_sets(lonely, ["duts-tr"], [write_zip(tmp_path / "mine (1).zip", members("duts-tr"))])
        assert lonely.status("duts-tr").files == 2 * PAIRS

    @pytest.mark.parametrize("prefix", ["", "ECSSD/", "a/b/ECSSD/"])
    @pytest.mark.parametrize("names", [("images", "ground_truth_mask"), ("Images", "Masks"), ("Imgs", "GT")])
    def test_an_unpacked_folder_under_the_names_of_the_wild(self, lonely, tmp_path, prefix, names):
        layout = (f"{prefix}{names[0]}/{{}}.jpg", f"{prefix}{names[1]}/{{}}.png")
        fetch_sets(lonely, ["ecssd"], [write_folder(tmp_path / "given", layout)])
        assert SaliencySet(lonely.folder("ecssd") / "ECSSD").ids() == ["1", "2", "3"]

    def test_one_folder_with_several_sets(self, lonely, tmp_path):
        for name in ("duts-tr", "duts-te", "ecssd"):
            kinds = zip(("Images", "Masks"), members(name), strict=True)
            places = tuple(f"{name.upper()}/{kind}/{Path(member).name}" for kind, member in kinds)
            write_folder(tmp_path / "all", places)
        fetch_sets(lonely, ["duts-tr", "duts-te", "ecssd"], [tmp_path / "all"])
        assert all(lonely.status(name).files == 2 * PAIRS for name in ("duts-tr", "duts-te", "ecssd"))

    def test_folders_with_the_names_of_sets_hold_those(self, lonely, tmp_path):
        layouts = {"ECSSD": ("images/e{}.jpg", "masks/e{}.png"), "sod": ("images/s{}.jpg", "masks/s{}.png")}
        given = [write_folder(tmp_path / name, layout) for name, layout in layouts.items()]
        fetch_sets(lonely, ["sod", "ecssd"], given)
        assert SaliencySet(lonely.folder("sod") / "SOD").ids() == ["s1", "s2", "s3"]

    def test_two_folders_for_one_set(self, lonely, tmp_path):
        images, masks = members("ecssd")
        given = [write_folder(tmp_path / "a", (images,)), write_folder(tmp_path / "b", (masks,))]
        fetch_sets(lonely, ["ecssd"], given)
        assert lonely.status("ecssd").intact

    def test_what_is_not_given_is_downloaded(self, library, tmp_path, asked):
        fetch_sets(library, ["ecssd"], [write_folder(tmp_path / "given", members("ecssd")[:1])])
        assert library.status("ecssd").intact
        assert set(asked) == {"ground_truth_mask.zip"}

    def test_voc_from_its_folder(self, library, archives, tmp_path, asked):
        shutil.unpack_archive(archives / TAR, tmp_path / "unpacked")
        fetch_sets(library, ["voc12"], [tmp_path / "unpacked" / VOC])
        assert library.status("voc12").intact
        assert not asked

    def test_a_set_without_an_address_names_its_page_before_anything_is_downloaded(self, lonely, library, asked):
        mixed = Library(library.root, {**library.catalogue, "sod": lonely.entry("sod")}, jobs=1)
        with pytest.raises(UserError, match="sod has no address") as caught:
            fetch_sets(mixed, ["ecssd", "sod"])
        assert lonely.entry("sod").homepage in (caught.value.fix or "")
        assert not asked

    def test_what_is_of_no_use_is_named(self, library, archives, tmp_path):
        (tmp_path / "empty").mkdir()
        for given in (archives / "DUTS-TE.zip", tmp_path / "empty"):
            with pytest.raises(UserError, match="holds nothing of duts-tr"):
                fetch_sets(library, ["duts-tr"], [given])

    def test_a_path_that_is_not_there_is_named(self, library, tmp_path):
        with pytest.raises(UserError, match="does not exist"):
            fetch_sets(library, ["duts-tr"], [tmp_path / "DUTS-TR.zip"])

    def test_another_file_under_a_known_name_is_refused(self, library, tmp_path):
        fetch_sets(library, ["duts-tr"])
        shutil.rmtree(library.folder("duts-tr"))
        other = write_zip(tmp_path / "DUTS-TR.zip", members("duts-tr")[:1])
        with pytest.raises(UserError, match=r"is not the DUTS-TR\.zip that is expected"):
            fetch_sets(library, ["duts-tr"], [other])

    def test_a_published_checksum_must_fit(self, library, archives):
        archive = library.entry("sod").archives["SOD.zip"].model_copy(update={"checksum": f"md5:{'0' * 32}"})
        strict = with_entry(library, "sod", archives={"SOD.zip": archive})
        for given in ([archives / "SOD.zip"], []):
            with pytest.raises(UserError, match=r"0{32}"):
                fetch_sets(strict, ["sod"], given)
        assert not strict.folder("sod").exists()


class TestCounts:
    def test_an_incomplete_set_is_not_put_in_place(self, lonely, tmp_path):
        given = write_folder(tmp_path / "given", members("ecssd"))
        (given / "images" / "0002.jpg").unlink()
        with pytest.raises(UserError, match="ECSSD/Images holds 2, expected 3"):
            fetch_sets(lonely, ["ecssd"], [given])
        assert lonely.status("ecssd") == lonely.status("sod")  # nothing is here
        complete = write_folder(tmp_path / "given", members("ecssd"))
        fetch_sets(lonely, ["ecssd"], [complete])
        assert lonely.status("ecssd").intact

    def test_an_archive_in_an_unknown_layout_says_what_to_do(self, lonely, tmp_path):
        given = write_zip(tmp_path / "SOD.zip", ("pictures/{}.jpg",))
        with pytest.raises(UserError, match="holds no file of sod") as caught:
            fetch_sets(lonely, ["sod"], [given])
        assert "SEEDBED_CATALOGUE" in (caught.value.fix or "")

    def test_what_another_command_left_does_not_mix_in(self, lonely, tmp_path, monkeypatch):
        wrong = write_folder(tmp_path / "wrong", ("images/other{}.jpg", "ground_truth_mask/other{}.png"))
        monkeypatch.setattr(assembly.Assembly, "counts", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fetch_sets(lonely, ["ecssd"], [wrong])
        monkeypatch.undo()
        assert lonely.status("ecssd").finding == "begun"
        fetch_sets(lonely, ["ecssd"], [write_folder(tmp_path / "right", members("ecssd"))])
        assert SaliencySet(lonely.folder("ecssd") / "ECSSD").ids() == ["0001", "0002", "0003"]


class TestRepair:
    @pytest.mark.parametrize("name", ["ecssd", "sbd", "coco14"])
    def test_only_what_is_damaged_is_made_anew(self, library, name, asked):
        fetch_sets(library, [name])
        before, folder = files(library.folder(name)), library.folder(name)
        first, second, *_ = sorted(path for path in before if path.endswith(".png"))
        (folder / first).unlink()
        (folder / second).write_bytes(before[second][::-1])
        assert "1 missing" in str(library.status(name).finding)
        assert "1 changed" in str(library.status(name, verify=True).finding)
        asked.clear()
        assert fetch_sets(library, [name]) == [name]
        assert files(folder) == before
        assert library.status(name, verify=True).intact
        assert not asked  # the archives are still here

    def test_without_the_archives_they_are_fetched_again(self, library, asked):
        fetch_sets(library, ["ecssd"], keep_archives=False)
        before = files(library.folder("ecssd"))
        (library.folder("ecssd") / "ECSSD" / "Images" / "0001.jpg").unlink()
        fetch_sets(library, ["ecssd"])
        assert files(library.folder("ecssd")) == before
        assert asked["images.zip"] == 2

    def test_files_of_the_users_own_are_not_touched(self, library):
        fetch_sets(library, ["ecssd"])
        (library.folder("ecssd") / "ECSSD" / "Images" / "mine.jpg").touch()
        assert "1 never fetched" in str(library.status("ecssd").finding)
        with pytest.raises(UserError, match=r"as ECSSD/Images/mine\.jpg"):
            fetch_sets(library, ["ecssd"])

    def test_a_folder_that_no_fetch_made_is_not_touched(self, library):
        (library.folder("sod") / "SOD").mkdir(parents=True)
        with pytest.raises(UserError, match="was not made by") as caught:
            fetch_sets(library, ["sod"])
        assert "--from ELSEWHERE" in (caught.value.fix or "")
        assert library.status("sod").finding == "not made by seedbed data fetch"

    def test_another_entry_of_the_catalogue_makes_it_anew(self, library):
        fetch_sets(library, ["ecssd"])
        images = {"ECSSD/Images": PAIRS}
        changed = with_entry(library, "ecssd", expected=images)
        assert "another entry" in str(changed.status("ecssd").finding)
        assert fetch_sets(changed, ["ecssd"]) == ["ecssd"]
        assert changed.status("ecssd").intact
        assert not library.status("ecssd").intact


class TestKills:
    @pytest.mark.parametrize("names", [["sbd"], ["coco14"], ["ecssd"]])
    def test_a_fetch_killed_again_and_again_ends_as_an_undisturbed_one(self, library, mirror, names, tmp_path):
        undisturbed = Library(tmp_path / "undisturbed", library.catalogue, jobs=1)
        fetch_sets(undisturbed, names)
        kills = 0
        for step in range(1, 10_000):
            if not _killed_at(step, library, names):
                break
            kills += 1
        assert kills > 2
        for name in undisturbed.in_order(names):
            assert files(library.folder(name)) == files(undisturbed.folder(name))
            assert library.status(name, verify=True).intact
        assert not list(library.root.glob("[a-z]*.part"))

    def test_a_complete_download_is_not_repeated(self, library, asked, monkeypatch):
        def full(*_: object, **__: object) -> None:
            raise UserError("the disk is full")

        monkeypatch.setattr(assembly, "extract", full)
        with pytest.raises(UserError, match="full"):
            fetch_sets(library, ["duts-tr"])
        assert "1 of 1 archives downloaded" in str(library.status("duts-tr").finding)
        monkeypatch.undo()
        fetch_sets(library, ["duts-tr"])
        assert asked == {"DUTS-TR.zip": 1}


def _killed_at(step: int, library: Library, names: list[str]) -> bool:
    """Fetch in a process that dies at its `step`-th rename, every one of which ends a file; return whether it died."""
    process = multiprocessing.get_context("fork").Process(target=_dying, args=(step, library, names))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _dying(step: int, library: Library, names: list[str]) -> None:
    count = 0

    def counted(original):
        def rename(self: Path, target: Path) -> Path:
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, target)

        return rename

    Path.replace, Path.rename = counted(Path.replace), counted(Path.rename)  # type: ignore[method-assign]
    fetch_sets(library, names)


def test_masks_are_those_of_voc_where_it_has_one(library):
    fetch_sets(library, ["sbd"])
    own = library.folder("voc12") / VOC / "SegmentationClass" / f"{IDS.val[0]}.png"
    merged = library.folder("sbd") / VOC / "SegmentationClassAug" / f"{IDS.val[0]}.png"
    assert np.array_equal(np.asarray(Image.open(own)), np.asarray(Image.open(merged)))
