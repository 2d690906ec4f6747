"""From images to class maps: what every inference is given, and inference over scales (halbielee/EPS infer.py).

Published codes upsample the maps of all classes eight times per image. Here only labelled classes are upsampled, once
per scale: mirroring and summing commute with the interpolation. Images of one size, and their mirror images, are run
in passes of `seeds.batch`. The result is the same up to float rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from seedbed.data.augment import normalise, scaled_size
from seedbed.data.batches import ImageBatch, image_batches
from seedbed.errors import UserError
from seedbed.params import AugmentParams, SeedsParams

MapFunction = Callable[[Tensor], Tensor]
Seeds = Iterator[tuple[str, NDArray[np.float32], NDArray[np.int64]]]
"""(id, class maps [K,H,W] in 0..1 at image size, their 0-based classes [K] in ascending order) of image after image."""

_NORMALISATION_EPSILON = 1e-5


@dataclass(frozen=True)
class Job:
    """What an inference is given.

    `network`: the trained localiser; `class_maps`: turns its raw maps [N,M,h,w] into the maps [N,C,h,w] to be merged;
    `augment`: the localiser's, for its input size; `paths`: id -> file of the images to do; `training`: id -> file of
    all training images, in list order; `labels`: id -> 0/1 vector [C] of all of them; `seed`: of random choices.
    """

    network: nn.Module
    class_maps: MapFunction
    params: SeedsParams
    augment: AugmentParams
    device: torch.device
    paths: Mapping[str, Path]
    training: Mapping[str, Path]
    labels: Mapping[str, NDArray[Any]]
    seed: int


Inference = Callable[[Job], Seeds]
"""Yields the seeds of every image of a job. What it makes of an image depends on neither the others nor their order."""


def infer_multi_scale(job: Job) -> Seeds:
    """Infer over scales and mirror images; see `MultiScale` and `infer_seeds`."""
    return infer_seeds(MultiScale(job.network, job.class_maps, job.params, job.device), job.paths, job.labels)


def merge_scales(maps: Sequence[Tensor], mirrored: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Merge the maps of one image over scales and normalise every class by its maximum.

    maps: one non-negative [K,h,w] per scale, labelled classes only; mirrored: the same of the mirror image (still
    mirrored), or empty; size: (H, W) of the result. Returns float32 [K,H,W] in 0..1: the sum divided by (spatial
    maximum + 1e-5).
    """
    total = maps[0].new_zeros((maps[0].shape[0], *size), dtype=torch.float32)
    if not total.numel():  # an image without labels; interpolation refuses zero channels
        return total
    for index, scale_maps in enumerate(maps):
        both = scale_maps.float()
        if mirrored:
            both = both + mirrored[index].float().flip(-1)
        total += nn.functional.interpolate(both[None], size=size, mode="bilinear", align_corners=False)[0]
    return total / (total.amax(dim=(1, 2), keepdim=True) + _NORMALISATION_EPSILON)


class MultiScale:
    """Class maps of images by one network: `class_maps` turns its raw maps into non-negative maps of the C classes."""

    def __init__(self, network: nn.Module, class_maps: MapFunction, params: SeedsParams, device: torch.device) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last).eval()
        self.class_maps = class_maps
        self.params = params
        self.device = device

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image.Image], classes: Sequence[np.ndarray]) -> list[Tensor]:
        """Return float32 maps [K_i,H,W] in 0..1 of images of one size; classes[i] [K_i]: their labelled classes."""
        width, height = images[0].size
        chosen = [torch.as_tensor(indices, device=self.device) for indices in classes]
        plain: list[list[Tensor]] = [[] for _ in images]
        mirrored: list[list[Tensor]] = [[] for _ in images]
        unit = self.params.long_side / max(width, height) if self.params.long_side else 1.0
        for scale in self.params.scales:
            batch = self._network_input(images, scaled_size((width, height), unit * scale))
            maps = self._forward(torch.cat([batch, batch.flip(-1)]) if self.params.flip else batch)
            for i, indices in enumerate(chosen):
                plain[i].append(maps[i, indices])
                if self.params.flip:
                    mirrored[i].append(maps[len(images) + i, indices])
        return [merge_scales(plain[i], mirrored[i], (height, width)) for i in range(len(images))]

    def _network_input(self, images: Sequence[Image.Image], size: tuple[int, int]) -> Tensor:
        resized = [image.resize(size, Image.Resampling.BICUBIC) for image in images]
        batch = torch.stack([normalise(image) for image in resized])
        return batch.to(self.device, memory_format=torch.channels_last)

    def _forward(self, batch: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.params.precision == "bf16"):
            maps = torch.cat([self.network(part) for part in batch.split(self.params.batch)])
        return self.class_maps(maps.float())


def infer_seeds(multi_scale: MultiScale, paths: Mapping[str, Path], labels: Mapping[str, NDArray[Any]]) -> Seeds:
    """Yield the seeds of every image of `paths`.

    labels: id -> 0/1 vector [C]. Images come grouped by size. An image without any label yields K = 0. Raises UserError
    when an image has no entry in `labels` or its maps are not finite.
    """
    check_labels(paths, labels)
    for batch in image_batches(paths, multi_scale.params.batch):
        yield from _infer_batch(multi_scale, batch, labels)


def _infer_batch(multi_scale: MultiScale, batch: ImageBatch, labels: Mapping[str, NDArray[Any]]) -> Seeds:
    classes = [labelled(labels[name]) for name in batch.ids]
    for name, indices, maps in zip(batch.ids, classes, multi_scale(batch.images, classes), strict=True):
        check_finite(maps, name)
        yield name, maps.cpu().numpy(), indices


def labelled(label: NDArray[Any]) -> NDArray[np.int64]:
    """Return the 0-based classes [K] of a 0/1 vector [C], in ascending order."""
    return np.flatnonzero(label).astype(np.int64)


def check_labels(ids: Collection[str], labels: Mapping[str, NDArray[Any]]) -> None:
    """Raise UserError unless every image has an entry in `labels`."""
    unlabelled = [name for name in ids if name not in labels]
    if unlabelled:
        raise UserError(
            f"image {unlabelled[0]} (and {len(unlabelled) - 1} more) has no image labels", "seedbed data check"
        )


def check_finite(maps: Tensor, name: str) -> None:
    """Raise UserError when the maps of image `name` hold NaN or infinity."""
    if not torch.isfinite(maps).all():
        raise UserError(
            f"the class maps of image {name} are not finite: the localiser's weights are broken",
            "train the localiser again with a smaller learning rate",
        )
