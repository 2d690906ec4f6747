"""A shard of COCO as masks and labels, in a process of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seedbed.acquire.coco_masks import Classed, CocoImage, paint
from seedbed.acquire.coco_shards import Shard, refetch
from seedbed.acquire.headers import check_header
from seedbed.data.classes import COCO_CLASSES
from seedbed.data.masks import write_mask
from seedbed.errors import UserError
from seedbed.files import write_json

FETCH_IMAGES = "fetch the images again: they must be those of the annotations"


@dataclass(frozen=True)
class PaintShard:
    """Paints the images of a shard of `instances` into `target`, after a look at those in `images`."""

    instances: Path
    target: Path
    images: Path | None

    def __call__(self, shard: Shard) -> None:
        """Write the masks of `shard`, then its result."""
        labels: dict[str, list[str]] = {}
        sums: Counter[str] = Counter(images=0, annotations=0, crowds=0)
        for image, found in shard.read():
            self._write(image, found)
            if found:
                class_ids = {class_id for _, class_id in found}
                labels[image.stem] = [COCO_CLASSES[class_id - 1] for class_id in sorted(class_ids)]
            crowds = sum(annotation.iscrowd for annotation, _ in found)
            sums.update(images=1, annotations=len(found), crowds=crowds)
        write_json(shard.result, {**sums, "labels": labels})
        shard.remove()

    def _write(self, image: CocoImage, found: Sequence[Classed]) -> None:
        """Write the mask of `image`."""
        if self.images:
            path, size = self.images / f"{image.stem}.jpg", (image.width, image.height)
            check_header(path, size, self.instances, FETCH_IMAGES)
        try:
            mask = paint(image, found)
        except UserError as error:
            raise UserError(f"{self.instances}: {error.message}", refetch(self.instances)) from None
        write_mask(self.target / "SegmentationClass" / f"{image.stem}.png", mask)
