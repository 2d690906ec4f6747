"""What the card and provenance.json say: what metrics, records and studies say, and nothing that they do not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seedbed.errors import UserError
from seedbed.files import read_json, write_json

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CRF = {"iterations": 10, "bilateral_xy": 80.0}


def test_the_card_says_how_the_masks_were_made(project):
    cells = project.cells(project.export("caffe"))
    assert cells["image labels"] == "image_labels.json of the data set"
    assert cells["saliency maps"] == "used by: localiser"
    assert cells["saliency source"] == (
        "fpn on timm/test_byobnet, trained here on 4 pairs of DUTS-TR; initial weights: none, random"
    )
    assert cells["saliency on DUTS-TE"] == "MAE 0.012, max F 0.900 on 2 images"
    assert cells["localiser"] == "eps (tau 0.4) on timm/test_resnet"
    assert cells["initial weights"] == "none, random"
    assert cells["masks that chose thresholds"] == "2"
    assert cells["fusion rule"] == "threshold"
    assert cells["values"] == "threshold 0.4"
    assert cells["threshold protocol"] == "chosen on labelled images, measured on others"
    assert cells["as the study says"] == "Chosen on 2 of 7 images."
    assert cells["dense CRF"] == "none"


def test_the_card_says_what_was_measured_on_which_images(project):
    out = project.export("caffe")
    cells = project.cells(out)
    assert cells["pseudo-labels"] == (
        "mIoU 62.5 % (95 % interval 60.0 to 65.0, over images) on 5 images: train_aug without the 2 tuning images; "
        "variant error-skip"
    )
    assert cells["background"] == "50.0 %"
    card = project.card(out)
    assert "IoU of the pseudo-labels per class, on the 5 images above:" in card
    assert "error-skip: a pixel predicted as ignore is a miss; the mean is over classes in truth or prediction." in card
    others = {name.split(":")[0]: told for name, told in cells.items() if name.startswith("mIoU ")}
    assert others == {"mIoU error-zero": "50.0 %", "mIoU drop-skip": "75.0 %", "mIoU drop-zero": "70.0 %"}
    assert (cells["mean precision"], cells["mean recall"]) == ("70.0 %", "80.0 %")
    assert cells["coverage, the part of the pixels that is labelled"] == "100.0 %"
    assert "segmenter trained on them here" not in cells
    assert project.facts(out)["segmenter"] is None


def test_the_card_names_data_classes_counts_runs_and_seeds(project):
    out = project.export("caffe", images="copy")
    cells, card = project.cells(out), project.card(out)
    assert cells["hash of data/"] == "11112222333344445555666677778888.dir"
    assert "hash at the export" not in cells
    assert cells["train list"] == "`train_aug`, 7 images"
    assert cells["photographs"] == "copied"
    assert cells["classes"].startswith("1 bird, 2 boat")
    assert cells["`pseudo`"] == "7"
    assert cells["made with"] == "seedbed 0.1.0, python 3.11.9, torch 2.11.0"
    assert f"| pseudo-eps | 2026-05-04T03:02:01+00:00 | 0 | {COMMIT[:12]} |" in card
    assert "Nothing that was looked for is missing." in card
    assert "No licence is recorded here" in card


def test_a_segmenter_that_was_trained_on_them_is_named(project):
    reached = {"miou": 0.5, "interval": [0.4, 0.6], "images": 3, "split": "val", "variant": "error-skip", "crf": None}
    write_json(project.paths.metrics("evaluate-segmenter", "eps"), reached)
    project.record("train-segmenter", "eps", **{"segmenter.head": "aspp", "segmenter.backbone": "resnet101-caffe"})
    cells = project.cells(project.export("caffe"))
    assert cells["segmenter trained on them here"].startswith("mIoU 50.0 % (95 % interval 40.0 to 60.0, over images)")
    assert cells["its network"].startswith("aspp on resnet101-caffe, without dense CRF at test")


@pytest.mark.parametrize(
    ("changes", "protocol", "chose"),
    [
        ({"choose": "published"}, "values as published for the rule; no mask was looked at to choose them", "0"),
        (
            {"choose": "given"},
            "values given in params.yaml; whether masks were looked at to find them is not recorded",
            "not recorded",
        ),
        (
            {"choose": "imported", "rule": None, "values": {}},
            "none here: the masks were made elsewhere",
            "not recorded",
        ),
    ],
)
def test_other_protocols_are_told_apart(project, changes, protocol, chose):
    project.change(project.paths.metrics("pseudo", "eps"), **changes)
    cells = project.cells(project.export("caffe"))
    assert cells["threshold protocol"].startswith(protocol)
    assert cells["masks that chose thresholds"] == chose
    assert "as the study says" not in cells


def test_an_oracle_is_called_one(project):
    protocol = {"images": {"tune": 7, "report": 7, "all": 7}, "oracle": True, "seed": 3, "statement": "All choose."}
    project.change(project.paths.study("eps") / "study.json", protocol=protocol)
    out = project.export("caffe")
    assert project.cells(out)["threshold protocol"].startswith("an oracle")
    assert project.facts(out)["supervision"]["masks"] == {
        "protocol": "oracle",
        "chose": 7,
        "statement": "All choose.",
        "seed": 3,
    }


def test_what_was_imported_is_not_said_to_be_trained(project):
    project.change(
        project.paths.metrics("pseudo", "eps"), choose="imported", rule=None, values={}, imported={"pseudo": "puzzle"}
    )
    cells = project.cells(project.export("caffe"))
    assert cells["localiser"] == "none here: pseudo puzzle was imported; what it was made from is not recorded"
    assert cells["fusion rule"] == "none"
    assert "initial weights" not in cells
    assert "values" not in cells


@pytest.mark.parametrize(("chosen", "told"), [(CRF, "study's choice"), ({"iterations": 5}, "parameter file")])
def test_a_crf_is_told_with_where_its_parameters_come_from(project, chosen, told):
    project.change(project.paths.metrics("pseudo", "eps"), crf=CRF)
    project.change(project.paths.study("eps") / "study.json", crf={"points": {"chosen": {"params": chosen}}})
    told_of = project.cells(project.export("caffe"))["dense CRF"]
    assert told_of == f"bilateral_xy 80, iterations 10; parameters of the {told}"


def test_ready_made_saliency_maps_have_no_known_training(project):
    write_json(project.paths.metrics("train-saliency"), {"steps": 0})
    project.record("train-saliency", None, **{"saliency.source": "folder", "saliency.folder": "imported/saliency/pfan"})
    out = project.export("caffe")
    assert project.cells(out)["saliency source"] == (
        "folder imported/saliency/pfan: ready-made maps; what they were trained on is not recorded"
    )
    assert project.facts(out)["supervision"]["saliency"]["maps"]["trained_on"] is None


def test_imports_are_named_by_the_file_that_they_came_from(project):
    reports = project.root / "reports/imports"
    report = {"sha256": "ab12", "images": 10, "matched": 9, "refused": [{"file": "x.png"}], "notes": {"resized": 4}}
    write_json(reports / "saliency-pfan.json", {"source": "SALImages.zip", **report})
    write_json(reports / "labels.json", {"source": "cls_labels.npy"})
    write_json(reports / "pseudo-puzzle.json", {"source": "PuzzleCAM"})
    project.record("train-saliency", None, **{"saliency.source": "folder", "saliency.folder": "imported/saliency/pfan"})
    write_json(project.paths.metrics("train-saliency"), {"steps": 0})
    project.change(project.paths.metrics("pseudo", "eps"), choose="imported", imported={"pseudo": "puzzle"})
    cells = project.cells(project.export("caffe"))
    told = "SALImages.zip, sha256 ab12; 9 of 10 images matched, files refused: 1; 4 images: resized"
    assert cells["saliency pfan"] == told
    assert cells["pseudo puzzle"].startswith("PuzzleCAM, sha256 not recorded; not recorded of")
    assert cells["image labels"] == "image_labels.json of the data set from cls_labels.npy"
    assert "ready-made maps from SALImages.zip" in cells["saliency source"]
    assert "pseudo puzzle was imported from PuzzleCAM" in cells["localiser"]


def test_saliency_of_unknown_training_is_not_called_ready_made(project):
    project.paths.metrics("train-saliency").unlink()
    assert project.cells(project.export("caffe"))["saliency source"] == "fpn; its training is not recorded"


def test_weights_of_a_segmenter_without_a_record_are_not_called_random(project):
    reached = {"miou": 0.5, "interval": [0.4, 0.6], "images": 3, "split": "val", "variant": "error-skip", "crf": CRF}
    write_json(project.paths.metrics("evaluate-segmenter", "eps"), reached)
    told = project.cells(project.export("caffe"))["its network"]
    assert told == "not recorded on not recorded, with dense CRF at test; initial weights: not recorded"


def test_a_rule_that_looks_at_saliency_is_named_as_its_user(project):
    project.change(project.paths.metrics("pseudo", "eps"), rule="saliency-gate")
    assert project.cells(project.export("caffe"))["saliency maps"] == "used by: localiser, fusion rule"


def test_weights_are_named_with_what_is_known_of_the_file(project):
    folder = project.root / "models/pretrained/resnet38d"
    write_json(folder / "config.json", {"as": "resnet38d", "source": "ilsvrc.params", "source_sha256": "ab12"})
    weights = {"localiser.backbone": "resnet38d", "localiser.weights": "models/pretrained/resnet38d"}
    project.record("train-localiser", "eps", **weights)
    out = project.export("caffe")
    told = project.cells(out)["initial weights"]
    assert told.startswith("`models/pretrained/resnet38d`, resnet38d, ImageNet start of EPS")
    assert project.facts(out)["supervision"]["localiser"]["weights"]["source_sha256"] == "ab12"


def test_trained_weights_that_were_taken_are_named_instead_of_initial_ones(project):
    taken = {"localiser.backbone": "resnet38d", "localiser.trained": "mine.safetensors"}
    project.record("train-localiser", "eps", **taken)
    cells = project.cells(project.export("caffe"))
    assert cells["trained weights"] == "`mine.safetensors`: taken instead of training"
    assert "initial weights" not in cells


def test_what_is_missing_is_said_to_be(project):
    shutil.rmtree(project.paths.records)
    for stage in ("pseudo-eps", "check-data", "train-saliency"):
        project.paths.metrics(stage).unlink()
    out = project.export("caffe")
    cells, card = project.cells(out), project.card(out)
    unknown = {"image labels", "saliency source", "masks that chose thresholds", "fusion rule", "threshold protocol"}
    unknown |= {"dense CRF", "pseudo-labels", "hash of data/", "made with", "initial weights"}
    unknown |= {"exported from commit"}  # no git repository
    assert {name for name, told in cells.items() if told == "not recorded"} == unknown
    for name in ("runs/pseudo-eps", "runs/train-localiser-eps", "metrics/pseudo-eps", "metrics/check-data"):
        assert f"- `reports/{name}.json`" in card
    assert project.facts(out)["recipe"]["rule"] is None


def test_pseudo_labels_without_masks_to_measure_with(project):
    project.change(project.paths.metrics("pseudo", "eps"), miou=None, interval=None, images=0)
    told = project.cells(project.export("caffe"))["pseudo-labels"]
    assert told == "not measured: there are no masks to measure with"


def test_data_that_changed_since_are_told(project):
    (project.root / "data.dvc").write_text("outs: [{md5: ffff.dir, path: data}]")
    assert project.cells(project.export("caffe"))["hash at the export"] == "ffff.dir"


def test_names_cannot_break_a_table(project):
    project.change(project.paths.metrics("pseudo", "eps"), split="a | b")
    assert "a \\| b" in project.card(project.export("caffe"))


def test_pseudo_labels_of_other_classes_are_refused(project):
    project.change(project.paths.metrics("pseudo", "eps"), per_class={"background": 0.5, "zebra": 0.5})
    with pytest.raises(UserError, match="made for other classes"):
        project.export("caffe")


@pytest.fixture
def imported(project):
    """Return what makes an import of the maps of eps, called `theirs`, and exports it."""
    paths = project.paths
    for place in (paths.pseudo_labels, paths.seeds, paths.study):
        shutil.copytree(place("eps"), place("theirs"))
    for stage in ("train-localiser", "study", "pseudo"):
        project.record(stage, "theirs")

    def export(*extras: str, rule: str | None, **options: str) -> Path:
        localiser = {"theirs": {"method": "imported", "options": options}}
        project.parameters(methods=["theirs"], localiser=localiser, fusion={"theirs": {"rule": rule or "none"}})
        origin = {"imported": options, "rule": rule, "choose": "study" if rule else "imported"}
        write_json(paths.metrics("pseudo", "theirs"), {**read_json(paths.metrics("pseudo", "eps")), **origin})
        return project.export("caffe", *extras, method="theirs")

    return export


@pytest.mark.parametrize("origin", [{"pseudo": "puzzle", "rule": None}, {"seeds": "puzzle", "rule": "threshold"}])
def test_of_the_saliency_maps_behind_an_import_nothing_is_claimed(project, imported, origin):
    out = imported(**origin)
    cells = project.cells(out)
    assert cells["saliency maps"] == "not recorded"
    assert not {"saliency source", "saliency on DUTS-TE"} & cells.keys()
    assert "train-saliency" not in project.card(out)


def test_saliency_maps_that_go_along_or_that_the_rule_used_are_told_of_an_import(project, imported):
    assert "saliency source" in project.cells(imported("saliency", seeds="puzzle", rule="threshold"))
    cells = project.cells(imported(seeds="puzzle", rule="saliency-gate"))
    assert "saliency source" in cells
    assert cells["saliency maps"] == (
        "used by: fusion rule; whether the imported class maps were made with some is not recorded"
    )


def test_what_belongs_together_is_not_said_to_be_out_of_step(project):
    assert "Not in step" not in project.card(project.export("caffe"))


def test_the_saliency_set_is_that_of_the_training_and_parameters_that_changed_since_are_named(project):
    data = {"name": "tiny", "classes": list(project.context.voc.classes), "saliency_train": "MSRA-B"}
    localiser = {"eps": {"backbone": "timm/test_resnet", "options": {"tau": 0.4, "lam": 0.9}}}
    project.parameters(seed=0, data=data, localiser=localiser)
    out = project.export("caffe")
    assert "pairs of DUTS-TR" in project.cells(out)["saliency source"]
    assert project.facts(out)["not_in_step"] == [
        "train-saliency ran with other parameters than params.yaml has now: data.saliency_train",
        "train-localiser ran with other parameters than params.yaml has now: localiser.options.lam",
    ]
    assert "## Not in step" in project.card(out)


def test_masks_that_are_older_than_the_maps_beside_them_are_named(project):
    project.record("train-localiser", "eps", day=5, **{"localiser.options.tau": 0.4})
    project.record("train-saliency", None, day=6, data="ffff.dir")
    doubt = "whether files that it read had changed is not recorded"
    assert project.facts(project.export("caffe"))["not_in_step"] == [
        "train-localiser, study, pseudo ran before the present train-saliency",
        "study, pseudo ran before the present train-localiser",
        f"train-saliency ran on data/ of another hash than pseudo: {doubt}",
    ]


def test_the_card_says_where_photographs_are_expected(project, caplog):
    caplog.set_level("INFO")
    told = project.cells(project.export("mmsegmentation"))["photographs"]
    place = "VOCdevkit/VOC2012/JPEGImages"
    assert told == f"not in here: the lists expect them in `{place}`, so put or link them there"
    assert f"put or link them into {project.root / 'exported' / place}" in caplog.text
    assert project.cells(project.export("huggingface", out="tables"))["photographs"] == "not in here"
