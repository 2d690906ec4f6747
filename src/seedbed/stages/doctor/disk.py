"""Free space where data, DVC's cache and the library lie, against what the maps of these parameters take."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from seedbed.data.batches import image_size
from seedbed.data.voc import VocData
from seedbed.errors import UserError
from seedbed.params import Params
from seedbed.paths import Paths
from seedbed.stages.doctor.line import Line, listed, note, ok, problem

_LOOKED_AT = 32
"""Training images whose size and number of classes stand for all."""
_FLOAT16 = 2
_PNG = 0.3
"""Bytes per pixel of a saliency map as PNG, pseudo-label and prediction with it; photographs take less than this."""
_LOW = 2 * 2**30
"""Free bytes below which checkpoints, reports and MLflow's database may no longer fit."""


def probe_disk(places: Mapping[str, Path]) -> list[Line]:
    """Look at the file systems of `places` (name -> folder, which need not exist yet)."""
    systems: dict[int, list[str]] = {}
    for name, place in places.items():
        systems.setdefault(existing(place).stat().st_dev, []).append(name)
    usages = [(shutil.disk_usage(existing(places[names[0]])), names) for names in systems.values()]
    return [space_line(usage.free, usage.total, names) for usage, names in usages]


def probe_maps(paths: Paths, params: Params) -> list[Line]:
    """Compare what the maps of these parameters still take with what is free."""
    free = shutil.disk_usage(paths.root).free
    try:
        return [maps_line(missing_maps(paths, params), free)]
    except UserError:  # the group of the data says what is wrong
        return []


def space_line(free: int, total: int, names: Sequence[str]) -> Line:
    """Judge what is free on the file system that `names` lie on."""
    what = f"{_gib(free)} of {_gib(total)} free for {listed(list(names))}"
    return ok(what) if free >= _LOW else note(what, "remove what is not needed: dvc gc --workspace, old archives")


def maps_line(needed: int, free: int) -> Line:
    """Judge whether `needed` more bytes of maps fit into `free` ones."""
    if needed <= free:
        return ok(f"the maps of these parameters take roughly {_gib(needed)} more")
    return problem(
        f"the maps of these parameters take roughly {_gib(needed)} more, {_gib(free)} are free",
        "free some space, or name fewer methods in params.yaml",
    )


def missing_maps(paths: Paths, params: Params) -> int:
    """Return roughly how many bytes the maps of all methods still take: seeds, saliency maps, pseudo-labels.

    Size and classes of some images stand for all. Raises UserError when lists, labels or images cannot be read.
    """
    voc = VocData(paths.data, params.data)
    train, val = voc.ids(params.data.train), voc.ids(params.data.val)
    sample = train[:: max(1, len(train) // _LOOKED_AT)]
    labels = voc.labels(sample)
    areas = {image_id: _area(voc.image_path(image_id)) for image_id in sample}
    area = sum(areas.values()) / len(sample)
    seeds = len(train) * _FLOAT16 * sum(areas[name] * float(labels[name].sum()) for name in sample) / len(sample)
    methods = [name for name in params.methods if not paths.seeds(name).is_dir()]
    pictures = 0 if paths.saliency_maps().is_dir() else len(train) + len(val)
    return round(len(methods) * seeds + pictures * area * _PNG)


def existing(place: Path) -> Path:
    """Return `place`, or the nearest folder above it that exists."""
    place = place.absolute()
    return next(folder for folder in (place, *place.parents) if folder.exists())


def _area(path: Path) -> int:
    width, height = image_size(path)
    return width * height


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
