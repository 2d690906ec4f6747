"""What is exported comes back whole by `seedbed import`."""

from __future__ import annotations

import numpy as np
import pytest

from seedbed.data.labels import json_labels
from seedbed.data.masks import read_mask
from seedbed.data.saliency_sets import load_map
from seedbed.exchange.imports.cam_files import import_seeds
from seedbed.exchange.imports.labels import import_labels
from seedbed.exchange.imports.place import Place
from seedbed.exchange.imports.pseudo_labels import import_pseudo
from seedbed.exchange.imports.reading import Reader
from seedbed.exchange.imports.saliency_maps import import_saliency
from seedbed.seeds.store import MapStore

MASKS = {
    "deeplab-pytorch": "VOCdevkit/VOC2012/SegmentationClassAug",
    "mmsegmentation": "VOCdevkit/VOC2012/SegmentationClassAug",
    "caffe": "pseudo",
    "psa": "pseudo",
}


@pytest.fixture
def ids(project) -> list[str]:
    return project.context.voc.ids("train_aug")


@pytest.fixture
def read(project, ids):
    """Return the reader of a folder as `seedbed import` opens it."""
    return lambda folder: Reader(project.context.voc, ids, folder, 1)


@pytest.mark.parametrize("layout", list(MASKS))
def test_pseudo_labels(project, read, ids, layout):
    out = project.export(layout)
    found = import_pseudo(read(out / MASKS[layout]), Place.of(project.paths, "pseudo", "back"))
    assert (found.matched, found.missed, found.refused) == (len(ids), [], [])
    for image_id in ids:
        np.testing.assert_array_equal(
            read_mask(found.written / f"{image_id}.png"),
            read_mask(project.paths.pseudo_labels("eps") / f"{image_id}.png"),
        )


def test_class_maps(project, read, ids):
    labels = project.context.voc.labels()
    found = import_seeds(read(project.export("psa") / "seeds"), Place.of(project.paths, "seeds", "back"), labels)
    assert (found.matched, found.missed, found.refused, found.notes) == (len(ids), [], [], {})
    back, first = MapStore(found.written), MapStore(project.paths.seeds("eps"))
    for image_id in ids:
        for ours, theirs in zip(back.stored(image_id), first.stored(image_id), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_saliency_maps(project, read, ids):
    out = project.export("caffe", "saliency")
    found = import_saliency(read(out / "saliency"), Place.of(project.paths, "saliency", "back"))
    assert (found.matched, found.missed, found.refused) == (len(ids), [], [])
    for image_id in ids:
        np.testing.assert_array_equal(
            load_map(found.written / f"{image_id}.png"), load_map(project.paths.saliency_maps() / f"{image_id}.png")
        )


def test_image_labels(project, ids):
    voc = project.context.voc
    before = voc.labels()
    found = import_labels(voc, ids, project.export("psa") / "cls_labels.npy")
    assert (found.matched, found.refused) == (len(ids), [])
    back = json_labels(found.written, voc.classes)
    for image_id in ids:
        np.testing.assert_array_equal(back[image_id], before[image_id])
