"""`seedbed import`: files of other projects come into data/, which is recorded anew."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from seedbed import IGNORE
from seedbed.exchange.imports.cam_files import import_seeds
from seedbed.exchange.imports.cues import CueFiles, import_cues
from seedbed.exchange.imports.findings import Imported
from seedbed.exchange.imports.labels import import_labels
from seedbed.exchange.imports.place import Place, list_imports
from seedbed.exchange.imports.pseudo_labels import import_pseudo
from seedbed.exchange.imports.reading import Reader
from seedbed.exchange.imports.saliency_maps import import_saliency
from seedbed.files import write_json
from seedbed.intake.record import record_data
from seedbed.stages.context import Context

logger = logging.getLogger(__name__)

_SHOWN = 5


def labels(context: Context, file: Path, merge: bool = False) -> Imported:
    """Take image labels (.npy, pickle, text or JSON) into data/image_labels.json, in the place of those there, or
    beside them (`merge`). Raises UserError when none fits an image of the lists."""
    found = import_labels(context.voc, _both(context), file, merge)
    _finish(context, "labels", None, file, _both(context), found)
    if context.params.data.labels not in {"auto", "json"}:
        logger.info("data.labels is %s: set it to json, or these labels are not read", context.params.data.labels)
    return found


def saliency(context: Context, source: Path, name: str) -> Imported:
    """Take a folder or zip of saliency maps into data/imported/saliency/`name`, for training and validation images."""
    found = import_saliency(_reader(context, source, _both(context)), Place.of(context.paths, "saliency", name))
    _finish(context, "saliency", name, source, _both(context), found)
    logger.info("to use them: saliency: {source: folder, folder: imported/saliency/%s}", name)
    return found


def seeds(context: Context, source: Path, name: str) -> Imported:
    """Take a folder or zip of class maps <id>.npy into data/imported/seeds/`name`, for the training images."""
    place, ids = Place.of(context.paths, "seeds", name), _train(context)
    found = import_seeds(_reader(context, source, ids), place, context.voc.labels(ids))
    _finish(context, "seeds", name, source, ids, found)
    _advise("seeds", name)
    return found


def cues(context: Context, file: Path, index_list: Path, name: str) -> Imported:
    """Take SEC's localisation cues into data/imported/pseudo/`name`, for the training images."""
    place, ids = Place.of(context.paths, "pseudo", name), _train(context)
    files = CueFiles(file, index_list)
    found = import_cues(context.voc, ids, context.voc.labels(ids), files, place, context.params.jobs)
    _finish(context, "pseudo", name, file, ids, found)
    _advise("pseudo", name)
    return found


def pseudo(context: Context, source: Path, name: str, ignore: int = IGNORE) -> Imported:
    """Take a folder or zip of ready-made masks into data/imported/pseudo/`name`, for the training images; `ignore` is
    the id of pixels without a label in them."""
    place, ids = Place.of(context.paths, "pseudo", name), _train(context)
    found = import_pseudo(_reader(context, source, ids), place, ignore)
    _finish(context, "pseudo", name, source, ids, found)
    _advise("pseudo", name)
    return found


def show(context: Context) -> None:
    """Say what has been imported."""
    listed = list_imports(context.paths)
    for one in listed:
        logger.info("%s %s: %d images", one.kind, one.name, one.images)
    if not listed:
        logger.info("nothing has been imported")


def _train(context: Context) -> list[str]:
    return context.voc.ids(context.params.data.train)


def _both(context: Context) -> list[str]:
    """Return the training and the validation images."""
    return list(dict.fromkeys([*_train(context), *context.voc.ids(context.params.data.val)]))


def _reader(context: Context, source: Path, ids: Sequence[str]) -> Reader:
    return Reader(context.voc, ids, source, context.params.jobs)


def _finish(context: Context, kind: str, name: str | None, source: Path, ids: Sequence[str], found: Imported) -> None:
    """Say what was found, write it down, and record data/ anew."""
    title = f"{kind} {name}" if name else kind
    _say(title, ids, found, set(_train(context)))
    report = {
        "kind": kind,
        "name": name,
        "source": source.name,
        "images": len(ids),
        "matched": found.matched,
        "missed": found.missed,
        "refused": [{"file": file, "reason": reason} for file, reason in found.refused],
        "extra": found.extra,
        "notes": found.notes,
        "written": found.written.relative_to(context.paths.root).as_posix(),
    }
    file = f"{kind}-{name}.json" if name else f"{kind}.json"
    write_json(context.paths.root / "reports" / "imports" / file, report)
    record_data(context.paths.root, f"{title} of {source.name}")


def _say(title: str, ids: Sequence[str], found: Imported, train: set[str]) -> None:
    logger.info("%s: %d of %d images matched, in %s", title, found.matched, len(ids), found.written)
    missed = [image_id for image_id in found.missed if image_id in train]
    if missed:
        logger.info("missed: %d training images: %s", len(missed), _some(missed))
    if len(found.missed) > len(missed):
        logger.info("missed: %d validation images", len(found.missed) - len(missed))
    if found.refused:
        logger.info("refused: %d files", len(found.refused))
        for file, reason in found.refused[:_SHOWN]:
            logger.info("  %s: %s", file, reason)
    for note, count in found.notes.items():
        logger.info("%d images: %s", count, note)
    if found.extra:
        logger.info("%d more belong to no image of the lists", found.extra)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _advise(kind: str, name: str) -> None:
    logger.info("to use them, a method of any name: {method: imported, options: {%s: %s}} below localiser", kind, name)
