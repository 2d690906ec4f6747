"""Stages and commands on data/: the sample, real data, the check, the record."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.data.sample import is_intact, write_sample
from seedbed.errors import UserError
from seedbed.files import write_json
from seedbed.intake.record import RESTORE, Changes, adopt, commit_data, recorded, restore_data
from seedbed.intake.use import use_data
from seedbed.tracking.uri import home
from seedbed.trees import counted, in_words

if TYPE_CHECKING:
    from seedbed.intake.check import Checked
    from seedbed.stages.context import Context

logger = logging.getLogger(__name__)
_SHOWN = 20


def make_sample(root: Path) -> None:
    """Write the embedded sample to data/, unless it is there whole. Raises UserError when data/ holds other files."""
    folder = root / "data"
    if is_intact(folder):
        logger.info("data/ holds the sample already")
    else:
        write_sample(folder)
        logger.info("wrote the sample to data/")
    adopt(root, "sample")


def use(sources: Sequence[str], root: Path, library: Path | None = None) -> None:
    """Make `sources`, fetched data sets by name or folders, together the project's data/, and record them."""
    from seedbed.stages.fetch import open_library, resolve

    folders = [folder for _, folder in resolve(sources, open_library(library, root))]
    done = use_data(folders, root)
    told = ", ".join(dict.fromkeys(sources))
    logger.info("data/ now holds %s: %s, %s", told, counted(done.files, "file"), in_words(done.bytes))
    logger.info("next: git add data.dvc, seedbed data check, then dvc repro")


def check(context: Context, fresh: bool = False) -> None:
    """Read data/, compare it with its record, and write the report, its summary and the digests of parts.

    Files that are unchanged since an earlier check are not read again, unless `fresh`. Raises UserError when the data
    are unusable or not those that were recorded.
    """
    from seedbed.intake.check import check_data
    from seedbed.intake.parts import write_parts

    paths = context.paths
    if not paths.data.is_dir():
        raise UserError("the data folder data/ does not exist", "seedbed data sample, or seedbed data use FOLDER")
    # DVC runs queued experiments in another folder, with data/ linked from the same cache: they share the memory.
    memory = home(paths.root) / ".seedbed" / "check" / "files.db"
    agreed = recorded(paths.root)
    checked = check_data(paths.data, context.params.data, context.params.jobs, memory, fresh, agreed)
    report = checked.report
    write_json(paths.root / "reports" / "data" / "check.json", report)
    _show(report["findings"])
    if not report["usable"]:
        raise _unusable(checked)
    write_json(paths.metrics("check-data"), {name: value for name, value in report.items() if name not in _NO_METRICS})
    write_parts(context.params, paths, checked)
    splits = ", ".join(f"{name} {counted(split['images'], 'image')}" for name, split in report["splits"].items())
    state = "as recorded" if agreed else "not recorded: a later change would pass (mend: seedbed data commit)"
    logger.info("data/ is usable: %s, %s; %s", splits, counted(report["warnings"], "warning"), state)


_NO_METRICS = {"findings", "verified"}
"""What the summary leaves out: findings may be many, and the record says nothing of the data themselves."""


def commit(root: Path) -> None:
    """Record data/ as it is, and say what has changed since the record."""
    changed = commit_data(root)
    logger.info("data.dvc records data/ as it is; changed since the last record: %s", _told(changed))


def restore(root: Path) -> None:
    """Put data/ back as it was recorded, and say what was different."""
    logger.info("data/ is as recorded again; different were: %s", _told(restore_data(root)))


def _told(changed: Changes | None) -> str:
    """Return what differs in words, and the first files."""
    if changed is None:
        return "unknown, for this is the first record"
    more = ", ..." if len(changed.files) > _SHOWN else ""
    return f"{changed} ({', '.join(changed.files[:_SHOWN])}{more})" if changed.files else str(changed)


def _show(findings: Sequence[dict[str, Any]]) -> None:
    for finding in findings[:_SHOWN]:
        logger.info("%s: %s: %s", finding["severity"], finding["file"], finding["finding"])
    if len(findings) > _SHOWN:
        logger.info("... and %d more in reports/data/check.json", len(findings) - _SHOWN)


def _unusable(checked: Checked) -> UserError:
    """Return the error for unusable data. A change is what is to be mended first: it may be all that is wrong."""
    if checked.differences:
        return UserError(f"data/ is not what data.dvc records: {_told(checked.differences)}", RESTORE)
    report = checked.report
    first = next(finding for finding in report["findings"] if finding["severity"] == "error")
    return UserError(
        f"data/ is unusable: {counted(report['errors'], 'error')}, the first is {first['file']}: {first['finding']}",
        "mend the files listed in reports/data/check.json, then seedbed data check",
    )
