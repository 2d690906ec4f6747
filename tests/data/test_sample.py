import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from seedbed.data import sample
from seedbed.data.sample import SAMPLE_CLASSES, Counts, is_intact, is_sample, write_sample
from seedbed.errors import UserError
from seedbed.intake.check import check_data


def content(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_same_bytes_at_every_call_and_in_every_size(pristine, tmp_path):
    write_sample(tmp_path / "again", Counts(10, 5, 6, 4))
    assert content(tmp_path / "again") == content(pristine)
    write_sample(tmp_path / "smaller", Counts(3, 2, 2, 1))
    whole = content(pristine)
    images = {name: data for name, data in content(tmp_path / "smaller").items() if name.endswith((".jpg", ".png"))}
    assert len(images) == 2 * (3 + 2 + 2 + 1)
    assert all(whole[name] == data for name, data in images.items())


def test_passes_its_own_check(pristine, params):
    report = check_data(pristine, params).report
    assert report["usable"]
    assert report["errors"] == 0
    assert report["splits"]["train_aug"]["images"] == 10
    assert report["saliency"]["DUTS-TE"]["pairs"] == 4


def test_full_size_is_as_large_as_promised():
    counts = Counts()
    assert (counts.train, counts.val, counts.saliency_train, counts.saliency_test) == (280, 100, 176, 48)
    assert len(SAMPLE_CLASSES) == 5


def test_labels_are_those_of_the_masks(pristine, data):
    given = json.loads((pristine / "image_labels.json").read_text())
    for image_id, names in given.items():
        shown = set(np.unique(data.mask(image_id))) - {0, 255}
        assert names == [SAMPLE_CLASSES[class_id - 1] for class_id in sorted(shown)]


def test_an_older_sample_is_replaced_and_other_data_are_kept(tmp_path):
    root = tmp_path / "data"
    for count in (2, 1):
        write_sample(root, Counts(count, 1, 1, 1))
    assert len(list((root / "VOCdevkit/VOC2012/JPEGImages").iterdir())) == 2
    assert "synthetic" in (root / "README.txt").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    (root / "README.txt").write_text("my photographs")
    before = content(root)
    with pytest.raises(UserError, match="holds other data"):
        write_sample(root, Counts(1, 1, 1, 1))
    assert content(root) == before


def remove(path):
    path.unlink()


def shorten(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [remove, shorten])
@pytest.mark.parametrize(
    "file", ["VOCdevkit/VOC2012/JPEGImages/train_0000.jpg", "image_labels.json", "DUTS-TE/Masks/pair_2_0000.png"]
)
def test_a_damaged_sample_is_mended(pristine, root, file, damage):
    assert is_intact(root)
    damage(root / file)
    assert is_sample(root)
    assert not is_intact(root)
    write_sample(root, Counts(10, 5, 6, 4))
    assert is_intact(root)
    assert content(root) == content(pristine)


@pytest.mark.parametrize("manifest", [None, "{", "[]", "{}", '{"version": 1, "files": {}}'])
def test_a_sample_without_a_true_manifest_is_replaced(pristine, root, manifest):
    remove(root / "MANIFEST.json")
    if manifest is not None:
        (root / "MANIFEST.json").write_text(manifest)
    assert not is_intact(root)
    write_sample(root, Counts(10, 5, 6, 4))
    assert content(root) == content(pristine)


def test_a_sample_of_another_version_is_not_intact(root, monkeypatch):
    monkeypatch.setattr(sample, "VERSION", sample.VERSION + 1)
    assert not is_intact(root)


def test_nothing_and_other_data_are_no_intact_sample(root, tmp_path):
    assert not is_intact(tmp_path / "nothing")
    (root / "README.txt").write_text("my photographs")
    assert not is_intact(root)


def test_the_manifest_lists_every_other_file(pristine):
    manifest = json.loads((pristine / "MANIFEST.json").read_text())
    files = {name: hashlib.md5(data).hexdigest() for name, data in content(pristine).items() if name != "MANIFEST.json"}
    assert manifest == {"version": sample.VERSION, "files": files}


def test_files_added_to_a_sample_are_kept(root):
    added = root / "VOCdevkit" / "VOC2012" / "JPEGImages" / "mine.jpg"
    added.write_bytes(b"my photograph")
    before = content(root)
    assert not is_intact(root)
    with pytest.raises(UserError, match=r"1 files that are not the sample's, first .*mine\.jpg"):
        write_sample(root, Counts(10, 5, 6, 4))
    assert content(root) == before


def test_the_full_sample_is_the_one_that_data_dvc_records(tmp_path: Path) -> None:
    write_sample(tmp_path / "data")
    files = sorted(path for path in (tmp_path / "data").rglob("*") if path.is_file())
    listing = [
        {"md5": hashlib.md5(path.read_bytes()).hexdigest(), "relpath": path.relative_to(tmp_path / "data").as_posix()}
        for path in files
    ]
    listing.sort(key=lambda entry: tuple(entry["relpath"].split("/")))
    recorded = yaml.safe_load((Path(__file__).parents[2] / "data.dvc").read_text())["outs"][0]
    assert len(files) == recorded["nfiles"]
    assert hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir" == recorded["md5"]
