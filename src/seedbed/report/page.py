"""The comparison page: one self-contained HTML file, readable without scripts and without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from seedbed.evaluate.scores import PRIMARY, VARIANTS
from seedbed.files import write_json, write_text
from seedbed.params import Params
from seedbed.paths import Paths
from seedbed.report import figures
from seedbed.report.compare import compare, write_plots
from seedbed.report.gallery import ERRORS, build_gallery
from seedbed.report.results import BASELINE, PARTS, Json, Results, Sources, read_results, surface
from seedbed.report.svg import SHAPES

MLFLOW_UI = "http://127.0.0.1:5000"
"""Where `make ui` serves the runs."""

MARKED = ("published", "chosen", "oracle")
"""The settings that are marked in the threshold figures."""

MEASURES = {
    "mae": "MAE",
    "max_f": "max F",
    "mean_f": "mean F",
    "adaptive_f": "adaptive F",
    "s_measure": "S-measure",
    "max_e": "max E",
    "mean_e": "mean E",
    "adaptive_e": "adaptive E",
}
"""How the saliency measures of seedbed.evaluate.saliency are printed, in the order of the table."""

_HUES = 6  # colours of methods in templates/style.css, after the baseline's


def write_comparison(paths: Paths, params: Params, sources: Sources) -> Json:
    """Write compare.json, the page and the tables of the plots; return what compare.json holds.

    Raises UserError, naming the file and the command that makes it, when a result or a map of a method is missing.
    """
    results = read_results(paths, params)
    comparison = compare(results, params)
    page = render_page(paths, params, results, comparison, sources)
    write_plots(paths.root / "reports" / "plots", results)
    write_text(paths.page, page)
    write_json(paths.comparison, comparison)
    return comparison


def render_page(paths: Paths, params: Params, results: Results, comparison: Json, sources: Sources) -> str:
    """Return the page as HTML. Raises UserError, naming file and command, when a map of the gallery is missing."""
    tint = tints(results.methods)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            params=params,
            results=results,
            comparison=comparison,
            tint=tint,
            leader=_leader(comparison),
            overview=_overview(comparison, tint),
            per_class=_per_class(results, sources.classes, tint),
            rules={rule: figure for rule in params.study.rules if (figure := _rule_figure(results, rule, tint))},
            training=[
                (curve, figures.training_curves(curve.steps, curve.losses, tint.get(curve.method, "")))
                for curve in results.curves
            ],
            gallery=build_gallery(paths, results, sources),
            errors={kind: "#{:02x}{:02x}{:02x}".format(*colour) for kind, colour in ERRORS.items()},
            studies=results.studies,
            variants=VARIANTS,
            primary=PRIMARY,
            measures=MEASURES,
            shapes=SHAPES,
            mlflow_ui=MLFLOW_UI,
        )
    )


def tints(methods: Sequence[str]) -> dict[str | None, str]:
    """Return the colour class of each method: grey for the baseline, the others in their order."""
    others = [method for method in methods if method != BASELINE]
    return {method: f"hue-{others.index(method) % _HUES}" if method in others else "base" for method in methods}


def label(method: str) -> str:
    """Return the name of a method as papers print it."""
    return method.upper()


def _environment() -> jinja2.Environment:
    templates = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=templates, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Callable[..., Any]] = {
        "percent": percent,
        "points": points,
        "settings": settings,
        "label": label,
        "duration": duration,
    }
    environment.filters.update(filters)
    return environment


def percent(fraction: float | None) -> str:
    """Return a fraction in percent with one decimal; a dash where it is undefined."""
    return "\N{EN DASH}" if fraction is None else f"{100 * fraction:.1f}"


def points(fraction: float) -> str:
    """Return a difference of fractions in percentage points, with its sign (a true minus)."""
    return f"{100 * fraction:+.1f}".replace("-", "\N{MINUS SIGN}")


def settings(values: Mapping[str, float]) -> str:
    """Return parameters of a rule as text; lower and upper thresholds become one range, or one value where equal."""
    shown = {}
    for name, value in values.items():
        stem, _, end = name.rpartition("_")
        low, high = values.get(f"{stem}_low"), values.get(f"{stem}_high")
        if end in ("low", "high") and low is not None and high is not None:
            shown[stem] = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        else:
            shown[name] = f"{value:.3g}"
    return ", ".join(f"{name} {text}" for name, text in shown.items())


def duration(seconds: float) -> str:
    """Return a duration in the two largest units that matter."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{seconds:.1f} s"


def _leader(comparison: Json) -> str:
    """Return the method to name first: the best on the validation images, the baseline only where it is alone."""
    methods = comparison["methods"]
    rivals = [method for method in methods if method != comparison["baseline"]] or list(methods)
    return max(rivals, key=lambda method: methods[method]["val"]["miou"])


def _overview(comparison: Json, tint: Mapping[str | None, str]) -> dict[str, dict[str, Markup]]:
    """Return per part the interval charts of the scores and, where there is a baseline, of the differences to it."""
    methods = comparison["methods"]
    charts: dict[str, dict[str, Markup]] = {}
    for part in PARTS:
        rows = [
            figures.Row(label(name), tint[name], found[part]["miou"], found[part]["interval"])
            for name, found in methods.items()
        ]
        charts[part] = {"scores": figures.interval_chart(rows, "mIoU, %")}
        against = {name: found["against_cam"][part] for name, found in methods.items() if "against_cam" in found}
        if against:
            rows = [
                figures.Row(label(name), tint[name], one["difference"], one["interval"])
                for name, one in against.items()
            ]
            charts[part]["differences"] = figures.interval_chart(
                rows, f"mIoU minus that of {label(BASELINE)}, points", zero=True
            )
    return charts


def _per_class(results: Results, classes: Sequence[str], tint: Mapping[str | None, str]) -> dict[str, Markup]:
    charts = {}
    for part, measured in results.measured.items():
        scored = next(iter(measured.values())).metrics["per_class"]
        names = [*(name for name in scored if name not in classes), *(name for name in classes if name in scored)]
        series = [
            (
                label(method),
                tint[method],
                [np.nan if (iou := one.metrics["per_class"][name]) is None else iou for name in names],
            )
            for method, one in measured.items()
        ]
        charts[part] = figures.class_bars(names, series, "IoU, %")
    return charts


def _rule_figure(results: Results, rule: str, tint: Mapping[str | None, str]) -> Json | None:
    """Return the figures of the sweep of `rule`: one with a curve per method, or one heat map per method."""
    swept = {
        method: found for method in results.methods if (found := surface(results.studies[method], rule)) is not None
    }
    if not swept:
        return None
    study = results.studies[next(iter(swept))]["rules"][rule]
    common = {"summary": study["summary"], "parameters": study["parameters"]}
    if all(values.ndim == 1 for _, values in swept.values()):
        return common | {"curve": _curve(results, rule, swept, tint)}
    limits = (
        min(float(values.min()) for _, values in swept.values()),
        max(float(values.max()) for _, values in swept.values()),
    )
    maps = {method: _map(results, rule, method, swept[method], limits) for method in swept}
    return common | {"maps": maps, "scale": figures.colour_bar(limits), "limits": limits}


def _curve(results: Results, rule: str, swept: Mapping[str, Any], tint: Mapping[str | None, str]) -> Markup:
    series = []
    for method, ((thresholds,), miou) in swept.items():
        marks = {}
        for name, point in _marked(results, method, rule).items():
            (value,) = point["values"].values()
            marks[name] = (value, point["miou"]["report"])
        series.append(figures.Series(label(method), tint[method], thresholds, miou.tolist(), marks))
    return figures.threshold_curves(series)


def _map(results: Results, rule: str, method: str, swept: Any, limits: figures.Interval) -> Markup:
    axes, miou = swept
    names = [axis["parameter"] for axis in results.studies[method]["rules"][rule]["surface"]["axes"]]
    marks: dict[str, figures.Band] = {}
    for name, point in _marked(results, method, rule).items():
        low, high = ([point["values"][f"{axis}_{end}"] for axis in names] for end in ("low", "high"))
        marks[name] = (low[0], low[1]), (high[0], high[1])
    return figures.heat_map(miou, (axes[0], axes[1]), label(method), limits, marks)


def _marked(results: Results, method: str, rule: str) -> dict[str, Json]:
    found = results.studies[method]["rules"][rule]["points"]
    return {name: found[name] for name in MARKED if found.get(name, {}).get("miou")}
