"""`seedbed import`: files of other projects come into data/, which is recorded anew."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
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
from seedbed.exchange.sources import digest
from seedbed.files import write_json
from seedbed.intake.record import record_data
from seedbed.stages.context import Context
from seedbed.trees import counted

logger = logging.getLogger(__name__)

_SHOWN = 5


def labels(context: Context, file: Path, merge: bool = False) -> Imported:
    """Take image labels (.npy, pickle, text or JSON) into image_labels.json beside the images, in the place of
    those there, or added to them (`merge`). Raises UserError when none fits an image of the lists."""
    found = import_labels(context.voc, _both(context), file, merge)
    _finish(context, _Done("labels", None, file, _both(context), found))
    if context.params.data.labels not in {"auto", "json"}:
        logger.info("data.labels is %s: set it to json, or these labels are not read", context.params.data.labels)
    return found


def saliency(context: Context, source: Path, name: str) -> Imported:
    """Take a folder or zip of saliency maps into data/imported/saliency/`name`, for training and validation images."""
    found = import_saliency(_reader(context, source, _both(context)), Place.of(context.paths, "saliency", name))
    _finish(context, _Done("saliency", name, source, _both(context), found))
    _advise(context, found, f"to use them: saliency: {{source: folder, folder: imported/saliency/{name}}}")
    return found


def seeds(context: Context, source: Path, name: str) -> Imported:
    """Take a folder or zip of class maps <id>.npy into data/imported/seeds/`name`, for the training images."""
    place, ids = Place.of(context.paths, "seeds", name), _train(context)
    found = import_seeds(_reader(context, source, ids), place, context.voc.labels(ids))
    _finish(context, _Done("seeds", name, source, ids, found))
    _advise(context, found, _as_method("seeds", name))
    return found


def cues(context: Context, file: Path, index_list: Path, name: str) -> Imported:
    """Take SEC's localisation cues into data/imported/pseudo/`name`, for the training images."""
    place, ids = Place.of(context.paths, "pseudo", name), _train(context)
    files = CueFiles(file, index_list)
    found = import_cues(context.voc, ids, context.voc.labels(ids), files, place, context.params.jobs)
    _finish(context, _Done("pseudo", name, file, ids, found, index_list))
    _advise(context, found, _as_method("pseudo", name))
    return found


def pseudo(context: Context, source: Path, name: str, ignore: int = IGNORE) -> Imported:
    """Take a folder or zip of ready-made masks into data/imported/pseudo/`name`, for the training images; `ignore` is
    the id of pixels without a label in them."""
    place, ids = Place.of(context.paths, "pseudo", name), _train(context)
    found = import_pseudo(_reader(context, source, ids), place, ignore)
    _finish(context, _Done("pseudo", name, source, ids, found))
    _advise(context, found, _as_method("pseudo", name))
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


@dataclass(frozen=True)
class _Done:
    """An import of `source`, with its `index_list` where there is one, for the images `ids`."""

    kind: str
    name: str | None
    source: Path
    ids: Sequence[str]
    found: Imported
    index_list: Path | None = None

    @property
    def title(self) -> str:
        """What it is called in what is said and recorded."""
        return f"{self.kind} {self.name}" if self.name else self.kind


def _finish(context: Context, done: _Done) -> None:
    """Say what was found, write it down, and record data/ anew."""
    found, train = done.found, set(_train(context))
    missed = [image_id for image_id in found.missed if image_id in train]
    without = [image_id for image_id in found.missed if image_id not in train]
    _say(done, missed, without)
    index = {"list": done.index_list.name, "list_sha256": digest(done.index_list)} if done.index_list else {}
    report = {
        "kind": done.kind,
        "name": done.name,
        "source": done.source.name,
        "sha256": digest(done.source),
        **index,
        "images": len(done.ids),
        "matched": found.matched,
        "missed": missed,
        "val_without": without,
        "refused": [{"file": file, "reason": reason} for file, reason in found.refused],
        "extra": found.extra,
        "notes": found.notes,
        "written": found.written.relative_to(context.paths.root).as_posix(),
    }
    write_json(context.paths.root / "reports" / "imports" / f"{done.title.replace(' ', '-')}.json", report)
    record_data(context.paths.root, f"{done.title} of {done.source.name}", found.written)
    if context.paths.data_record.exists():
        logger.info("next: git add data.dvc reports/imports")


def _say(done: _Done, missed: Sequence[str], without: Sequence[str]) -> None:
    """Say what was found: training images that were `missed`, validation images `without` a file, and the rest."""
    found = done.found
    logger.info("%s: %d of %d images matched, in %s", done.title, found.matched, len(done.ids), found.written)
    if missed:
        logger.info("missed: %d training images: %s", len(missed), _some(missed))
    if without:
        logger.info("none for %d validation images, which need none", len(without))
    if found.refused:
        logger.info("refused: %s", counted(len(found.refused), "file"))
        for file, reason in found.refused[:_SHOWN]:
            logger.info("  %s: %s", file, reason)
    for note, count in found.notes.items():
        logger.info("%d images: %s", count, note)
    if found.extra:
        logger.info("%d more belong to no image of the lists", found.extra)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _as_method(kind: str, name: str) -> str:
    return f"to use them, a method of any name: {{method: imported, options: {{{kind}: {name}}}}} below localiser"


def _advise(context: Context, found: Imported, how: str) -> None:
    """Say how to use what was imported, or what it lacks before it can be used."""
    train, taken = _train(context), set(found.taken)
    lacking = [image_id for image_id in train if image_id not in taken]
    if lacking:
        logger.warning(
            "%d of %d training images lack one (%s): no method runs with it; import a complete set under this name, or "
            "take these images off the list '%s'",
            len(lacking),
            len(train),
            _some(lacking),
            context.params.data.train,
        )
    else:
        logger.info("%s", how)
