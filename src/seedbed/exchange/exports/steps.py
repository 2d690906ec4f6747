"""Whether masks, the maps beside them and the present parameters belong together, as far as records of runs say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed.params import Params
from seedbed.tracking.record import Record, flat_parameters

_ORDER = ("train-saliency", "train-localiser", "study", "pseudo")
"""Every stage that makes masks reads what those before it made."""
_OPEN = ("localiser.options.", "fusion.values.")
"""Parameters of any name: one that a record lacks was not given. Of others it may be one that came with an update."""


def not_in_step(records: Mapping[str, Record], params: Params, method: str, saliency_trains: bool) -> list[str]:
    """Return what does not belong together, a sentence each; what has no record is not judged.

    `saliency_trains`: whether the localiser reads saliency maps.
    """
    made = [stage for stage in _ORDER if stage in records]
    findings = []
    for stage in made:
        if changed := _changed(records[stage].parameters, _present(stage, params, method)):
            findings.append(f"{stage} ran with other parameters than params.yaml has now: {', '.join(changed)}")
    for position, stage in enumerate(made):
        later = [
            other
            for other in made[position + 1 :]
            if saliency_trains or (stage, other) != ("train-saliency", "train-localiser")
        ]
        if older := [other for other in later if records[other].ended < records[stage].ended]:
            findings.append(f"{', '.join(older)} ran before the present {stage}")
    masks = records.get("pseudo")
    others = [stage for stage in made if masks and masks.data and records[stage].data not in (None, masks.data)]
    if others:
        doubt = (
            "whether files that it read had changed is not recorded"  # an import of other files changes the hash too
        )
        findings += [f"{stage} ran on data/ of another hash than pseudo: {doubt}" for stage in others]
    return findings


def _present(stage: str, params: Params, method: str) -> dict[str, Any]:
    """Return the present parameters of `stage` under the names that its record has."""
    localiser, fusion = params.localiser[method], params.fusion[method]
    blocks: dict[str, dict[str, Any]] = {
        "train-saliency": {
            "saliency": params.saliency.model_dump(),
            "data": {"saliency_train": params.data.saliency_train},
        },
        "train-localiser": {"localiser": localiser.model_dump()},
        "study": {"study": params.study.model_dump(), "crf": params.crf.model_dump(), "rule": fusion.rule},
        "pseudo": {"fusion": fusion.model_dump()},
    }
    return flat_parameters({"seed": params.seed, **blocks[stage]})


def _changed(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Return the parameters that are not as recorded; one that is gone was changed too."""
    compared = {name for name in present if name in recorded or name.startswith(_OPEN)}
    compared |= {name for name in recorded if name.startswith(_OPEN)}
    return sorted(name for name in compared if recorded.get(name) != present.get(name))
