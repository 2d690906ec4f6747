"""Class maps of several images as tensors: what fusion rules work on.

Images of different sizes and numbers of classes share a batch: maps are padded with zeros, at the bottom right and
behind the last class. Rules give every image of a batch the pseudo-label that it has alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seedbed.errors import UserError

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.uint8]

_LEVELS = np.dtype(np.uint8)


class MappedImage(Protocol):
    """What rules read of an image: maps [K,H,W] of 0-based classes [K], and saliency uint8 [H,W] or None."""

    @property
    def name(self) -> str:
        """Id of the image, for people; may be empty."""

    @property
    def cams(self) -> Array:
        """Class maps [K,H,W] in 0..1, or levels of 8 bits."""

    @property
    def classes(self) -> Array:
        """Their 0-based classes [K], in any order."""

    @property
    def saliency(self) -> Mask | None:
        """Saliency uint8 [H,W]."""


class ClassMaps(NamedTuple):
    """A `MappedImage` and nothing else."""

    name: str
    cams: Array
    classes: Array
    saliency: Mask | None = None


@dataclass(frozen=True)
class MapBatch:
    """Class maps of N images, with K >= 1 maps of [H,W] each.

    `cams` [N,K,H,W]: scores in 0..1, float16 or float32, or levels of 8 bits (uint8); `ids` uint8 [N,K]: ids of masks,
    ascending, then 0 for maps that are padding; `saliency` uint8 [N,H,W] or None; `sizes`: (height, width) by image.
    """

    names: tuple[str, ...]
    cams: Tensor
    ids: Tensor
    saliency: Tensor | None
    sizes: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, images: Sequence[MappedImage], device: torch.device | None = None, saliency: bool = True) -> MapBatch:
        """Return `images` as a batch on `device` (None = CPU), without their saliency maps unless `saliency`.

        Raises UserError naming the image for a saliency map of another size than the class maps, and for one that is
        missing while another image has one.
        """
        classes = [np.asarray(image.classes) for image in images]
        orders = [np.argsort(one, kind="stable") for one in classes]
        cams = [_reordered(np.asarray(image.cams), order) for image, order in zip(images, orders, strict=True)]
        ids = [one[order] + 1 for one, order in zip(classes, orders, strict=True)]
        grey = _saliency_of(images) if saliency else None
        return cls(
            tuple(image.name for image in images),
            _padded(cams, _common_type(cams)).to(device),
            _padded(ids, _LEVELS).to(device),
            None if grey is None else _padded(grey, _LEVELS).to(device),
            tuple((one.shape[1], one.shape[2]) for one in cams),
        )

    @cached_property
    def inside(self) -> Tensor | None:
        """Where pixels are no padding, bool [N,H,W]; None when none is."""
        height, width = self.cams.shape[2:]
        if set(self.sizes) == {(height, width)}:
            return None
        sizes = torch.tensor(self.sizes, device=self.cams.device)[:, :, None]
        rows, columns = (torch.arange(extent, device=self.cams.device) for extent in (height, width))
        return (rows < sizes[:, 0])[:, :, None] & (columns < sizes[:, 1])[:, None, :]

    def check_numbers(self, scores: Tensor) -> None:
        """Raise UserError naming the image for which `scores` [N,...], NaN spreading, hold NaN or infinity."""
        broken = ~scores.flatten(1).amax(dim=1).isfinite()
        if broken.any():
            raise about(
                self.names[int(broken.nonzero()[0])],
                "the class maps hold NaN or infinity",
                "dvc repro -f seeds, after a look at the localiser's loss curve",
            )


def strongest(scores: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return per pixel the highest of `scores` [N,K,H,W] (float32 [N,H,W]) and which of the `ids` [N,K] has it (uint8).

    Ties go to the lower id (halbielee/EPS infer.py), never to padding. NaN spreads to the highest score.
    """
    scores = scores.float()
    highest = scores.amax(dim=1)
    # The sign of the difference, spread over a byte: 255 where a score is lower, 0 where it is the highest, so that the
    # class (255 of padding) comes through there. On the CPU comparisons take longer.
    lower = (scores - highest[:, None]).view(torch.int32).bitwise_right_shift_(31).to(torch.uint8)
    return highest, lower.bitwise_or_((ids - 1)[:, :, None, None]).amin(dim=1).add_(1)


def ignore(labels: Tensor, where: Tensor) -> Tensor:
    """Set `labels` uint8 [N,H,W] to ignore, in place, where the bool [N,H,W] says so; return them."""
    return labels.bitwise_or_(where.view(torch.uint8).neg())  # -1 is 255 in 8 bits: ignore, and every bit


def look_up(table: Tensor, levels: Tensor) -> Tensor:
    """Return the entries of a `table` [256] of every level (uint8), or of a table [N,K,256] per map [N,K,H,W]."""
    index = levels.int()
    if table.dim() > 1:
        start = torch.arange(0, table.numel(), table.shape[-1], dtype=torch.int32, device=table.device)
        index += start.reshape(*table.shape[:-1], 1, 1)
    return table.flatten().index_select(0, index.flatten()).reshape(levels.shape)


def about(name: str, message: str, fix: str) -> UserError:
    """Return the error about image `name`, if it has one."""
    return UserError(f"{name}: {message}" if name else message, fix)


def _reordered(cams: Array, order: Array) -> Array:
    """Return maps [K,H,W] in `order` [K], without a copy where they are so."""
    return cams if (order == np.arange(len(order))).all() else cams[order]


def _saliency_of(images: Sequence[MappedImage]) -> list[Mask] | None:
    """Return the saliency maps; None when no image has one."""
    if all(image.saliency is None for image in images):
        return None
    maps = []
    for image in images:
        if image.saliency is None:
            raise about(image.name, "no saliency map", "dvc repro predict-saliency")
        size, (height, width) = np.shape(image.cams)[1:], image.saliency.shape
        if (height, width) != size:
            message = f"saliency map of {width} x {height} pixels, class maps of {size[1]} x {size[0]}"
            raise about(image.name, message, "dvc repro -f predict-saliency")
        maps.append(image.saliency)
    return maps


def _common_type(cams: Sequence[Array]) -> np.dtype[Any]:
    """Return the type that holds all maps: float16 and 8-bit levels as they are, scores else as float32."""
    types = {one.dtype for one in cams}
    if len(types) > 1 and _LEVELS in types:
        raise ValueError("a batch holds either scores or levels of 8 bits")
    common = np.dtype(np.result_type(*types))
    return common if common in (_LEVELS, np.float16) else np.dtype(np.float32)


def _padded(arrays: Sequence[Array], dtype: np.dtype[Any]) -> Tensor:
    """Return arrays of different shapes as one tensor [N,...], padded with zeros; no extent is 0."""
    shape = tuple(np.max([one.shape for one in arrays], axis=0).clip(1))
    first = arrays[0]
    if len(arrays) == 1 and (first.shape, first.dtype) == (shape, dtype) and first.flags.carray:
        return torch.from_numpy(first[None])  # contiguous and writeable: no copy
    padded = np.zeros((len(arrays), *shape), dtype)
    for target, one in zip(padded, arrays, strict=True):
        target[tuple(map(slice, one.shape))] = one
    return torch.from_numpy(padded)
