"""Bringing data sets into the library: downloads, counts, kills."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from acquire.made_voc import IDS
from acquire.miniature import PAIRS, SALIENCY, files, members, with_entry, write_folder, write_zip
from PIL import Image

from seedbed.acquire import assembly, fetching, manifest
from seedbed.acquire.fetching import fetch_sets
from seedbed.acquire.library import Library
from seedbed.data.classes import COCO_CLASSES
from seedbed.data.labels import json_labels
from seedbed.data.saliency_sets import SaliencySet
from seedbed.data.voc import VocData
from seedbed.errors import UserError
from seedbed.params import DataParams

VOC = Path("VOCdevkit/VOC2012")
TAR = "VOCtrainval_11-May-2012.tar"


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
        assert [path.name for path in library.folder(name).iterdir()] == [folder]  # so that sets can lie side by side
        labels = json_labels(library.folder(name) / folder / "image_labels.json", COCO_CLASSES)
        for split in ("train", "val"):
            for image_id in data.ids(split):
                assert np.any(labels[image_id])
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
        assert recorded["ecssd/images.zip"]["sha256"] == state["archives"]["images.zip"][0]["sha256"]
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
        assert sorted(path.name for path in library.downloads("ecssd").glob("*.zip")) == [
            "ground_truth_mask.zip",
            "images.zip",
        ]
        fetch_sets(library, ["sod"], keep_archives=False)
        assert not (library.downloads("sod") / "SOD.zip").exists()
        assert library.status("sod").intact

    def test_without_room_nothing_is_downloaded(self, library, asked):
        large = with_entry(library, "sod", unpacked=10**15)
        with pytest.raises(UserError, match="not enough space"):
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
        with fetching.alone(library.root, "busy"), pytest.raises(UserError, match="another process"):
            fetch_sets(library, ["sod"])


class TestCounts:
    def test_an_incomplete_set_is_not_put_in_place(self, lonely, tmp_path):
        given = write_folder(tmp_path / "given", members("ecssd"))
        (given / "images" / "0002.jpg").unlink()
        with pytest.raises(UserError, match="ECSSD/Images holds 2, expected 3; ECSSD/Images lacks 0002 of ECSSD/Masks"):
            fetch_sets(lonely, ["ecssd"], [given])
        assert lonely.status("ecssd").finding == "begun"
        complete = write_folder(tmp_path / "given", members("ecssd"))
        fetch_sets(lonely, ["ecssd"], [complete])
        assert lonely.status("ecssd").intact

    def test_what_was_put_together_is_kept_for_other_expected_counts(self, library, asked, monkeypatch):
        wrong = with_entry(
            library, "voc12", expected={f"{VOC}/ImageSets/Segmentation/{s}.txt": 9 for s in ("train", "val")}
        )
        with pytest.raises(UserError, match="expected 9"):
            fetch_sets(wrong, ["voc12"])
        written = []
        monkeypatch.setattr("seedbed.acquire.archive._write", lambda path, _: written.append(path))
        fetch_sets(library, ["voc12"])
        assert not written
        assert library.status("voc12").intact
        assert asked[TAR] == 1

    def test_an_assembly_does_not_mix_versions_of_an_archive(self, lonely, tmp_path, monkeypatch):
        monkeypatch.setattr(assembly.Assembly, "counts", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        path = tmp_path / "SOD.zip"
        with pytest.raises(KeyboardInterrupt):
            fetch_sets(lonely, ["sod"], [write_zip(path, ("SOD/Imgs/old{}.jpg", "SOD/GT/old{}.png"))])
        monkeypatch.undo()
        (lonely.root / "checksums.json").unlink()
        fetch_sets(lonely, ["sod"], [write_zip(path, members("sod"))])
        assert SaliencySet(lonely.folder("sod") / "SOD").ids() == ["1", "2", "3"]

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
        assert "1 of 1 archive downloaded" in str(library.status("duts-tr").finding)
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
