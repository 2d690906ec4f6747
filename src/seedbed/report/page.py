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
from seedbed.report.results import BASELINE, PARTS, Json, Results, Sources, read_results
from seedbed.report.svg import SHAPES
from seedbed.report.sweeps import MEASURES, Style, first_release, rule_figure

MLFLOW_UI = "http://127.0.0.1:5000"
"""Where `make ui` serves the runs."""

SALIENCY_MEASURES = {
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
    style = Style(tint, label)
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
            crf=_crf(results, params),
            rules={rule: figure for rule in params.study.rules if (figure := rule_figure(results, rule, style))},
            labelled=_labelled(comparison, tint),
            first_releases={rule: sweep for rule in params.study.rules if (sweep := first_release(results, rule))},
            training=[
                (curve, figures.training_curves(curve.steps, curve.losses, tint.get(curve.method, "")))
                for curve in results.curves
            ],
            gallery=build_gallery(paths, results, sources),
            errors={kind: "#{:02x}{:02x}{:02x}".format(*colour) for kind, colour in ERRORS.items()},
            studies=results.studies,
            variants=VARIANTS,
            primary=PRIMARY,
            measures=SALIENCY_MEASURES,
            swept_measures=MEASURES,
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
        "gap": gap,
        "settings": settings,
        "spans": spans,
        "crf_values": crf_values,
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


def gap(fraction: float | None) -> str:
    """Return how far something stays below the best, in percentage points; a dash where that is not known."""
    return "< 0.1" if fraction is not None and 0 < fraction < 0.0005 else percent(fraction)


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


def spans(intervals: Mapping[str, Sequence[float]]) -> list[str]:
    """Return the intervals of parameters as texts, a lower threshold before its upper one."""
    shown = {name: dict.fromkeys(f"{end:.3g}" for end in intervals[name]) for name in intervals}
    order = sorted(shown, key=lambda name: (name.removesuffix("_low").removesuffix("_high"), name.endswith("_high")))
    return [f"{name.replace('_', ' ')} {' to '.join(shown[name])}" for name in order]


def crf_values(params: Mapping[str, float]) -> str:
    """Return CRF parameters as text."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in sorted(params.items()))


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

    def rank(method: str) -> list[float]:
        scored = (methods[method][part]["miou"] for part in ("val", "pseudo"))
        return [-1.0 if miou is None else miou for miou in scored]

    return max(rivals, key=rank)


def _crf(results: Results, params: Params) -> dict[str, dict[str, str | None]]:
    """Return part -> method -> the parameters of the dense CRF there and who chose them; None where there was none."""
    return {
        part: {
            method: crf_settings(one.metrics["crf"], params, results.studies[method])
            for method, one in measured.items()
        }
        for part, measured in results.measured.items()
    }


def crf_settings(used: Mapping[str, float] | bool | None, params: Params, study: Json) -> str | None:
    """Return CRF parameters as text with who chose them; None without CRF.

    `used` is the entry `crf` of the metrics: the parameters, or true for predictions, which are refined with those of
    params.yaml and by their own probabilities, so without `confidence`.
    """
    if not used:
        return None
    values = used if isinstance(used, Mapping) else params.crf.model_dump(exclude={"confidence"})
    chosen = (study.get("crf") or {}).get("points", {}).get("chosen", {}).get("params")
    return f"{crf_values(values)}; {'chosen by the study' if values == chosen else 'from params.yaml'}"


def _overview(comparison: Json, tint: Mapping[str | None, str]) -> dict[str, dict[str, Markup]]:
    """Return per part the interval charts of the scores and of the differences to the baseline, where there are any."""
    methods = comparison["methods"]
    charts: dict[str, dict[str, Markup]] = {}
    for part in PARTS:
        rows = [
            figures.Row(label(name), tint[name], found[part]["miou"], found[part]["interval"])
            for name, found in methods.items()
            if found[part]["miou"] is not None
        ]
        charts[part] = {"scores": figures.interval_chart(rows, "mIoU, %")} if rows else {}
        rows = [
            figures.Row(label(name), tint[name], one["difference"], one["interval"])
            for name, found in methods.items()
            if (one := found.get("against_cam", {}).get(part))
        ]
        if rows:
            charts[part]["differences"] = figures.interval_chart(
                rows, f"mIoU minus that of {label(BASELINE)}, points", zero=True
            )
    return charts


def _labelled(comparison: Json, tint: Mapping[str | None, str]) -> Markup | None:
    """Return the chart of mIoU over labelled images, every method by its own rule; None where nothing was measured."""
    series = []
    for method, study in comparison["studies"].items():
        curve = study["rules"].get(study["rule"], {}).get("curve", [])
        reached = [
            figures.Reached(one["tune_images"], one["oracle"], one["miou"], (one["low"], one["high"])) for one in curve
        ]
        if reached:
            series.append((label(method), tint[method], reached))
    return figures.labelled_curves(series, "labelled images that choose the setting") if series else None


def _per_class(results: Results, classes: Sequence[str], tint: Mapping[str | None, str]) -> dict[str, Markup | None]:
    """Return per part the bars of the classes; None where no method could be scored."""
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
            if one.scored
        ]
        charts[part] = figures.class_bars(names, series, "IoU, %") if series else None
    return charts
