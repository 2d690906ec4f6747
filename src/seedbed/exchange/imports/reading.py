"""Reading the files of a source: one file an image, matched by name, each taken or refused with a reason."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, UnidentifiedImageError

from seedbed.data.batches import image_size
from seedbed.data.images import Size
from seedbed.data.voc import VocData
from seedbed.errors import UserError
from seedbed.exchange.imports.findings import Imported, Outcome, Tally
from seedbed.exchange.sources import Member, match, members
from seedbed.exchange.work import work_through

ASPECT = 0.02
"""How far the aspect ratio of a map may be off that of its image."""
RESIZED = "resized to the image (Pillow bilinear)"
STRETCHED = "square, as a network made it: stretched to the image (Pillow bilinear)"

_FORMATS = ("PNG", "JPEG", "BMP")
_DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
_CHUNK = 32  # images: what they become may come back whole


@dataclass(frozen=True)
class Item:
    """An image, the files that stand for it, and what else its conversion needs to know."""

    image_id: str
    files: list[Member]
    given: Any = None


Convert = Callable[[Item, bytes, Size], tuple[Any, tuple[str, ...]]]
"""(image, content of its file, width and height of the image) -> what is taken of it, and notes. Raises UserError."""


@dataclass(frozen=True)
class Reader:
    """An import of files: `source`, the images `ids` that are wanted of `voc`, the worker processes."""

    voc: VocData
    ids: Sequence[str]
    source: Path
    jobs: int = 1

    def run(
        self,
        convert: Convert,
        written: Path,
        suffixes: Collection[str],
        endings: Collection[str] = (),
        given: Mapping[str, Any] | None = None,
        take: Callable[[Outcome], object] = lambda outcome: None,
    ) -> Imported:
        """Convert the file of every image, hand what came of it to `take`, and return the findings.

        Files end in one of `suffixes`; between id and suffix may stand one of `endings`. `convert` runs in other
        processes and is told what is `given` of the image; `take` runs in this one, in the order of the ids. Raises
        UserError when nothing was taken.
        """
        found = match(members(self.source, suffixes), self.ids, endings)
        tally = Tally(self.source, "files are matched by name, <id>.<suffix>")
        given = given or {}
        items = [Item(image_id, files, given.get(image_id)) for image_id, files in found.of_image.items()]
        for outcomes in work_through(f"import {written.name}", _Work(self.voc, convert), items, self.jobs, _CHUNK):
            for outcome in tally.add(outcomes):
                take(outcome)
        tally.require_sound(len(self.ids))
        return tally.imported(found.missed, found.extra, written)


@dataclass(frozen=True)
class _Work:
    """Reads and converts the files of some images."""

    voc: VocData
    convert: Convert

    def __call__(self, items: Sequence[Item]) -> list[Outcome]:
        return [self._outcome(item) for item in items]

    def _outcome(self, item: Item) -> Outcome:
        first = item.files[0]
        if len(item.files) > 1:
            reason = f"{len(item.files)} files stand for {item.image_id}, the first is {first.path}: keep one of them"
            refused = tuple((str(file), reason) for file in item.files)
            return Outcome(item.image_id, refused=refused, fix=_one_folder(item.files))
        try:
            size = image_size(self.voc.image_path(item.image_id))
            value, notes = self.convert(item, first.read(), size)
        except UserError as error:
            return Outcome.of_error(item.image_id, str(first), error)
        return Outcome(item.image_id, value, notes)


def _one_folder(files: Sequence[Member]) -> str | None:
    """Return how to settle which of several files of an image is meant, where they lie in different folders."""
    folders = sorted({str(PurePosixPath(file.path).parent) for file in files})
    if len(folders) == 1:
        return None
    source = files[0].source
    listed = " or ".join(str(source / folder) for folder in folders)
    return f"give the one folder that holds what is meant: {listed}" + ("" if source.is_dir() else ", unpacked")


def decode(content: bytes) -> Image.Image:
    """Return the image in the bytes of a PNG, JPEG or BMP, decoded. Raises UserError when it is damaged or huge."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
            image.load()
        return image
    except UnidentifiedImageError:  # its message names an object in memory
        raise UserError("is no PNG, JPEG or BMP image" if content else "is empty") from None
    except _DAMAGE as error:
        raise UserError(f"cannot be decoded ({error})") from None


def fit(found: Size, size: Size) -> tuple[str, ...]:
    """Return what must be said of a map of size `found` that is brought to the `size` of its image; nothing if equal.

    Raises UserError when its aspect ratio is off by more than `ASPECT`; a square map passes, as networks that warp
    their input make it.
    """
    (w, h), (width, height) = found, size
    if (w, h) == (width, height):
        return ()
    if abs(w * height / (h * width) - 1) <= ASPECT:
        return (RESIZED,)
    if w == h:
        return (STRETCHED,)
    raise UserError(f"is {w}x{h} pixels, but its image {width}x{height}: another aspect ratio")
