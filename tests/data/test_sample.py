import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from seedbed.data.check import check_data
from seedbed.data.sample import SAMPLE_CLASSES, Counts, write_sample
from seedbed.errors import UserError


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
    report = check_data(pristine, params)
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
