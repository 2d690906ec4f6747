"""COCO's instance JSON, read as a stream and dealt out to shards: all that belongs to an image is in one of them.

A shard is two files of lines, images and annotations, small enough to be worked off by one process. Only the ids and
the names of images are ever in memory together.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import ijson
from pydantic import ValidationError

from seedbed.acquire.coco_masks import Classed, CocoAnnotation, CocoCategory, CocoImage
from seedbed.errors import UserError
from seedbed.files import disk_errors
from seedbed.validation import describe_findings

SHARD_BYTES = 8 << 20
"""Share of the JSON that a shard gets: a process holds it whole, and a killed conversion loses as much."""

MOST_SHARDS = 256
"""All are open at once while annotations are dealt out."""

_BUFFER = 1 << 20
_DEEPEST = 16  # COCO itself has six levels

Entry = TypeVar("Entry", CocoCategory, CocoImage, CocoAnnotation)


def refetch(instances: Path) -> str:
    """Return what mends a damaged JSON file."""
    return f"fetch the annotations again: {instances.name} must be an intact COCO instances_*.json"


@dataclass(frozen=True)
class Shard:
    """Place of one shard below `folder`."""

    folder: Path
    number: int

    @property
    def images(self) -> Path:
        """Lines of JSON, one for each image."""
        return self.folder / f"images-{self.number:03d}.jsonl"

    @property
    def annotations(self) -> Path:
        """Lines `image id, tab, class id, tab, JSON`, in the order of the file."""
        return self.folder / f"annotations-{self.number:03d}.jsonl"

    @property
    def result(self) -> Path:
        """What the shard came to; it exists when all masks of the shard do."""
        return self.folder / f"done-{self.number:03d}.json"

    def read(self) -> Iterator[tuple[CocoImage, list[Classed]]]:
        """Yield each image with its annotations, parsed one image at a time."""
        entries = defaultdict(list)
        with self.annotations.open("rb") as stream:
            for line in stream:
                image_id, class_id, entry = line.split(b"\t")
                entries[int(image_id)].append((entry, int(class_id)))
        for line in self.images.read_bytes().splitlines():
            image = CocoImage.model_validate_json(line)
            found = entries.pop(image.id, [])
            yield image, [(CocoAnnotation.model_validate_json(entry), class_id) for entry, class_id in found]

    def remove(self) -> None:
        """Remove the lines; the result stays."""
        self.images.unlink(missing_ok=True)
        self.annotations.unlink(missing_ok=True)


def shards_of(instances: Path, folder: Path) -> list[Shard]:
    """Return the shards that `instances` is dealt out to: as many as its size asks for. Raises UserError without it."""
    if not instances.exists():
        raise UserError(f"{instances} does not exist", refetch(instances))
    count = min(1 + instances.stat().st_size // SHARD_BYTES, MOST_SHARDS)
    return [Shard(folder, number) for number in range(count)]


def deal_out(instances: Path, shards: Sequence[Shard], classes: Sequence[str]) -> None:
    """Write images and annotations of `instances` to `shards`.

    The whole file is checked first: raises UserError, naming the file and the entry, when it is cut off or no JSON,
    lacks a list, has other categories than `classes`, two images of one name, or an annotation of an unknown image or
    category.
    """
    _check_depth(instances)
    class_ids = _class_ids(instances, classes)
    known = _deal_images(instances, shards)
    with _open_all([shard.annotations for shard in shards]) as streams:
        for annotation in _entries(instances, "annotations", CocoAnnotation):
            where = f"{instances}: annotation {annotation.id}"
            if annotation.image_id not in known:
                raise UserError(f"{where} is of image {annotation.image_id}, which is not listed", refetch(instances))
            if annotation.category_id not in class_ids:
                raise UserError(f"{where} is of the unknown category {annotation.category_id}", refetch(instances))
            keys = annotation.image_id, class_ids[annotation.category_id]
            line = b"%d\t%d\t%s\n" % (*keys, annotation.model_dump_json().encode())
            streams[annotation.image_id % len(shards)].write(line)


def _class_ids(instances: Path, classes: Sequence[str]) -> dict[int, int]:
    """Return category id -> class id, 1..C in ascending order. Raises UserError unless the names are `classes`."""
    found = sorted(_entries(instances, "categories", CocoCategory), key=lambda category: category.id)
    names = [category.name for category in found]
    if names == list(classes):
        return {category.id: class_id for class_id, category in enumerate(found, 1)}
    lacking = [name for name in classes if name not in names]
    unknown = [name for name in names if name not in classes]
    findings = [f"unknown are {', '.join(unknown[:5])}"] if unknown else []
    findings += [f"lacking are {', '.join(lacking[:5])}"] if lacking else []
    raise UserError(
        f"{instances} does not have COCO's {len(classes)} categories ({'; '.join(findings) or 'their order differs'})",
        "take the instances_*.json of COCO 2014 or 2017",
    )


def _deal_images(instances: Path, shards: Sequence[Shard]) -> set[int]:
    """Write the entries of `images` to their shards, and return their ids."""
    known: set[int] = set()
    stems: set[str] = set()
    with _open_all([shard.images for shard in shards]) as streams:
        for image in _entries(instances, "images", CocoImage):
            if image.id in known or image.stem in stems:
                raise UserError(f"{instances} lists image {image.id} ({image.file_name}) twice", refetch(instances))
            known.add(image.id)
            stems.add(image.stem)
            streams[image.id % len(shards)].write(image.model_dump_json().encode() + b"\n")
    return known


def _entries(instances: Path, name: str, model: type[Entry]) -> Iterator[Entry]:
    """Yield the entries of the list `name`. Raises UserError when there is none, or when one is not as `model` says."""
    number = -1
    with _json_errors(instances), instances.open("rb") as stream:
        for number, entry in enumerate(ijson.items(stream, f"{name}.item", use_float=True, buf_size=_BUFFER)):
            try:
                yield model.model_validate(entry)
            except ValidationError as error:
                findings = "; ".join(describe_findings(error, model)[:3])
                raise UserError(f"{instances}: {name}[{number}] is damaged: {findings}", refetch(instances)) from None
    if number < 0:
        raise UserError(f"{instances} has no list '{name}', or an empty one", refetch(instances))


def _check_depth(instances: Path) -> None:
    """Read the file to its end. Raises UserError when it is cut off, no JSON, or nested deeper than COCO ever is.

    ijson keeps the path to every open bracket, so that a file of brackets alone would fill the memory.
    """
    depth = 0
    with _json_errors(instances), instances.open("rb") as stream:
        for event, _ in ijson.basic_parse(stream, use_float=True, buf_size=_BUFFER):
            if event in ("start_map", "start_array"):
                depth += 1
                if depth > _DEEPEST:
                    raise UserError(f"{instances} is nested deeper than any file of COCO", refetch(instances))
            elif event in ("end_map", "end_array"):
                depth -= 1


@contextlib.contextmanager
def _json_errors(instances: Path) -> Iterator[None]:
    try:
        yield
    except ijson.JSONError as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise UserError(f"{instances} is cut off or no JSON ({reason})", refetch(instances)) from None


@contextlib.contextmanager
def _open_all(paths: Sequence[Path]) -> Iterator[list[BinaryIO]]:
    with disk_errors(paths[0]), contextlib.ExitStack() as stack:
        yield [stack.enter_context(path.open("wb")) for path in paths]
