"""The command: what it asks for before it writes."""

from __future__ import annotations

import pytest

from seedbed.errors import UserError
from seedbed.seeds.store import MapWriter
from seedbed.stages.exports import export


def test_unknown_names_are_refused_with_the_nearest(project):
    out = project.root / "exported"
    with pytest.raises(UserError, match="did you mean 'caffe'"):
        project.export("cafe")
    with pytest.raises(UserError, match="did you mean 'seeds'"):
        project.export("caffe", "seed")
    with pytest.raises(UserError, match="did you mean 'eps'"):
        export(project.context, "epp", "caffe", out, set(), "none")
    assert not out.exists()


def test_missing_pseudo_labels_are_counted(project):
    image_id = project.context.voc.ids("train_aug")[2]
    (project.paths.pseudo_labels("eps") / f"{image_id}.png").unlink()
    with pytest.raises(UserError, match=rf"1 of 7 training images .*'{image_id}'\n.*dvc repro pseudo@eps"):
        project.export("caffe")


@pytest.mark.parametrize(("layout", "extras"), [("psa", ()), ("caffe", ("seeds",))])
def test_class_maps_that_are_wanted_must_be_there(project, layout, extras):
    with MapWriter(project.paths.seeds("eps"), "imported pseudo-labels"):
        pass
    with pytest.raises(UserError, match=r"7 of 7 training images have no class maps(.|\n)*imported pseudo-labels"):
        project.export(layout, *extras)
    assert project.export("caffe").is_dir()


def test_missing_saliency_maps_are_counted(project):
    image_id = project.context.voc.ids("train_aug")[0]
    (project.paths.saliency_maps() / f"{image_id}.png").unlink()
    with pytest.raises(UserError, match=r"1 of 7 training images have no saliency map(.|\n)*predict-saliency"):
        project.export("caffe", "saliency")
