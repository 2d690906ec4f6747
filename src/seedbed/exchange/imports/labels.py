"""Image labels of other projects: cls_labels.npy, im_tags.pkl, train_cls.txt, JSON; told apart by content."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed.data.labels import json_labels
from seedbed.data.safe_pickle import flat_array, is_npy, parse, read_limited
from seedbed.data.voc import JSON_LABELS, VocData
from seedbed.errors import UserError
from seedbed.exchange.imports.findings import Imported, Outcome, Tally
from seedbed.files import write_json

CHANGED = "replaced: other classes than before"
SAME = "replaced by the same classes"
ADDED = "added: without labels before"
KEPT = "kept as before: not in the file"
GONE = "gone: not in the file, and not in the list of training images"
EMPTY = "no class at all"

_PICKLE_ENDS = b"."
_MOST_DIGITS = 6  # of a class index
_MOST_CLASSES = 1000  # in an entry

Entry = tuple[str | int, Any]
"""Image id, and its classes in the form of the file."""


@dataclass(frozen=True)
class Form:
    """A form that image labels come in: its `name` and how the `indices` (0-based) are read off an entry."""

    name: str
    indices: Callable[[Any, Sequence[str]], list[int]]


def import_labels(voc: VocData, ids: Sequence[str], file: Path, merge: bool = False) -> Imported:
    """Write the labels in `file` to image_labels.json beside the images, as {id: [names of data.classes]}.

    Labels of images outside the lists `ids` are kept too. What image_labels.json held, there or at the root of the data
    folder, counts no more, unless `merge` is set: then images that `file` does not name keep that. Raises UserError
    when the file is no known form, no image of the lists is in it, or training images would lose their labels; nothing
    is written then.
    """
    form, entries = read_entries(read_limited(file), file)
    tally = Tally(file, "entries are matched by image id")
    known = _Ids(ids)
    outcomes = [_outcome(known.of(image_id), entry, form, voc.classes) for image_id, entry in entries]
    wanted = set(ids)
    labels = {outcome.image_id: outcome.value for outcome in outcomes if not outcome.refused}
    tally.add(outcome for outcome in outcomes if outcome.image_id in wanted)
    tally.require_sound(len(ids))
    before = _present(voc.label_path("json"), voc.classes, strict=merge)
    replaced = labels.keys() & before.keys()
    tally.notes[CHANGED] = sum(sorted(before[name]) != sorted(labels[name]) for name in replaced)
    tally.notes[SAME] = len(replaced) - tally.notes[CHANGED]
    tally.notes[ADDED] = len(labels) - len(replaced)
    others = {image_id: names for image_id, names in before.items() if image_id not in labels}
    tally.notes[KEPT if merge else GONE] = len(others)
    if merge:
        labels |= others
    elif others:
        _check_losses(voc, others, file)
    target = voc.voc / JSON_LABELS
    write_json(target, labels)
    named = {outcome.image_id for outcome in outcomes}
    missed = [image_id for image_id in ids if image_id not in named]
    tally.notes = +tally.notes
    return tally.imported(missed, len(named - wanted), target)


def _check_losses(voc: VocData, others: Collection[str], file: Path) -> None:
    """Raise UserError when training images are among the `others`, which had labels and get none from `file`."""
    train = voc.ids(voc.params.train)
    lost = [image_id for image_id in train if image_id in others]
    if lost:
        raise UserError(
            f"{len(lost)} of {len(train)} training images have labels that {file} would take away, the first is "
            f"'{lost[0]}'; nothing was written",
            f"seedbed import labels {file} --merge, which keeps them",
        )


class _Ids:
    """Finds image ids by the numbers that some label files have instead: 2007000032 for 2007_000032."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._by_number: dict[int, list[str]] = {}
        for image_id in ids:
            digits = re.search(r"[0-9]+$", image_id.replace("_", "") if re.fullmatch("[0-9_]+", image_id) else image_id)
            if digits:
                self._by_number.setdefault(int(digits[0]), []).append(image_id)

    def of(self, given: str | int) -> str:
        """Return the id of an image given by id or number; a number that fits no image, or several, as text."""
        if isinstance(given, str):
            return given
        found = self._by_number.get(given, [])
        return found[0] if len(found) == 1 else str(given)


def _outcome(image_id: str, entry: Any, form: Form, classes: Sequence[str]) -> Outcome:
    try:
        names = [classes[index] for index in sorted(form.indices(entry, classes))]
    except UserError as error:
        return Outcome.of_error(image_id, f"the entry of '{image_id}'", error)
    return Outcome(image_id, names, () if names else (EMPTY,))


def _present(path: Path, classes: Sequence[str], strict: bool) -> dict[str, list[str]]:
    """Return what image_labels.json holds; where it is to be replaced, one that cannot be read counts as nothing."""
    if not path.exists():
        return {}
    try:
        labels = json_labels(path, classes)
    except UserError:
        if strict:
            raise
        return {}
    return {image_id: [classes[index] for index in np.flatnonzero(vector)] for image_id, vector in labels.items()}


def read_entries(content: bytes, file: Path) -> tuple[Form, list[Entry]]:
    """Return the form of `content` and its entries. Raises UserError when it is none of the forms.

    .npy files and pickles hold a dict: of vectors of C zeros and ones, or of class ids 1..C; the form of the
    whole file is that of most entries.
    """
    start = content.lstrip()[:1]
    if is_npy(content) or content[:1] == b"\x80" or (start in {b"(", b"}"} and content.endswith(_PICKLE_ENDS)):
        value = parse(content, str(file))
        if not isinstance(value, dict) or not all(isinstance(name, str | int | np.integer) for name in value):
            raise UserError(f"{file} holds no dict from image id to labels")
        entries = [(name if isinstance(name, str) else int(name), _array(given)) for name, given in value.items()]
        return (IDS if sum(_is_ids(given) for _, given in entries) * 2 >= len(entries) else VECTORS), entries
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise UserError(f"{file} is neither .npy, pickle, JSON nor text") from None
    if start in {b"{", b"["}:
        return NAMES, list(_json_entries(text, file))
    return TEXT, [_text_entry(line) for line in text.splitlines() if line.strip()]


def _json_entries(text: str, file: Path) -> Iterator[Entry]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{file} must hold a mapping from image id to a list of classes")
    yield from value.items()


def _text_entry(line: str) -> Entry:
    """Return the entry of a line `<id> <class> <class> ...` (OAA's train_cls.txt); the id may be a path."""
    word, *rest = line.split()
    return (PurePosixPath(word).stem if "/" in word else word.removesuffix(".jpg")), rest


def _array(given: Any) -> NDArray[Any]:
    """Return an entry as an array; one that is no array or flat list as an object."""
    found = flat_array(given, _MOST_CLASSES)
    return np.array(None) if found is None else found


def _is_ids(given: NDArray[Any]) -> bool:
    """Whether an entry is a set of class ids from 1: a vector of zeros and ones has a zero, or repeats the one."""
    values = given.ravel().tolist()
    return (
        given.ndim == 1
        and given.dtype.kind in "iu"
        and len(set(values)) == len(values)
        and all(value >= 1 for value in values)
    )


def _checked(indices: Sequence[int], first: int, classes: Sequence[str]) -> list[int]:
    """Return 0-based indices of ids that count from `first`. Raises UserError for unknown and repeated ones."""
    for index in indices:
        if not first <= index < first + len(classes):
            raise UserError(f"unknown class {index}; classes here are {first}..{first + len(classes) - 1}")
    if len(set(indices)) < len(indices):
        raise UserError("names a class twice")
    return [index - first for index in indices]


def _of_vector(given: Any, classes: Sequence[str]) -> list[int]:
    if given.shape != (len(classes),) or given.dtype.kind not in "biuf" or not np.isin(given, (0, 1)).all():
        raise UserError(f"is no vector of {len(classes)} zeros and ones, as data.classes has it")
    return [int(index) for index in np.flatnonzero(given)]


def _of_ids(given: Any, classes: Sequence[str]) -> list[int]:
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise UserError("is no array of class ids from 1")
    return _checked(given.ravel().tolist(), 1, classes)


def _of_words(given: Any, classes: Sequence[str]) -> list[int]:
    if not all(word.isdecimal() and len(word) <= _MOST_DIGITS for word in given):
        raise UserError(f"holds {' '.join(given)[:60]!r}, not class indices from 0")
    return _checked([int(word) for word in given], 0, classes)


def _of_json(given: Any, classes: Sequence[str]) -> list[int]:
    if not isinstance(given, list):
        raise UserError("is no list of class names or indices from 0")
    indices = []
    for name in given:
        if isinstance(name, str) and name in classes:
            indices.append(classes.index(name))
        elif isinstance(name, int) and not isinstance(name, bool):
            indices.append(name)
        else:
            raise UserError(f"unknown class {name!r}; data.classes has {', '.join(classes[:5])}, ...")
    return _checked(indices, 0, classes)


VECTORS = Form("vectors of zeros and ones", _of_vector)
IDS = Form("class ids from 1", _of_ids)
TEXT = Form("lines of class indices from 0", _of_words)
NAMES = Form("JSON", _of_json)
