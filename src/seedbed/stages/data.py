"""Stages and commands on data/: the sample, real data, the check."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.data.check import check_data
from seedbed.data.sample import is_intact, write_sample
from seedbed.data.use import use_data
from seedbed.errors import UserError
from seedbed.files import write_json

if TYPE_CHECKING:
    from seedbed.stages.context import Context

logger = logging.getLogger(__name__)
_SHOWN = 20


def make_sample(root: Path) -> None:
    """Write the embedded sample to data/, unless it is there whole. Raises UserError when data/ holds other files."""
    folder = root / "data"
    if is_intact(folder):
        logger.info("data/ holds the sample already")
        return
    write_sample(folder)
    logger.info("wrote the sample to data/")


def use(source: Path, root: Path) -> None:
    """Make `source` the project's data/ and update data.dvc."""
    use_data(source, root)
    logger.info("data/ now holds %s; next: seedbed data check, then dvc repro", source)


def check(context: Context) -> None:
    """Open every file of data/, write the report and its summary. Raises UserError when the data are unusable."""
    if not context.paths.data.is_dir():
        raise UserError("the data folder data/ does not exist", "seedbed data sample, or seedbed data use FOLDER")
    report = check_data(context.paths.data, context.params.data, context.params.jobs)
    write_json(context.paths.root / "reports" / "data" / "check.json", report)
    findings = report["findings"]
    for finding in findings[:_SHOWN]:
        logger.info("%s: %s: %s", finding["severity"], finding["file"], finding["finding"])
    if len(findings) > _SHOWN:
        logger.info("... and %d more in reports/data/check.json", len(findings) - _SHOWN)
    if not report["usable"]:
        first = next(finding for finding in findings if finding["severity"] == "error")
        raise UserError(
            f"data/ is unusable: {report['errors']} errors, the first is {first['file']}: {first['finding']}",
            "mend the files listed in reports/data/check.json, then seedbed data check",
        )
    write_json(context.paths.metrics("check-data"), {key: value for key, value in report.items() if key != "findings"})
    splits = ", ".join(f"{name} {split['images']} images" for name, split in report["splits"].items())
    logger.info("data/ is usable: %s, %d warnings", splits, report["warnings"])
