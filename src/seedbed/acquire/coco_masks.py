"""One image of COCO: what its entries must hold, and how its annotations become a mask."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle
from pydantic import BaseModel, ConfigDict, Field

from seedbed import IGNORE
from seedbed.errors import UserError

MAX_SIDE = 1 << 14
"""Longest side of an image, pixels. Larger numbers are damage, and would ask for gigabytes."""

_LEAST_RING = 6  # numbers: three points

Id = Annotated[int, Field(ge=0, lt=1 << 63)]
Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]


class _Entry(BaseModel):
    """An entry of a list of COCO's JSON. Keys that nothing here needs are passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class CocoCategory(_Entry):
    """An entry of `categories`."""

    id: Id
    name: str


class CocoImage(_Entry):
    """An entry of `images`. Its name without suffix is the id of the image here."""

    id: Id
    file_name: Annotated[str, Field(pattern=r"^\w[\w.-]*\.\w+$")]
    width: Side
    height: Side

    @property
    def stem(self) -> str:
        """The file name without suffix."""
        return self.file_name.rpartition(".")[0]


class RunLengths(_Entry):
    """A region as lengths of runs, column by column, the first of background: a list, or COCO's compressed string."""

    size: Annotated[list[Side], Field(min_length=2, max_length=2)]
    counts: list[Annotated[int, Field(ge=0, le=MAX_SIDE**2)]] | str


class CocoAnnotation(_Entry):
    """An entry of `annotations`: rings of x, y, x, y, ... in pixels, or run lengths."""

    id: Id
    image_id: int
    category_id: int
    iscrowd: Literal[0, 1] = 0
    segmentation: list[list[float]] | RunLengths


Classed = tuple[CocoAnnotation, int]
"""An annotation and its class id, 1..C."""


def paint(image: CocoImage, annotations: Sequence[Classed]) -> NDArray[np.uint8]:
    """Return the mask of `image`, uint8 [H,W], from its annotations.

    Objects are painted by descending area (in pixels), those of equal area by ascending annotation id: the smaller lies
    on top. Crowds are 255 where no object lies. What is outside the image is cut off; a ring of fewer than three points
    covers nothing. Raises UserError, naming the annotation, for run lengths of another size and for rings that no image
    of this size has.
    """
    crowds: list[dict[str, object]] = []
    objects: list[tuple[int, int, dict[str, object], int]] = []
    for annotation, class_id in annotations:
        region = _region(annotation, image)
        if region is None:
            continue
        if annotation.iscrowd:
            crowds.append(region)
        else:
            objects.append((-int(rle.area(region)), annotation.id, region, class_id))
    # Columns first, as pycocotools decodes: both sides of the copy are then contiguous.
    mask = np.zeros((image.height, image.width), np.uint8, order="F")
    for region in crowds:
        np.copyto(mask, np.uint8(IGNORE), where=_pixels(region))
    for _, _, region, class_id in sorted(objects, key=lambda found: found[:2]):
        np.copyto(mask, np.uint8(class_id), where=_pixels(region))
    return mask


def _region(annotation: CocoAnnotation, image: CocoImage) -> dict[str, object] | None:
    """Return the region of `annotation` as pycocotools' compressed run lengths; None where it has no extent."""
    given = annotation.segmentation
    if isinstance(given, RunLengths):
        return _from_runs(given, annotation, image)
    # pycocotools would take a ring of two points for a box.
    rings = [ring for ring in given if len(ring) >= _LEAST_RING]
    for ring in given:
        if len(ring) % 2:
            raise _damaged(annotation, image, f"has a ring of {len(ring)} numbers, which are no pairs of x and y")
        points = np.asarray(ring).reshape(-1, 2)
        side = (image.width, image.height)
        if ((points < np.negative(side)) | (points > np.multiply(side, 2))).any():
            raise _damaged(annotation, image, "lies further outside than the image is wide or high")
    return rle.merge(rle.frPyObjects(rings, image.height, image.width)) if rings else None


def _from_runs(runs: RunLengths, annotation: CocoAnnotation, image: CocoImage) -> dict[str, object]:
    if runs.size != [image.height, image.width]:
        raise _damaged(annotation, image, f"has run lengths for {runs.size[1]}x{runs.size[0]} pixels")
    if isinstance(runs.counts, str):
        packed: dict[str, object] = {"size": runs.size, "counts": runs.counts.encode()}
    else:
        if sum(runs.counts) != image.width * image.height:
            raise _damaged(annotation, image, f"has run lengths for {sum(runs.counts)} pixels")
        packed = rle.frPyObjects(runs.model_dump(), image.height, image.width)
    try:
        _pixels(packed)
    except ValueError:
        raise _damaged(annotation, image, "has run lengths that cannot be decoded") from None
    return packed


def _pixels(region: dict[str, object]) -> NDArray[np.bool_]:
    """Return what `region` covers, bool [H,W]. Raises ValueError for run lengths that do not fit."""
    with warnings.catch_warnings():
        # pycocotools hands its memory over in a way that NumPy 2 warns of.
        warnings.simplefilter("ignore", DeprecationWarning)
        return rle.decode(region).view(bool)


def _damaged(annotation: CocoAnnotation, image: CocoImage, finding: str) -> UserError:
    return UserError(
        f"annotation {annotation.id} of image {image.file_name} ({image.width}x{image.height} pixels) {finding}"
    )
