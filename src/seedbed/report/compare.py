"""Compare methods: paired differences on the same images, under each method's own rule and under the same rule.

`reports/compare.json` is the machine-readable form (all scores are fractions)::

    {"data": str, "seed": int, "baseline": "cam" | null,
     "methods": {<method>: {
        "method": str,                                       # of the registry, where the name is not that of one
        "pseudo": MEASURED, "val": MEASURED,
        "against_cam": {"pseudo": DIFFERENCE | null, "val": DIFFERENCE | null}}},   # not for cam itself
     "same_rule": {<rule>: {<method>: {<point>: {
        "values": {...}, "miou": float, "interval": [low, high], "images": int, "against_cam": DIFFERENCE}}}},
     "studies": {<method>: {...}},        # see seedbed.report.findings
     "saliency": {<test set>: {"images": int, "mae": float, ...}}}

MEASURED is what the stage wrote: `miou`, `interval`, `split`, `images`, `variant`, `variants`, `per_class`,
`precision`, `recall`, `coverage`, `rule`, `values`, `choose`, `crf` and more. The pseudo-labels of an imported method
have `imported`, {"seeds": name} or {"pseudo": name}; with the latter `rule` is null and `choose` "imported". Without
masks of the images its scores, and the differences, are null.
DIFFERENCE is {"difference": float, "interval": [low, high]}: the method's mIoU minus that of plain CAM, with its 95 %
paired bootstrap interval. <point> is a setting of seedbed.study.protocol.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seedbed.evaluate.bootstrap import paired
from seedbed.evaluate.confusion import PerImage
from seedbed.files import write_text
from seedbed.params import Params
from seedbed.report.findings import study_findings
from seedbed.report.results import BASELINE, PARTS, Json, Measured, Results, surface


def compare(results: Results, params: Params) -> Json:
    """Return the content of compare.json (see the module)."""
    baseline = BASELINE if BASELINE in results.methods else None
    methods: dict[str, Json] = {}
    for method in results.methods:
        methods[method] = {part: results.measured[part][method].metrics for part in PARTS}
        if params.localiser[method].method not in (None, method):
            methods[method]["method"] = params.localiser[method].method
        if baseline and method != baseline:
            methods[method]["against_cam"] = {
                part: _against(results.measured[part][method], results.measured[part][baseline], params)
                for part in PARTS
            }
    return {
        "data": params.data.name,
        "seed": params.seed,
        "baseline": baseline,
        "methods": methods,
        "same_rule": _same_rule(results, params, baseline),
        "studies": study_findings(results),
        "saliency": results.saliency["sets"],
    }


def _same_rule(results: Results, params: Params, baseline: str | None) -> Json:
    """Return rule -> method -> point -> score on the report split, and its difference to the baseline there.

    A method whose pseudo-labels were imported takes no rule and is in none of the rows.
    """
    table: Json = {rule: {} for rule in params.study.rules}
    for rule, method in itertools.product(params.study.rules, results.ruled):
        study, reference = results.studies[method], results.points.get(baseline or "", {}).get(rule, {})
        entry = table[rule].setdefault(method, {})
        for point, confusions in results.points[method].get(rule, {}).items():
            found = study["rules"][rule]["points"][point]
            entry[point] = {
                "values": found["values"],
                "miou": found["miou"]["report"],
                "interval": found["interval"],
                "images": study["protocol"]["images"]["report"],
            }
            if method != baseline and point in reference:
                entry[point]["against_cam"] = _difference(confusions, reference[point], params)
    return table


def _against(method: Measured, baseline: Measured, params: Params) -> Json | None:
    if not (method.scored and baseline.scored):
        return None
    return _difference(method.confusions, baseline.confusions, params)


def _difference(first: PerImage, second: PerImage, params: Params) -> Json:
    difference, low, high = paired(first, second, samples=params.evaluate.bootstrap, seed=params.seed)
    return {"difference": difference, "interval": [low, high]}


def write_plots(folder: Path, results: Results) -> None:
    """Write the tables behind `dvc plots`.

    `<rule>/<method>.csv` (threshold, miou) of rules with one threshold; `per-class/<method>-<part>.csv` (class, iou) of
    what could be scored.
    """
    for method in results.methods:
        for rule in results.studies[method]["rules"]:
            swept = surface(results.studies[method], rule)
            if swept is not None and swept.values.ndim == 1:
                rows = zip(swept.axes[0], swept.values.tolist(), strict=True)
                _write_csv(folder / rule / f"{method}.csv", ("threshold", "miou"), rows)
        for part in PARTS:
            per_class = results.measured[part][method].metrics["per_class"]
            classes = [(name, iou) for name, iou in per_class.items() if iou is not None]
            if classes:
                _write_csv(folder / "per-class" / f"{method}-{part}.csv", ("class", "iou"), classes)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, stream.getvalue())
