"""What the parameters ask for and what is here: the parameters themselves, data, weight files, the library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seedbed.data.voc import FETCH, VocData
from seedbed.errors import UserError
from seedbed.files import read_json
from seedbed.intake.record import RESTORE, recorded
from seedbed.params import LocaliserParams, Params, load_params
from seedbed.paths import Paths
from seedbed.stages.doctor.line import Line, listed, note, ok, problem
from seedbed.stages.fetch import open_library

_CHECK = "seedbed data check"
_WEIGHTS = "put it there, or seedbed weights import FILE --as NAME (seedbed weights list says which)"
_BRING = "seedbed data fetch NAME, then seedbed data use with all sets (seedbed data list says which)"


def read_params(path: Path) -> tuple[Params | None, list[Line]]:
    """Return the parameters in `path`, None when they are not valid, and the line that says so."""
    try:
        return load_params(path), [ok(f"{path}: names and ranges are valid")]
    except UserError as error:
        return None, [problem(error.message, error.fix or f"edit {path}")]
    except OSError as error:
        return None, [problem(f"{path} cannot be read ({error.strerror})", f"ls -ld {path}")]


def probe_names(path: Path, root: Path) -> list[Line]:
    """Ask the registries for every method, backbone, rule and head that the parameters name."""
    from seedbed.stages.context import Context  # with all of torch: a broken package is a line, not the end

    Context.load(path, root)
    return [ok("every method, backbone, rule and head that they name is known")]


def probe_data(paths: Paths) -> list[Line]:
    """Say whether data/ is here, and what data.dvc records of it."""
    if not is_here(paths):
        pull = f"dvc pull (the data of {paths.data_record}), or " if paths.data_record.is_file() else ""
        return [problem("data/ is not here", pull + FETCH)]
    return [record_line(paths)]


def is_here(paths: Paths) -> bool:
    """Say whether there is anything in data/."""
    return paths.data.is_dir() and any(paths.data.iterdir())


def record_line(paths: Paths) -> Line:
    """Compare what data.dvc holds with what the user agreed to. Raises UserError when data.dvc is damaged."""
    from seedbed.tracking.environment import data_hash  # with all of torch

    agreed = recorded(paths.root)
    if agreed is None:
        what = "does not say which data were agreed to" if paths.data_record.is_file() else "is not here"
        return note(f"{paths.data_record} {what}: a changed data/ would pass unseen", "seedbed data commit")
    if agreed.data != data_hash(paths.root):
        return problem(f"{paths.data_record} holds other data than were agreed to", RESTORE)
    return ok(f"{paths.data_record} records {listed(agreed.sources) or 'data/'}")


def probe_lists(paths: Paths, params: Params) -> list[Line]:
    """Count the images of the lists, and name where labels come from. Raises UserError when one cannot be read."""
    voc = VocData(paths.data, params.data)
    train, val = voc.ids(params.data.train), voc.ids(params.data.val)
    counts = f"{len(train)} training images, {len(voc.masked(train))} with a mask, {len(val)} validation images"
    return [ok(f"{params.data.name}: {counts}, labels from {voc.label_source()}")]


@dataclass(frozen=True)
class _Input:
    """A folder that a parameter names: what of, where, what brings it, and in which split every image must be in it."""

    parameter: str
    folder: Path
    fix: str
    splits: tuple[str, ...] = ()

    def line(self, voc: VocData) -> Line | None:
        """Return what is wrong with it. Raises UserError when lists of images, or a map store, cannot be read."""
        if not self.folder.is_dir():
            return problem(f"{self.parameter}: {self.folder} is not here", self.fix)
        wanted = dict.fromkeys(image_id for split in self.splits for image_id in voc.ids(split))
        there = _held(self.folder, self.fix) if wanted else frozenset()
        missing = [image_id for image_id in wanted if image_id not in there]
        if not missing:
            return None
        what = f"{len(missing)} of {len(wanted)} images are not in {self.folder}, the first is '{missing[0]}'"
        return problem(f"{self.parameter}: {what}", f"{self.fix}, from a source that has them")


def _held(folder: Path, fix: str) -> frozenset[str]:
    """Return the ids that a map store has in its index, or else a folder as <id>.png."""
    from seedbed.methods.imported import listing  # with all of torch
    from seedbed.seeds.store import INDEX, MapStore

    return frozenset(MapStore(folder, fix)) if (folder / INDEX).is_file() else listing(folder)


def probe_inputs(paths: Paths, params: Params) -> list[Line]:
    """Name what the parameters read and is not here, or not whole: saliency sets, ready-made maps, imports."""
    voc = VocData(paths.data, params.data)
    return [line for one in _inputs(paths, params) if (line := one.line(voc)) is not None]


def _inputs(paths: Paths, params: Params) -> Iterator[_Input]:
    """Yield every folder that is read beside images, masks and lists."""
    saliency, data = params.saliency, params.data
    if saliency.source == "folder" and saliency.folder:
        fix = f"seedbed import saliency SOURCE --as {Path(saliency.folder).name}, or set saliency.source: fpn"
        yield _Input("saliency.folder", paths.data / saliency.folder, fix, (data.train, data.val))
    elif data.saliency_train:
        yield _Input("data.saliency_train", paths.data / data.saliency_train, _BRING)
    for name in data.saliency_test:
        yield _Input("data.saliency_test", paths.data / name, _BRING)
    for name in params.methods:
        block = params.localiser[name]
        for kind in ("seeds", "pseudo"):
            given = block.options.get(kind)
            if _is_imported(name, block) and given is not None:
                fix = f"seedbed import {kind} SOURCE --as {given}"
                folder = paths.imported(kind, str(given))
                yield _Input(f"localiser.{name}.options.{kind}", folder, fix, (data.train,))


def _is_imported(name: str, block: LocaliserParams) -> bool:
    return (block.method or name) == "imported"


def probe_check(paths: Paths) -> list[Line]:
    """Say what the last check of data/ found, and whether data/ has changed since."""
    file = paths.root / "reports" / "data" / "check.json"
    if not file.is_file():
        return [note("data/ was never checked here", _CHECK)]
    report = read_json(file, _CHECK)
    if not isinstance(report, dict) or not {"usable", "errors", "warnings"} <= report.keys():
        return [problem(f"{file} is no report of a check", _CHECK)]
    if not report["usable"]:
        return [problem(f"the last check found data/ unusable: {report['errors']} errors, in {file}", _CHECK)]
    if newest(paths.data) > file.stat().st_mtime:
        return [note("data/ holds something newer than its last check", _CHECK)]
    return [ok(f"the last check found data/ usable, {report['warnings']} warnings")]


def newest(folder: Path) -> float:
    """Return the latest time, seconds since 1970, at which a file below `folder` was written, added or removed."""
    latest = folder.stat().st_mtime
    with os.scandir(folder) as entries:
        for entry in entries:
            inside = entry.is_dir(follow_symlinks=False)
            latest = max(latest, newest(Path(entry)) if inside else entry.stat(follow_symlinks=False).st_mtime)
    return latest


def probe_weights(paths: Paths, params: Params) -> list[Line]:
    """Look for the weight files that the parameters name."""
    wanted: dict[str, list[str]] = {}
    for name, file in _weights(params):
        wanted.setdefault(file, []).append(name)
    missing = [file for file in wanted if not _is_there(paths.root / file)]
    lines = [problem(f"{file} is not here ({listed(wanted[file])})", _WEIGHTS) for file in missing]
    if len(missing) < len(wanted):
        lines.append(ok(f"here: {listed([file for file in wanted if file not in missing])}"))
    return lines or [ok("the parameters name no weight files: networks start from random weights")]


def _weights(params: Params) -> Iterator[tuple[str, str]]:
    """Yield parameter and file of every weight file that a stage of these parameters reads."""
    for name in params.methods:
        block = params.localiser[name]
        if _is_imported(name, block):
            continue
        if block.trained:
            yield f"localiser.{name}.trained", block.trained
        elif block.weights:
            yield f"localiser.{name}.weights", block.weights
    if params.saliency.source != "folder" and params.saliency.weights:
        yield "saliency.weights", params.saliency.weights
    if params.segmenter.weights:
        yield "segmenter.weights", params.segmenter.weights


def _is_there(file: Path) -> bool:
    """Say whether weights are there: a file, or the folder of an import."""
    return file.is_file() or (file / "weights.safetensors").is_file()


def probe_library(root: Path) -> list[Line]:
    """Look at the data sets of the library, by names and sizes of their files."""
    library = open_library(None, root)
    lines, absent = [], []
    for name in library.catalogue:
        status = library.status(name)
        if status.intact:
            lines.append(ok(f"{name}: {status.files} files"))
        elif status.finding:
            lines.append((problem if status.here else note)(f"{name}: {status.finding}", f"seedbed data fetch {name}"))
        else:
            absent.append(name)
    return [*lines, ok(f"{library.root}: not here {listed(absent, len(absent))}")] if absent else lines
