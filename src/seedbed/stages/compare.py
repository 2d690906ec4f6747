"""The end of the pipeline: the comparison page, the runs behind it, and where to look."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from seedbed.files import read_json
from seedbed.params import load_params
from seedbed.paths import Paths

if TYPE_CHECKING:
    import numpy as np

    from seedbed.stages.context import Context

logger = logging.getLogger(__name__)


def compare(context: Context) -> None:
    """Write reports/index.html, reports/compare.json and the plots from what the other stages left."""
    from seedbed.data.saliency_sets import load_map
    from seedbed.report.page import Sources, write_comparison
    from seedbed.seeds.store import MapStore

    paths, voc, maps = context.paths, context.voc, context.paths.saliency_maps()
    stores = {
        name: MapStore(paths.seeds(name), f"seedbed seeds --method {name}")
        for name in context.params.methods
        if context.ready_made(name) is None
    }
    sources = Sources(
        classes=voc.classes,
        image=voc.image,
        mask=voc.mask,
        cams=lambda method, image_id: stores[method].maps(image_id) if method in stores else None,
        saliency=lambda image_id: load_map(path) if (path := maps / f"{image_id}.png").exists() else None,
        predict=lambda method, image_ids: _predict(context, method, image_ids),
    )
    write_comparison(paths, context.params, sources)
    logger.info("wrote %s and %s", paths.page, paths.comparison)


def _predict(context: Context, method: str, image_ids: list[str]) -> dict[str, np.ndarray]:
    """Return the segmenter's masks of training images that the page shows."""
    from seedbed.stages.segment import load_segmenter, predictions

    fix = f"seedbed train-segmenter --method {method}"
    network = load_segmenter(context, context.paths.model("segmenter", method), fix)
    return dict(predictions(context, network, image_ids))


def track(root: Path) -> None:
    """Print which run made what is on disk, and re-create runs that the MLflow store lacks."""
    from rich.console import Console
    from rich.table import Table

    from seedbed.tracking.sync import sync
    from seedbed.tracking.uri import public_uri, tracking_uri

    uri = public_uri(tracking_uri(root), root)
    table = Table("record", "MLflow run", "outcome", title=f"runs in {uri}", title_justify="left")
    for run in sync(Paths(root).records, root):
        gone = f" (no longer on disk: {', '.join(run.absent)})" if run.absent else ""
        table.add_row(run.record.name, run.run_id, run.outcome + gone)
    Console().print(table)


def where(root: Path) -> None:
    """Print where the results are, and what to try next."""
    paths = Paths(root)
    methods = load_params(paths.params).methods
    comparison = read_json(paths.comparison, "dvc repro")["methods"]
    lines = [
        f"{name}: pseudo-labels {_percent(comparison[name]['pseudo'])}, val {_percent(comparison[name]['val'])}"
        for name in methods
    ]
    for line in (
        *lines,
        "",
        f"Comparison page:  {paths.page.resolve().as_uri()}",
        "MLflow UI:        make ui, then open http://127.0.0.1:5000",
        "Environment:      source .venv/bin/activate",
        "Next:             edit params.yaml and run `dvc repro`, or try one change as an experiment:",
        "                  dvc exp run -S localiser.eps.options.tau=0.6 && dvc exp show",
        "                  seedbed predict --method eps --out masks PHOTO.jpg",
        "                  seedbed data use FOLDER   (your own data, see docs/data.md)",
    ):
        typer.echo(line)


def _percent(entry: dict[str, float | None]) -> str:
    return "not scored" if entry["miou"] is None else f"{100 * entry['miou']:.1f} mIoU"
