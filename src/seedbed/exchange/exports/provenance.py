"""Where pseudo-labels come from: facts of metrics, records, study files and parameters, none of them made up.

What is not on record is None, and is listed under `missing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from seedbed.exchange.exports.material import Material
from seedbed.exchange.exports.steps import not_in_step
from seedbed.files import read_json
from seedbed.params import Params
from seedbed.paths import Paths
from seedbed.seeds.fusion import RULES
from seedbed.tracking.environment import data_hash, git_state
from seedbed.tracking.record import Record, read_record

Json = dict[str, Any]

_STAGES = (
    ("train-saliency", False),
    ("train-localiser", True),
    ("study", True),
    ("pseudo", True),
    ("train-segmenter", True),
    ("evaluate-segmenter", True),
)
"""The stages whose runs a card names, and whether there is one per method."""

_AFTERWARDS = {"train-segmenter", "evaluate-segmenter"}
"""Stages that say more about pseudo-labels but make no part of them; nothing is missing without them."""


@dataclass(frozen=True)
class Known:
    """What no file says: `uses_saliency`, whether the localiser is trained with saliency maps, None of an import;
    `origins` of official weight files, by the name they are imported under; `variants` of mIoU and their meanings."""

    uses_saliency: bool | None
    origins: Mapping[str, str]
    variants: Mapping[str, str]


def gather(paths: Paths, params: Params, method: str, material: Material, known: Known) -> Json:
    """Return the facts about the pseudo-labels of `method`, which are in `material`, as provenance.json holds them.

    Raises UserError when a file that is there cannot be read.
    """
    found = _Found(paths, params, method, bool(known.uses_saliency), material.saliency is not None)
    origins = known.origins
    commit, dirty = git_state(paths.root)
    return {
        "method": method,
        "data": _data(found, material),
        "supervision": {
            "image_labels": found.metrics("check-data").get("label_source"),
            "labels_import": found.imported("labels"),
            "saliency": _saliency(found, known.uses_saliency is not None, origins),
            "localiser": _localiser(found, origins),
            "masks": _masks(found),
        },
        "recipe": _recipe(found),
        "measured": {**_measured(found.pseudo), "meanings": dict(known.variants)},
        "segmenter": _segmenter(found, origins),
        "imports": found.imports,
        "not_in_step": not_in_step(found.records, params, method, found.saliency_trains),
        "runs": [_run(record) for record in found.records.values()],
        "versions": _versions(found.records.get("pseudo")),
        "exported_from": {"commit": commit, "dirty": dirty, "data": data_hash(paths.root)},
        "missing": found.missing(),
    }


@dataclass
class _Found:
    """Reads what there is, and keeps in mind what there is not."""

    paths: Paths
    params: Params
    method: str
    saliency_trains: bool
    """Whether the localiser is trained with saliency maps."""
    saliency_goes_along: bool
    imports: dict[str, Json] = field(default_factory=dict)
    """Reports of the imports that were asked for, in brief, `<kind>/<name>` -> report."""
    _absent: set[Path] = field(default_factory=set)

    def json(self, path: Path, needed: bool = True) -> Json:
        """Return the mapping in `path`; empty where there is no such file, which counts as missing when `needed`."""
        if path.is_file():
            content: Json = read_json(path)
            return content
        if needed:
            self._absent.add(path)
        return {}

    def metrics(self, stage: str, method: str | None = None, needed: bool = True) -> Json:
        """Return the metrics of a stage."""
        return self.json(self.paths.metrics(stage, method), needed)

    @cached_property
    def pseudo(self) -> Json:
        """The metrics of the pseudo-labels."""
        return self.metrics("pseudo", self.method)

    @cached_property
    def study(self) -> Json:
        """The study that chose the values; nothing is missing where none chose."""
        return self.json(self.paths.study(self.method) / "study.json", needed=self.pseudo.get("choose") == "study")

    @cached_property
    def saliency_users(self) -> list[str]:
        """What is known to have used saliency maps."""
        rule = self.pseudo.get("rule")
        users = {"localiser": self.saliency_trains, "fusion rule": rule in RULES and RULES[rule].needs_saliency}
        return [user for user, uses in users.items() if uses]

    @property
    def has_saliency(self) -> bool:
        """Whether saliency maps of this project are part of what is exported, or of its making."""
        return bool(self.saliency_users) or self.saliency_goes_along

    def imported(self, what: str) -> Json | None:
        """Return the report of an import `<kind>/<name>` in brief; None where there is none."""
        report = self.json(self.paths.root / "reports" / "imports" / f"{what.replace('/', '-')}.json", needed=False)
        if not report:
            return None
        brief = {key: report.get(key) for key in ("source", "sha256", "images", "matched", "notes")}
        return self.imports.setdefault(what, {**brief, "refused": len(report.get("refused", ()))})

    @cached_property
    def records(self) -> dict[str, Record]:
        """The records of the runs, by stage."""
        found = {}
        for stage, per_method in _STAGES:
            if stage == "train-saliency" and not self.has_saliency:
                continue
            path = self.paths.record(stage, self.method if per_method else None)
            if path.is_file():
                found[stage] = read_record(path)
            elif stage not in _AFTERWARDS:
                self._absent.add(path)
        return found

    def recorded(self, stage: str, name: str) -> Any:
        """Return the parameter `name` that the run of `stage` had; None without a record or such a parameter."""
        return self.records[stage].parameters.get(name) if stage in self.records else None

    def missing(self) -> list[str]:
        """Return the files that were looked for in vain, relative to the root of the repository."""
        return sorted(path.relative_to(self.paths.root).as_posix() for path in self._absent)


def _data(found: _Found, material: Material) -> Json:
    params = found.params.data
    return {
        "name": found.pseudo.get("data", params.name),
        "hash": found.records["pseudo"].data if "pseudo" in found.records else None,
        "lists": {
            "train": {"list": params.train, "images": len(material.train)},
            "val": {"list": params.val, "images": len(material.val)},
        },
        "classes": list(material.voc.classes),
    }


def _saliency(found: _Found, localiser_known: bool, origins: Mapping[str, str]) -> Json:
    """Return what used saliency maps, as far as that is known, and the `maps` where they are those of this project."""
    return {
        "used_by": found.saliency_users,
        "all_users_known": localiser_known,
        "maps": _saliency_maps(found, origins) if found.has_saliency else None,
    }


def _saliency_maps(found: _Found, origins: Mapping[str, str]) -> Json:
    """Return where saliency maps come from and what their network was trained on, as the record of its run has it."""
    stage = "train-saliency"
    training = found.metrics(stage)
    trained = training["steps"] > 0 if "steps" in training else None
    folder = found.recorded(stage, "saliency.folder")
    on = {"set": found.recorded(stage, "data.saliency_train"), "pairs": training.get("images")}
    return {
        "source": found.recorded(stage, "saliency.source"),
        "folder": folder,
        "imported": found.imported(folder.removeprefix("imported/")) if folder else None,
        "trained_here": trained,
        "trained_on": on if trained else None,
        "backbone": found.recorded(stage, "saliency.backbone") if trained else None,
        "weights": _weights(found, found.recorded(stage, "saliency.weights"), origins) if trained else None,
        "scores": found.metrics("evaluate-saliency", needed=False).get("sets", {}),
    }


def _localiser(found: _Found, origins: Mapping[str, str]) -> Json:
    """Return the method, its network and the weights that it began with, or that were taken instead of training.

    `imported` is what an imported method takes, kind -> name; it has no network.
    """
    stage = "train-localiser"
    recorded = found.records[stage].parameters if stage in found.records else {}
    options = "localiser.options."
    imported = found.pseudo.get("imported")
    return {
        "method": recorded.get("localiser.method") or found.method,
        "imported": imported,
        "imports": [found.imported(f"{kind}/{name}") for kind, name in (imported or {}).items()],
        "options": {name.removeprefix(options): value for name, value in recorded.items() if name.startswith(options)},
        "backbone": None if imported else recorded.get("localiser.backbone"),
        "weights": _weights(found, recorded.get("localiser.weights"), origins),
        "trained": _weights(found, recorded.get("localiser.trained"), origins),
    }


def _weights(found: _Found, file: Any, origins: Mapping[str, str]) -> Json | None:
    """Return a weight file and, where it was imported as an official one, what is known of that; None without file."""
    if file is None:
        return None
    folder = found.paths.root / str(file)
    config = found.json(folder / "config.json", needed=False) if folder.is_dir() else {}
    known = {key: config.get(key) for key in ("as", "source", "source_sha256")}
    return {"file": str(file), **known, "origin": origins.get(str(known["as"]))}


def _masks(found: _Found) -> Json:
    """Return how many masks chose thresholds, as far as that is known, and in what way."""
    choose, protocol = found.pseudo.get("choose"), found.study.get("protocol", {})
    chose = {"published": 0, "study": protocol.get("images", {}).get("tune")}.get(str(choose))
    oracle = choose == "study" and bool(protocol.get("oracle"))
    return {
        "protocol": "oracle" if oracle else choose,
        "chose": chose,
        "statement": protocol.get("statement") if choose == "study" else None,
        "seed": protocol.get("seed") if choose == "study" else None,
    }


def _recipe(found: _Found) -> Json:
    crf, chosen = found.pseudo.get("crf"), (found.study.get("crf") or {}).get("points", {}).get("chosen", {})
    studied = crf is not None and found.pseudo.get("choose") == "study" and chosen.get("params") == crf
    return {
        "rule": found.pseudo.get("rule"),
        "values": found.pseudo.get("values"),
        "crf": crf,
        "crf_chosen_by": None if crf is None else "study" if studied else "params.yaml",
    }


_BESIDE = ("precision", "recall", "coverage")


def _measured(metrics: Json) -> Json:
    kept = ("miou", "interval", "images", "split", "variant", "variants", "per_class", *_BESIDE)
    return {key: metrics.get(key) for key in kept}


def _segmenter(found: _Found, origins: Mapping[str, str]) -> Json | None:
    """Return what the segmenter trained here on these pseudo-labels reached; None where there is none."""
    metrics = found.metrics("evaluate-segmenter", found.method, needed=False)
    if not metrics:
        return None
    stage = "train-segmenter"
    return {
        **{key: metrics.get(key) for key in ("miou", "interval", "images", "split", "variant", "crf")},
        "head": found.recorded(stage, "segmenter.head"),
        "backbone": found.recorded(stage, "segmenter.backbone"),
        "weights": _weights(found, found.recorded(stage, "segmenter.weights"), origins),
    }


def _run(record: Record) -> Json:
    return {
        "run": record.name,
        "started": record.started.isoformat(timespec="seconds"),
        "mlflow": record.mlflow.run_id,
        "seed": record.parameters.get("seed"),
        "data": record.data,
        **record.git,
    }


def _versions(record: Record | None) -> Json | None:
    """Return the versions that the pseudo-labels were made with."""
    if record is None:
        return None
    return {"python": record.environment.get("python"), **record.environment.get("packages", {})}
