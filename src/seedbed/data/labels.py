"""Image labels: which object classes an image shows. Every reader returns id -> float32 [C] of 0 and 1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from seedbed import IGNORE
from seedbed.data.safe_pickle import load_npy
from seedbed.errors import UserError, unknown_name
from seedbed.files import read_json

Labels = dict[str, NDArray[np.float32]]
"""id -> float32 [C], 1 where the image shows the class."""

_FIX = "set data.classes in params.yaml to the classes of this data set"


def json_labels(path: Path, classes: Sequence[str]) -> Labels:
    """Read {id: [class names, or 0-based class indices]}. Raises UserError that names the id of a wrong entry."""
    content = read_json(path, "seedbed data check")
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a mapping from image id to a list of classes")
    labels = {}
    for image_id, names in content.items():
        if not isinstance(names, list):
            raise UserError(f"{path}: the entry of '{image_id}' must be a list of class names or 0-based indices")
        indices = (_class_index(name, classes, f"{path}, '{image_id}'") for name in names)
        labels[image_id] = _indicator(indices, len(classes))
    return labels


def npy_labels(path: Path, num_classes: int) -> Labels:
    """Read the community's `cls_labels.npy`, a pickled dict id -> float [C], without running anything in the file.

    Raises UserError when the file holds anything else, or vectors of another length or with values other than 0 and 1.
    """
    content = load_npy(path)
    if isinstance(content, np.ndarray) and content.dtype == object and content.shape == ():
        content = content.item()
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a dict from image id to a vector of {num_classes} labels")
    labels = {}
    for image_id, vector in content.items():
        if not isinstance(vector, np.ndarray) or vector.shape != (num_classes,) or not np.isin(vector, (0, 1)).all():
            raise UserError(f"{path}: the entry of '{image_id}' must be {num_classes} values of 0 or 1", _FIX)
        labels[str(image_id)] = vector.astype(np.float32)
    return labels


def xml_labels(folder: Path, ids: Iterable[str], classes: Sequence[str]) -> Labels:
    """Read VOC annotations `folder`/<id>.xml: every object counts, also difficult and truncated ones (as in PSA).

    Raises UserError when a file is missing or no XML, or when it names an unknown class.
    """
    labels = {}
    for image_id in ids:
        path = folder / f"{image_id}.xml"
        try:
            names = [element.text or "" for element in ElementTree.parse(path).iterfind("object/name")]
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: no annotation for id '{image_id}'", "seedbed data check") from None
        except ElementTree.ParseError as error:
            raise UserError(f"{path} is not valid XML ({error})", f"replace {path} by an intact copy") from None
        labels[image_id] = _indicator((_class_index(name.strip(), classes, str(path)) for name in names), len(classes))
    return labels


def mask_labels(mask: Callable[[str], NDArray[np.uint8]], ids: Iterable[str], num_classes: int) -> Labels:
    """Derive labels from masks: the ids 1..C that occur in `mask(id)`."""
    return {image_id: labels_of_mask(mask(image_id), num_classes) for image_id in ids}


def labels_of_mask(mask: NDArray[np.uint8], num_classes: int) -> NDArray[np.float32]:
    """Return the classes that occur in `mask`, float32 [C]."""
    present = np.unique(mask)
    return _indicator((int(value) - 1 for value in present if 0 < value < IGNORE), num_classes)


def _indicator(indices: Iterable[int], num_classes: int) -> NDArray[np.float32]:
    vector = np.zeros(num_classes, np.float32)
    vector[list(indices)] = 1
    return vector


def _class_index(name: object, classes: Sequence[str], where: str) -> int:
    """Return the 0-based index of a class given by name or index."""
    if isinstance(name, str):
        if name not in classes:
            error = unknown_name("class", name, classes)
            raise UserError(f"{where}: {error.message}", _FIX)
        return classes.index(name)
    if isinstance(name, int) and not isinstance(name, bool) and 0 <= name < len(classes):
        return name
    raise UserError(f"{where}: unknown class {name!r}; indices run from 0 to {len(classes) - 1}", _FIX)
