"""What opening one file of data/ shows, whatever the parameters: a few numbers, worth remembering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from seedbed import IGNORE
from seedbed.data.images import Size, open_image, read_grey
from seedbed.data.masks import read_mask
from seedbed.data.saliency_sets import SALIENT
from seedbed.errors import UserError
from seedbed.trees import hash_file

Kind = Literal["image", "mask", "grey", "other"]
"""How a file is opened: as a photograph, an index mask, a grey saliency mask, or only read for its hash."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file shows."""

    md5: str
    """Hash of the content; empty where it could not be read."""
    size: Size | None = None
    """Width and height of an image, pixels."""
    ids: tuple[int, ...] = ()
    """Ids that occur in an index mask, ascending; of a grey mask, 1 where it shows something salient."""
    ignored: float = 0.0
    """Fraction of an index mask that is 255."""
    fault: str | None = None
    """Why the file cannot be used."""


def look(path: Path, kind: Kind) -> Facts:
    """Hash the file `path` and open it as `kind`. Raises nothing for the file's sake."""
    try:
        md5 = hash_file(path, "md5")
    except OSError as error:
        return Facts("", fault=f"{path.name} cannot be read ({error.strerror})")
    try:
        return _open(path, kind, md5)
    except UserError as error:
        return Facts(md5, fault=error.message.replace(str(path), path.name))


def look_at(root: Path, files: Sequence[tuple[str, Kind]]) -> list[Facts]:
    """Return the facts of `files`, (path relative to `root`, kind)."""
    return [look(root / name, kind) for name, kind in files]


def _open(path: Path, kind: Kind, md5: str) -> Facts:
    if kind == "image":
        return Facts(md5, open_image(path).size)
    if kind == "mask":
        mask = read_mask(path)
        counts = np.bincount(mask.ravel(), minlength=IGNORE + 1)
        ids = tuple(np.flatnonzero(counts).tolist())
        return Facts(md5, mask.shape[::-1], ids, float(counts[IGNORE] / mask.size))
    if kind == "grey":
        grey = read_grey(path)
        return Facts(md5, grey.shape[::-1], (1,) if (grey >= SALIENT).any() else ())
    return Facts(md5)
