"""The card of an export: its provenance for people, as Markdown. What is not on record is said not to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seedbed.exchange.exports.material import Layout

Json = Mapping[str, Any]
Rows = Iterable[tuple[str, str]]

UNKNOWN = "not recorded"

_LABELS = {
    "json": "image_labels.json of the data set",
    "npy": "cls_labels.npy of the data set",
    "xml": "the object names in VOC's annotations",
    "masks": "the classes that occur in the true masks, whose shapes are not used",
}
_PROTOCOLS = {
    "published": "values as published for the rule; no mask was looked at to choose them",
    "given": "values given in params.yaml; whether masks were looked at to find them is not recorded",
    "study": "chosen on labelled images, measured on others",
    "oracle": "an oracle: chosen on the images that it is measured on, an upper bound and no result",
    "imported": "none here: the masks were made elsewhere, and how is not recorded",
}
_CRF = {"study": "study's choice", "params.yaml": "parameter file"}
_TOLD = ("seedbed", "python", "torch", "numpy", "pillow")
_TERMS = """Seedbed's licence covers its code, not these files. Pseudo-labels, class maps and saliency maps derive from
the photographs and labels of the data set: its terms apply to them as to the photographs, and those of the saliency
data and of the weights named above may. No licence is recorded here: look them up before passing this folder on."""


def render_card(facts: Json, layout: Layout) -> str:
    """Return the card of an export with these facts (provenance.json) in `layout`."""
    measured = facts["measured"]
    sections = {
        "Not in step": [f"- {finding}" for finding in facts["not_in_step"]],
        "Supervision": _table(_supervision(facts["supervision"])),
        "From class maps to masks": _table(_recipe(facts["recipe"], facts["supervision"]["masks"])),
        "Measured": [
            *_table(_measured(measured, facts["segmenter"])),
            "",
            *_details(measured, facts["data"]["classes"]),
        ],
        "Imports": _imports(facts["imports"]),
        "Data": _table(_data(facts, layout)),
        "Files": [layout.usage, "", *_table((f"`{folder}`", str(count)) for folder, count in facts["files"].items())],
        "Runs": _runs(facts["runs"]),
        "Terms of use": [_TERMS],
        "Not on record": [f"- `{file}`" for file in facts["missing"]] or ["Nothing that was looked for is missing."],
    }
    opening = (
        f"# Pseudo-labels of {facts['method']} on {facts['data']['name']}\n\n"
        f"Masks that a program made, to train a segmentation network on. Layout `{layout.name}`: {layout.summary}. "
        f"Ids: 0 background, 1 to C the classes in the order given below, {facts['ignore']} pixels to ignore. "
        "`provenance.json` says for programs what this card says.\n"
    )
    return opening + "".join(
        f"\n## {title}\n\n" + "\n".join(content).strip() + "\n" for title, content in sections.items() if content
    )


def _supervision(facts: Json) -> Rows:
    saliency, localiser = facts["saliency"], facts["localiser"]
    yield "image labels", _LABELS.get(facts["image_labels"], UNKNOWN) + _from(facts["labels_import"])
    yield "saliency maps", _saliency_users(saliency)
    if maps := saliency["maps"]:
        yield "saliency source", _saliency_source(maps)
        yield from ((f"saliency on {name}", _scores(scores)) for name, scores in maps["scores"].items())
    yield "localiser", _localiser(localiser)
    if localiser["trained"]:
        yield "trained weights", f"{_weights(localiser['trained'])}: taken instead of training"
    elif not localiser["imported"]:
        yield "initial weights", _begun(localiser)
    yield "masks that chose thresholds", _count(facts["masks"]["chose"])


def _saliency_users(facts: Json) -> str:
    """Say what used saliency maps: of what an import was made with, nothing is known."""
    if facts["all_users_known"]:
        return f"used by: {', '.join(facts['used_by']) or 'nothing'}"
    if not facts["used_by"]:
        return UNKNOWN
    return f"used by: {', '.join(facts['used_by'])}; whether the imported class maps were made with some is {UNKNOWN}"


def _from(report: Json | None) -> str:
    """Return where an import came from, to be put after its name."""
    return f" from {report['source']}" if report and report["source"] else ""


def _imports(reports: Mapping[str, Json]) -> list[str]:
    rows = ((what.replace("/", " "), _import(report)) for what, report in reports.items())
    return _table(rows) if reports else []


def _import(report: Json) -> str:
    found = (
        f"{_count(report['matched'])} of {_count(report['images'])} images matched, files refused: {report['refused']}"
    )
    notes = [f"{count} images: {note}" for note, count in (report["notes"] or {}).items()]
    return "; ".join([f"{report['source'] or UNKNOWN}, sha256 {report['sha256'] or UNKNOWN}", found, *notes])


def _saliency_source(facts: Json) -> str:
    if facts["source"] is None:
        return UNKNOWN
    if facts["trained_here"] is None:
        return f"{facts['source']}; its training is {UNKNOWN}"
    trained = facts["trained_on"]
    if trained is None:
        place = f" {facts['folder']}" if facts["folder"] else ""
        return (
            f"{facts['source']}{place}: ready-made maps{_from(facts['imported'])}; "
            "what they were trained on is not recorded"
        )
    return (
        f"{facts['source']} on {facts['backbone']}, trained here on {_count(trained['pairs'])} pairs of "
        f"{trained['set'] or 'a set that is ' + UNKNOWN}; initial weights: {_weights(facts['weights'])}"
    )


def _scores(scores: Json) -> str:
    return (
        ", ".join(
            f"{title} {scores[key]:.3f}"
            for title, key in (("MAE", "mae"), ("max F", "max_f"))
            if scores.get(key) is not None
        )
        + f" on {scores.get('images', UNKNOWN)} images"
    )


def _localiser(facts: Json) -> str:
    if facts["imported"]:
        brought = ", ".join(f"{kind} {name}" for kind, name in facts["imported"].items())
        source = "".join(map(_from, facts["imports"]))
        return f"none here: {brought} was imported{source}; what it was made from is not recorded"
    options = ", ".join(f"{name} {value}" for name, value in facts["options"].items() if value is not None)
    return f"{facts['method']}{f' ({options})' if options else ''} on {facts['backbone'] or UNKNOWN}"


def _begun(network: Json) -> str:
    """Return the initial weights of a network; without a record of it nothing is known of them."""
    return _weights(network["weights"]) if network["backbone"] else UNKNOWN


def _weights(facts: Json | None) -> str:
    if facts is None:
        return "none, random"
    known = [facts.get("as"), facts.get("origin")]
    return f"`{facts['file']}`" + "".join(f", {part}" for part in known if part)


def _recipe(facts: Json, masks: Json) -> Rows:
    yield "fusion rule", facts["rule"] or ("none" if masks["protocol"] == "imported" else UNKNOWN)
    if facts["values"]:
        yield "values", _values(facts["values"])
    yield "threshold protocol", _PROTOCOLS.get(masks["protocol"], UNKNOWN)
    if masks["statement"]:
        yield "as the study says", masks["statement"]
    if facts["crf"]:
        yield "dense CRF", f"{_values(facts['crf'])}; parameters of the {_CRF[facts['crf_chosen_by']]}"
    else:
        yield "dense CRF", "none" if masks["protocol"] else UNKNOWN


def _measured(facts: Json, segmenter: Json | None) -> Rows:
    yield "pseudo-labels", _miou(facts)
    if segmenter:
        yield "segmenter trained on them here", _miou(segmenter)
        crf = "with" if segmenter["crf"] else "without"
        network = f"{segmenter['head'] or UNKNOWN} on {segmenter['backbone'] or UNKNOWN}, {crf} dense CRF at test"
        yield "its network", f"{network}; initial weights: {_begun(segmenter)}"


def _miou(facts: Json) -> str:
    if facts["images"] is None:
        return UNKNOWN
    if facts["miou"] is None:
        return "not measured: there are no masks to measure with"
    low, high = ("?" if bound is None else f"{100 * bound:.1f}" for bound in facts["interval"] or (None, None))
    return (
        f"mIoU {100 * facts['miou']:.1f} % (95 % interval {low} to {high}, over images) on {facts['images']} images: "
        f"{facts['split']}; variant {facts['variant']}"
    )


def _details(facts: Json, classes: Sequence[str]) -> list[str]:
    """Return the other measures of the pseudo-labels and their IoU per class; nothing where nothing was measured."""
    scores = facts["per_class"] or {}
    found = {name: scores[name] for name in ("background", *classes) if scores.get(name) is not None}
    if not found:
        return []
    return [
        f"Of the pseudo-labels, on the {facts['images']} images above. {_meaning(facts)}",
        "",
        *_table((name, _percent(value)) for name, value in _beside(facts).items() if value is not None),
        "",
        f"IoU of the pseudo-labels per class, on the {facts['images']} images above:",
        "",
        *_table((name, _percent(iou)) for name, iou in found.items()),
    ]


def _meaning(facts: Json) -> str:
    """Return what the variant of mIoU means, as a sentence."""
    meaning = facts["meanings"].get(facts["variant"])
    return f"{facts['variant']}: {meaning}." if meaning else ""


def _beside(facts: Json) -> dict[str, float | None]:
    """Return the mIoU in the other variants with their meanings, precision, recall and coverage."""
    others = {name: miou for name, miou in (facts["variants"] or {}).items() if name != facts["variant"]}
    told = {f"mIoU {name}: {facts['meanings'].get(name, UNKNOWN)}": miou for name, miou in others.items()}
    means = {"mean precision": facts["precision"], "mean recall": facts["recall"]}
    return {**told, **means, "coverage, the part of the pixels that is labelled": facts["coverage"]}


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _data(facts: Json, layout: Layout) -> Rows:
    data, now = facts["data"], facts["exported_from"]
    yield "data set", data["name"]
    yield "hash of data/", data["hash"] or UNKNOWN
    if data["hash"] != now["data"]:
        yield "hash at the export", now["data"] or "none: data/ is not tracked"
    for name, split in data["lists"].items():
        yield f"{name} list", f"`{split['list']}`, {split['images']} images"
    yield "photographs", _photographs(facts["images"], layout)
    yield "classes", ", ".join(f"{number} {name}" for number, name in enumerate(data["classes"], 1))
    yield "exported from commit", _commit(now)
    versions = facts["versions"] or {}
    yield "made with", ", ".join(f"{name} {versions[name]}" for name in _TOLD if name in versions) or UNKNOWN


def _photographs(images: str, layout: Layout) -> str:
    if images != "none":
        return {"link": "linked", "copy": "copied"}[images]
    place = (
        f": the lists expect them in `{layout.photographs}`, so put or link them there" if layout.photographs else ""
    )
    return f"not in here{place}"


def _runs(runs: Sequence[Json]) -> list[str]:
    if not runs:
        return [UNKNOWN[0].upper() + UNKNOWN[1:] + "."]
    head = ["| run | started | seed | commit | data | MLflow |", "|---|---|---|---|---|---|"]
    return head + [
        _row(run["run"], run["started"], _count(run["seed"]), _commit(run), run["data"], run["mlflow"]) for run in runs
    ]


def _commit(facts: Json) -> str:
    if not facts.get("commit"):
        return UNKNOWN
    return f"{facts['commit'][:12]}{' with changes' if facts['dirty'] else ''}"


def _values(values: Json) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _count(number: int | None) -> str:
    return UNKNOWN if number is None else str(number)


def _table(rows: Rows) -> list[str]:
    return ["| | |", "|---|---|", *(_row(*row) for row in rows)]


def _row(*cells: str | None) -> str:
    """Return a row of a table; what would end a cell early is escaped."""
    return "| " + " | ".join((cell or UNKNOWN).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
