"""Class maps from what an image shares with related images and with copies of itself (MCIS).

For every labelled class the image is paired with a few images that show it; further pairs are the image with its mirror
image and with copies of 0.75 and 2 times its size. What the images of a pair have in common makes five maps per class,
which are merged and brought to 8 bits as the published code does (GuoleiSun/MCIS_wsss Classifier/scripts/test.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seedbed.data.augment import SAMPLING, normalise
from seedbed.data.batches import ahead
from seedbed.data.images import Size, read_rgb
from seedbed.data.pairs import Relations, views
from seedbed.seeds.inference import Job, Seeds, check_finite, check_labels, labelled

_GATE = 0.1  # least probability of a class, by the mean of its map, for the map to count
_NORMALISATION_EPSILON = 1e-8


class PairNetwork(Protocol):
    """What the inference needs of a localiser that looks at pairs (`seedbed.nn.coattention.PairLocaliser`)."""

    def features(self, x: Tensor) -> Tensor:
        """Return features [N,D,h,w] of images [N,3,H,W]."""

    def common_maps(self, f1: Tensor, f2: Tensor) -> tuple[Tensor, Tensor]:
        """Return raw class maps [N,C,h,w] of what two images have in common, on the grids of their features."""


def aggregate(related: Tensor, mirrored1: Tensor, mirrored2: Tensor, small2: Tensor, large2: Tensor) -> Tensor:
    """Merge raw maps of the K labelled classes of an image: uint8 [K,h,w].

    related [K,R,K,h,w]: on the grid of the image, from its pair with related image r of class k, channel by channel;
    mirrored1, mirrored2 [K,h,w]: from the pair with the mirror image, the second still mirrored; small2, large2: on the
    grids of the copies of other sizes. A map is clipped at 0 and divided by its maximum; all but the first count only
    where the sigmoid of their mean exceeds 0.1, and the sum is divided by five all the same. Decimals are cut off.
    """
    maps = torch.stack(
        [
            mirrored1,
            mirrored2.flip(-1),
            _resize(small2, mirrored1.shape[1:]),
            _resize(large2, mirrored1.shape[1:]),
            related.mean(dim=1).diagonal().movedim(-1, 0),
        ]
    )
    counts = torch.sigmoid(maps.mean(dim=(2, 3), keepdim=True)) > _GATE
    counts[0] = True
    clipped = maps.clamp(min=0)
    levels = clipped / (clipped.amax(dim=(2, 3), keepdim=True) + _NORMALISATION_EPSILON) * 255
    return ((levels * counts).sum(dim=0) / len(maps)).to(torch.uint8)


def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps uint8 [K,h,w] at `size` (H, W), uint8: OpenCV's bicubic interpolation, rounded."""
    return _resize(maps.float(), size).round().clamp(0, 255).to(torch.uint8)


def _resize(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    return nn.functional.interpolate(maps[None], size=tuple(size), mode="bicubic", align_corners=False)[0]


@dataclass(frozen=True)
class Paired:
    """An image as the network is shown it.

    `size`: (width, height) of the file; `classes`: labelled ones [K]; `same`: the square image, its mirror image and R
    related images per class, [2 + K R,3,S,S]; `small`, `large`: copies [1,3,s,s] of other sizes.
    """

    name: str
    size: Size
    classes: NDArray[np.int64]
    same: Tensor
    small: Tensor
    large: Tensor


class PairReader:
    """Reads an image of a job with its related images, drawn with repetitions from `(seed, place in the list)`."""

    def __init__(self, job: Job) -> None:
        check_labels({**job.training, **job.paths}, job.labels)
        self.job = job
        self.sampling = SAMPLING[job.augment.interpolation]
        self.ids = list(job.training)
        self.place = {name: index for index, name in enumerate(self.ids)}
        self.relations = Relations(np.stack([job.labels[name] for name in self.ids]))

    def __call__(self, name: str) -> Paired:
        """Return image `name`. Raises UserError for files that cannot be read."""
        job = self.job
        image, classes = read_rgb(job.paths[name]), labelled(job.labels[name])
        copies = views(image, job.augment.crop, self.sampling)
        related = [self._square(job.training[other]) for other in self.related(name, classes)]
        same = torch.stack([copies["base"], copies["mirrored"], *related])
        return Paired(name, image.size, classes, same, copies["small"][None], copies["large"][None])

    def related(self, name: str, classes: NDArray[Any]) -> list[str]:
        """Return the images that `name` is paired with, `params.related` for each of the classes, in their order."""
        rng = np.random.default_rng((self.job.seed, self.place[name]))
        count = self.job.params.related
        return [self.ids[index] for one in classes for index in self.relations.related(rng, int(one), count)]

    def _square(self, path: Path) -> Tensor:
        side = self.job.augment.crop
        return normalise(read_rgb(path).resize((side, side), self.sampling))


def infer_related(job: Job) -> Seeds:
    """Infer over related images and copies; the network is a `PairNetwork`.

    The maps are levels of 8 bits, divided by 255. An image without any label yields K = 0. Raises UserError when an
    image has no entry in `labels` or its maps are not finite.
    """
    network = job.network.to(job.device).to(memory_format=torch.channels_last).eval()
    for item in ahead(job.paths, PairReader(job)):
        width, height = item.size
        if len(item.classes):
            maps = enlarge(_merged(cast(PairNetwork, network), item, job), (height, width))
            yield item.name, (maps.float() / 255).cpu().numpy(), item.classes
        else:
            yield item.name, np.zeros((0, height, width), np.float32), item.classes


@torch.inference_mode()
def _merged(network: PairNetwork, item: Paired, job: Job) -> Tensor:
    """Return the merged maps uint8 [K,h,w] of one image."""
    count, chosen = len(item.classes), torch.as_tensor(item.classes, device=job.device)

    def features(images: Tensor) -> Tensor:
        passes = images.to(job.device, memory_format=torch.channels_last).split(job.params.batch)
        return torch.cat([network.features(part) for part in passes])

    def common(second: Tensor) -> tuple[Tensor, Tensor]:
        maps = network.common_maps(own.expand(len(second), -1, -1, -1), second)
        first, other = (job.class_maps(one.float())[:, chosen] for one in maps)
        return first, other

    with torch.autocast(job.device.type, dtype=torch.bfloat16, enabled=job.params.precision == "bf16"):
        own, mirrored, related = features(item.same).split([1, 1, len(item.same) - 2])
        (mirrored1,), (mirrored2,) = common(mirrored)
        raw = {
            "related": common(related)[0].unflatten(0, (count, -1)),
            "mirrored1": mirrored1,
            "mirrored2": mirrored2,
            "small2": common(features(item.small))[1][0],
            "large2": common(features(item.large))[1][0],
        }
    for maps in raw.values():
        check_finite(maps, item.name)
    return aggregate(**raw)
