"""The commands as a whole: what they write, say, and record."""

import hashlib
import logging
import pickle

import numpy as np
import pytest
from PIL import Image

from seedbed.data.masks import write_mask
from seedbed.data.saliency_sets import load_map
from seedbed.data.sample import SAMPLE_CLASSES
from seedbed.errors import UserError
from seedbed.exchange.sources import digest
from seedbed.files import read_json
from seedbed.params import Params
from seedbed.paths import Paths
from seedbed.seeds.store import MapStore
from seedbed.stages import imports, saliency
from seedbed.stages.context import Context


@pytest.fixture
def recorded(monkeypatch):
    """What the record of data/ was told."""
    told = []
    monkeypatch.setattr(imports, "record_data", lambda repo, what, written: told.append((repo, what, written)))
    return told


@pytest.fixture
def context(repo, recorded):
    params = Params.model_validate(
        {
            "methods": ["cam"],
            "jobs": 1,
            "data": {"name": "tiny", "classes": list(SAMPLE_CLASSES)},
            "localiser": {"cam": {}},
            "fusion": {"cam": {"rule": "threshold"}},
        }
    )
    return Context(params, Paths(repo))


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)
    return lambda: caplog.text


def test_saliency_maps_come_for_training_and_validation_images(context, repo, ids, given, recorded, said):
    val = context.voc.ids("val")
    for name in [*ids[1:], val[0], "other"]:
        size = context.voc.image(name).size if name != "other" else (8, 8)
        Image.new("L", size, 9).save(given / f"{name}_sal.png")
    found = imports.saliency(context, given, "pfan")
    assert found.matched == 4
    assert recorded == [(repo, "saliency pfan of given", repo / "data" / "imported" / "saliency" / "pfan")]
    assert read_json(repo / "reports" / "imports" / "saliency-pfan.json") == {
        "kind": "saliency",
        "name": "pfan",
        "source": "given",
        "sha256": digest(given),
        "images": 6,
        "matched": 4,
        "missed": [ids[0]],
        "val_without": [val[1]],
        "refused": [],
        "extra": 1,
        "notes": {},
        "written": "data/imported/saliency/pfan",
    }
    for text in ("4 of 6 images", f"missed: 1 training images: {ids[0]}", "which need none", "1 more belong"):
        assert text in said()
    assert f"1 of 4 training images lack one ({ids[0]}): no method runs with it" in said()
    assert "to use them" not in said()
    assert "git add" not in said()  # nothing is recorded here


def test_maps_of_training_images_are_enough(context, repo, ids, given, recorded, said):
    val = context.voc.ids("val")
    for level, name in enumerate([*ids, val[1]]):
        Image.new("L", context.voc.image(name).size, level).save(given / f"{name}.png")
    (repo / "data.dvc").touch()
    imports.saliency(context, given, "pfan")
    assert "missed" not in said()
    assert "folder: imported/saliency/pfan" in said()
    assert "next: git add data.dvc reports/imports" in said()
    source = context.params.saliency.model_copy(update={"source": "folder", "folder": "imported/saliency/pfan"})
    saliency.predict(Context(context.params.model_copy(update={"saliency": source}), context.paths))
    assert "no saliency maps of 1 validation images" in said()
    written = context.paths.saliency_maps()
    assert sorted(path.stem for path in written.iterdir()) == sorted([*ids, val[1]])
    assert load_map(written / f"{val[1]}.png").max() == 4
    (repo / "data" / "imported" / "saliency" / "pfan" / f"{ids[0]}.png").unlink()
    with pytest.raises(UserError, match=rf"1 of 5 images have no saliency map in .*{ids[0]}"):
        saliency.predict(Context(context.params.model_copy(update={"saliency": source}), context.paths))


def test_seeds_come_for_training_images(context, repo, ids, given, recorded):
    for name in ids:
        classes = np.flatnonzero(context.voc.labels(ids)[name])
        width, height = context.voc.image(name).size
        np.save(given / f"{name}.npy", {int(k): np.full((height, width), 0.5, np.float32) for k in classes})
    assert imports.seeds(context, given, "psa").matched == 4
    store = MapStore(repo / "data" / "imported" / "seeds" / "psa")
    assert store.stored(ids[0])[1].tolist() == np.flatnonzero(context.voc.labels(ids)[ids[0]]).tolist()
    assert recorded == [(repo, "seeds psa of given", repo / "data" / "imported" / "seeds" / "psa")]


def test_masks_and_cues_become_pseudo_labels(context, repo, ids, given, recorded, said):
    write_mask(given / f"{ids[0]}.png", np.full((96, 128), 21, np.uint8))
    (given / f"{ids[1]}.png").write_bytes(b"")
    imports.pseudo(context, given, "sgan", ignore=21)
    assert (np.array(Image.open(repo / "data" / "imported" / "pseudo" / "sgan" / f"{ids[0]}.png")) == 255).all()
    assert "refused: 1 file" in said()
    (given / "cues.pickle").write_bytes(pickle.dumps({"5_cues": np.zeros((3, 1), int)}))
    (given / "list.txt").write_text(f"{ids[0]} 5")
    imports.cues(context, given / "cues.pickle", given / "list.txt", "sec")
    assert [what for _, what, _ in recorded] == ["pseudo sgan of given", "pseudo sec of cues.pickle"]
    report = read_json(repo / "reports" / "imports" / "pseudo-sec.json")
    assert report["sha256"] == hashlib.sha256((given / "cues.pickle").read_bytes()).hexdigest()
    assert (report["list"], report["list_sha256"]) == ("list.txt", digest(given / "list.txt"))
    imports.show(context)
    assert "pseudo sec: 1 images" in said()
    assert "pseudo sgan: 1 images" in said()


def test_labels_are_taken(context, repo, ids, given, recorded, said):
    (given / "train_cls.txt").write_text("".join(f"{name} 0 \n" for name in ids))
    imports.labels(context, given / "train_cls.txt")
    assert context.voc.labels()[ids[0]].tolist() == [1, 0, 0, 0, 0]
    assert recorded == [(repo, "labels of train_cls.txt", context.voc.voc / "image_labels.json")]
    assert (
        read_json(repo / "reports" / "imports" / "labels.json")["written"] == "data/VOCdevkit/VOC2012/image_labels.json"
    )
    assert "data.labels is" not in said()


def test_labels_that_nothing_reads_are_told(context, given, ids, said):
    data = context.params.data.model_copy(update={"labels": "masks"})
    other = Context(context.params.model_copy(update={"data": data}), context.paths)
    (given / "train_cls.txt").write_text(f"{ids[0]} 0")
    imports.labels(other, given / "train_cls.txt", merge=True)
    assert "data.labels is masks: set it to json" in said()


def test_nothing_matched_writes_and_records_nothing(context, repo, given, recorded):
    (given / "other.png").write_bytes(b"")
    before = sorted(repo.rglob("*"))
    for run in (imports.saliency, imports.pseudo):
        with pytest.raises(UserError, match="nothing was written"):
            run(context, given, "x")
    assert not recorded
    assert [path for path in sorted(repo.rglob("*")) if ".seedbed" not in path.parts] == before


def test_nothing_imported_is_said(context, said):
    imports.show(context)
    assert "nothing has been imported" in said()
