"""COCO's instance annotations as class masks and image labels.

The JSON is streamed, its annotations are dealt out to shards by image, and the shards are painted in parallel. Memory
does not grow with the annotations, and a killed conversion goes on with the shards that are missing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.acquire.coco_masks import Classed, CocoImage, paint
from seedbed.acquire.coco_shards import Shard, deal_out, refetch, shards_of
from seedbed.acquire.conversion import check_header, work_off
from seedbed.data.classes import COCO_CLASSES
from seedbed.data.masks import write_mask
from seedbed.errors import UserError
from seedbed.files import read_json, write_json, write_text

FETCH_IMAGES = "fetch the images again: they must be those of the annotations"
RULE = 1
"""Changes when the same JSON would give other masks: what an older program left unfinished is then begun anew."""

_STATE = ("finished.json", "dealt.json", "done-*.json", "images-*.jsonl", "annotations-*.jsonl")


@dataclass(frozen=True)
class CocoCounts:
    """What was converted: `images` = masks written, of which `labelled` are in the list; `crowds` of `annotations`."""

    images: int
    labelled: int
    annotations: int
    crowds: int


def convert_coco(
    instances: Path, target: Path, split: str, *, labels: Path, work: Path, images: Path | None = None, jobs: int = 1
) -> CocoCounts:
    """Turn COCO's instances_*.json into masks, a list of ids and image labels, in `jobs` processes (0 = one per core).

    Writes `target`/SegmentationClass/<id>.png for every image (ids are file names without suffix; see
    `coco_masks.paint` for who lies on top), `target`/ImageSets/Segmentation/`split`.txt with the ids that have a label,
    ascending, and adds {id: [class names]} to the JSON file `labels`. Class ids are 1..80 in the order of COCO's
    category ids; an image has the labels of all its annotations, crowds and those that cover no pixel too. So 82,081 of
    the 82,783 images of train2014 and 40,137 of the 40,504 of val2014 are in their lists.

    `images`: folder of <id>.jpg; where given, each must be there with the size that the JSON names. `work`: folder of
    the running state of this split alone. A killed conversion goes on there; a finished one leaves a marker, upon which
    the same call returns at once; the caller removes the folder.

    Raises UserError, naming file and entry, for JSON that is cut off or damaged, other categories, annotations of
    unknown images, and images that are missing or of another size. Finished shards are kept.
    """
    shards, path = shards_of(instances, work), _list_path(target, split)
    state = {"rule": RULE, "json": _digest(instances), "shards": len(shards)}
    finished = work / "finished.json"
    written = all(file.exists() for file in (path, labels, finished))
    if written and (done := read_json(finished))["state"] == state:
        return CocoCounts(**done["counts"])
    _prepare(instances, shards, work / "dealt.json", state)
    missing = [shard for shard in shards if not shard.result.exists()]
    painter = _PaintShard(instances, target, images)
    work_off(painter, missing, title=f"masks of {split}", unit="shards", done=len(shards) - len(missing), jobs=jobs)
    results = [read_json(shard.result) for shard in shards]
    found = {image_id: names for result in results for image_id, names in result["labels"].items()}
    _add_labels(labels, found)
    write_text(path, "".join(f"{image_id}\n" for image_id in sorted(found)))
    sums = {key: sum(result[key] for result in results) for key in ("images", "annotations", "crowds")}
    counts = CocoCounts(labelled=len(found), **sums)
    write_json(finished, {"state": state, "counts": vars(counts)})
    return counts


def _prepare(instances: Path, shards: Sequence[Shard], marker: Path, state: Mapping[str, Any]) -> None:
    """Deal `instances` out to `shards`, unless an earlier run with the same `state` has done so."""
    if marker.exists() and read_json(marker) == state:
        return
    marker.parent.mkdir(parents=True, exist_ok=True)
    for pattern in _STATE:
        for old in marker.parent.glob(pattern):
            old.unlink()
    deal_out(instances, shards, COCO_CLASSES)
    write_json(marker, state)


def _add_labels(path: Path, found: Mapping[str, Sequence[str]]) -> None:
    """Add `found` to the labels in `path`: one line for each image, by ascending id."""
    known = read_json(path, f"remove {path}, then run the same command again") if path.exists() else {}
    merged = {**known, **found}
    lines = (f"{json.dumps(image_id)}: {json.dumps(merged[image_id])}" for image_id in sorted(merged))
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _list_path(target: Path, split: str) -> Path:
    return target / "ImageSets" / "Segmentation" / f"{split}.txt"


def _digest(instances: Path) -> str:
    with instances.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()


@dataclass(frozen=True)
class _PaintShard:
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
