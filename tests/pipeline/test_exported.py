"""What an export says of a project whose stages have all run: their own records are what it goes by."""

from __future__ import annotations

from pathlib import Path

from pipeline import tiny

from seedbed.files import read_json
from seedbed.stages.context import Context
from seedbed.stages.exports import export


def facts_of(root: Path) -> dict:
    export(Context.load(root / "params.yaml", root), "eps", "caffe", root / "exported", set(), "none")
    return read_json(root / "exported" / "provenance.json")


def test_what_the_stages_have_just_made_is_in_step_and_its_saliency_set_is_on_record(done: Path) -> None:
    facts = facts_of(done)
    assert facts["not_in_step"] == []
    assert facts["supervision"]["saliency"]["maps"]["trained_on"]["set"] == "DUTS-TR"
    assert facts["missing"] == []


def test_parameters_that_change_afterwards_are_named(done: Path) -> None:
    params = tiny.parameters()
    params["saliency"]["channels"] *= 2
    params["study"]["trials"] += 1
    params["fusion"]["eps"]["crf"] = not params["fusion"]["eps"].get("crf", False)
    tiny.write_parameters(done, params)
    assert [finding.split(" ")[0] + ": " + finding.split(": ")[1] for finding in facts_of(done)["not_in_step"]] == [
        "train-saliency: saliency.channels",
        "study: study.trials",
        "pseudo: fusion.crf",
    ]
