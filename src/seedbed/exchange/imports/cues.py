"""Localisation cues of SEC and its followers (DSRG, SGAN): one pickle of class positions on a 41x41 grid."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seedbed import IGNORE
from seedbed.data.batches import image_size
from seedbed.data.labels import Labels
from seedbed.data.masks import write_mask
from seedbed.data.safe_pickle import flat_array, parse, read_limited
from seedbed.data.voc import VocData
from seedbed.errors import UserError
from seedbed.exchange.imports.findings import ContradictionError, Imported, Outcome, Tally
from seedbed.exchange.imports.place import Place
from seedbed.exchange.work import work_through

GRID = 41
"""Side of the grid."""

_MOST = 3 * 256 * GRID**2  # numbers of an image's cues: every cell of every class
OTHER_LABELS = "labels of the cues that differ from the image label"

_CUES = re.compile(r"[0-9]+_cues")


@dataclass(frozen=True)
class CueFiles:
    """`file`: a pickled dict with `<index>_cues`, int [3,N] of class id (0 = background), row and column, and
    `<index>_labels`; `index_list`: lines `<id or path of the image> <index>` (SEC's input_list.txt)."""

    file: Path
    index_list: Path


@dataclass(frozen=True)
class _Item:
    image_id: str
    entry: str
    cues: Any
    said: Any
    """What `<index>_labels` holds; None where there is no such entry."""
    label: tuple[int, ...]


def import_cues(
    voc: VocData, ids: Sequence[str], labels: Labels, files: CueFiles, place: Place, jobs: int = 1
) -> Imported:
    """Write the cues of the images `ids` as pseudo-labels, palette `<id>.png` of 0..C and 255.

    A cell is 255 where no class or more than one claims it. The 41x41 mask goes to the image's size by nearest
    neighbour: pixel x takes cell floor((x + 1/2) 41 / width). Cues that share no class with the image's label are
    refused: the list then names other images. Raises UserError when the files are damaged, when that is so of most, or
    nothing was taken.
    """
    indices = read_index_list(files.index_list)
    content = parse(read_limited(files.file), str(files.file))
    if not isinstance(content, dict):
        raise UserError(f"{files.file} holds a {type(content).__name__}, not a dict of cues")
    items = list(_items(content, indices, ids, labels))
    here = {item.image_id for item in items}
    total = sum(1 for name in content if isinstance(name, str) and _CUES.fullmatch(name))
    tally = Tally(files.file, f"images are found by their number in {files.index_list}")
    with place.filled() as folder:
        for outcomes in work_through(f"import {place.target.name}", _Work(voc, folder), items, jobs):
            tally.add(outcomes)
        tally.require_sound(len(ids))
    missed = [image_id for image_id in ids if image_id not in here]
    return tally.imported(missed, total - len(items), place.target)


def read_index_list(path: Path) -> dict[str, int]:
    """Return id -> index of a list of lines `<id or path> <index>`. Raises UserError that names a wrong line."""
    indices: dict[str, int] = {}
    for number, line in enumerate(read_limited(path).decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[1].isdecimal() or len(words[1]) > 9:
            raise UserError(f"{path}, line {number}: expected an image and its index, not {line[:60]!r}")
        image_id = Path(words[0]).name.removesuffix(".jpg").removesuffix(".png")
        if image_id in indices:
            raise UserError(f"{path}, line {number}: names {image_id} a second time")
        indices[image_id] = int(words[1])
    return indices


def _items(content: Mapping[Any, Any], indices: Mapping[str, int], ids: Sequence[str], labels: Labels) -> list[_Item]:
    """Return what there is of the images `ids`."""
    found = []
    for image_id in ids:
        entry = f"{indices.get(image_id)}_cues"
        if entry in content:
            label = tuple((np.flatnonzero(labels[image_id]) + 1).tolist())
            said = content.get(f"{indices[image_id]}_labels")
            found.append(_Item(image_id, entry, content[entry], said, label))
    return found


@dataclass(frozen=True)
class _Work:
    voc: VocData
    folder: Path

    def __call__(self, items: Sequence[_Item]) -> list[Outcome]:
        return [self._outcome(item) for item in items]

    def _outcome(self, item: _Item) -> Outcome:
        try:
            mask = cue_mask(item.cues, self.voc.num_classes)
            notes = _compare(item)
            size = image_size(self.voc.image_path(item.image_id))
            resized = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
            write_mask(self.folder / f"{item.image_id}.png", np.asarray(resized))
        except UserError as error:
            return Outcome.of_error(item.image_id, f"'{item.entry}' ({item.image_id})", error)
        return Outcome(item.image_id, notes=notes)


def _compare(item: _Item) -> tuple[str, ...]:
    """Return what must be said of the cues' own labels, or, where there are none, classes.

    Raises ContradictionError when they are those of another image.
    """
    given = _places(item.cues)[0] if item.said is None else _integers(item.said, "its labels")
    said = set(np.unique(given).tolist()) - {0}
    if said and item.label and said.isdisjoint(item.label):
        raise ContradictionError(
            f"its labels are {sorted(said)}, the image's {list(item.label)}: is this the right list?",
            "give the list that was made together with the cues, and see whether the image labels are right",
        )
    return () if item.said is None or said == set(item.label) else (OTHER_LABELS,)


def cue_mask(cues: Any, classes: int) -> NDArray[np.uint8]:
    """Return cues [3,N] as a mask, uint8 [41,41]. Raises UserError for classes and cells that do not exist."""
    places = _places(cues)
    ids, rows, columns = places
    if places.size and (places.min() < 0 or ids.max() > classes or max(rows.max(), columns.max()) >= GRID):
        raise UserError(f"names a class beyond {classes}, or a cell outside the {GRID}x{GRID} grid")
    claims = np.zeros((classes + 1, GRID, GRID), bool)
    claims[ids, rows, columns] = True
    return np.where(claims.sum(0) == 1, claims.argmax(0), IGNORE).astype(np.uint8)


def _places(cues: Any) -> NDArray[np.int64]:
    """Return cues, an array or three rows, as an array [3,N] of class, row and column."""
    if isinstance(cues, list | tuple):
        rows = [_integers(row, "it") for row in cues[:4]]
        if len({row.shape for row in rows}) > 1:
            raise UserError("its rows must hold equally many whole numbers")
        places = np.array(rows)
    else:
        places = _integers(cues, "it")
    if places.ndim != 2 or len(places) != 3:
        raise UserError("is no array [3,N] of class, row and column")
    return places


def _integers(value: Any, what: str) -> NDArray[np.int64]:
    """Return an array or a flat list of whole numbers as an array."""
    array = flat_array(value, _MOST)
    if array is None:
        raise UserError(f"{what} must be whole numbers, no more than the grid has places for")
    if array.size and (array.dtype.kind not in "iuf" or (array != np.floor(array)).any() or abs(array).max() > 2**31):
        raise UserError(f"{what} must be whole numbers")
    return array.astype(np.int64)
