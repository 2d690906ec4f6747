"""The check of a data set: every file read and compared with the record, every image opened, every finding named."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from seedbed import IGNORE
from seedbed.data.images import Size, check_size
from seedbed.data.labels import Labels
from seedbed.data.masks import check_ids
from seedbed.data.saliency_sets import SaliencySet
from seedbed.data.voc import VocData
from seedbed.errors import UserError
from seedbed.intake.facts import Facts, Kind
from seedbed.intake.inspection import inspect
from seedbed.intake.inventory import REFUSED, Inventory, Stamp, take_inventory
from seedbed.intake.memory import Memory
from seedbed.intake.record import Changes, Record, differences
from seedbed.params import DataParams

Severity = Literal["error", "warning"]
T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """Something wrong with `file` (relative to the data folder). With an error among them, the data are unusable."""

    file: str
    finding: str
    severity: Severity = "error"


@dataclass(frozen=True)
class Checked:
    """A check that is done."""

    report: dict[str, Any]
    """What `check_data` says."""
    files: Mapping[str, Stamp]
    """Every file of the data folder, by path relative to it."""
    facts: Mapping[str, Facts]
    """What each of them shows."""
    labels: Labels
    """Image labels of the training images; empty where they cannot be read."""
    differences: Changes
    """How data/ differs from its record, if it has one."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an image and its mask show."""

    size: Size | None = None
    digest: str | None = None
    """Hash of the image file: equal images under different names."""
    classes: tuple[int, ...] | None = None
    """Class indices that occur in the mask; None without a usable mask."""
    ignored: float = 0.0
    """Fraction of the mask that is 255."""


@dataclass(frozen=True)
class Pairs:
    """Files of a saliency set by id."""

    images: Mapping[str, Path]
    masks: Mapping[str, Path]

    @property
    def ids(self) -> list[str]:
        """Ids that have both."""
        return sorted(self.images.keys() & self.masks.keys())


@dataclass
class _Check:
    """A check in progress."""

    data: VocData
    inventory: Inventory
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Facts] = field(default_factory=dict)

    def name(self, file: Path) -> str:
        """Return `file` relative to the data folder."""
        root = self.data.root
        return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.as_posix()

    def add(self, file: Path, finding: str, severity: Severity = "error") -> None:
        self.findings.append(Finding(self.name(file), finding, severity))

    def attempt(self, file: Path, read: Callable[[], T], default: T) -> T:
        """Return what `read` returns; a UserError becomes a finding, and the result `default`.

        Nothing is read where there is a link or a pipe: a finding names that already, and reading it may never end.
        """
        name = self.name(file)
        if any(one == name or one.startswith(f"{name}/") for one in self.inventory.refused):
            return default
        try:
            return read()
        except UserError as error:
            self.add(file, error.message.replace(str(file), file.name))
            return default

    def seen(self, file: Path) -> Facts | None:
        """Return the facts of `file`; None where it is not below the data folder."""
        return self.facts.get(self.name(file))


def check_data(
    root: Path,
    params: DataParams,
    jobs: int = 1,
    memory: Path | None = None,
    fresh: bool = False,
    agreed: Record | None = None,
) -> Checked:
    """Read every file below `root`, open every image that `params` names, in `jobs` processes (0 = one per core).

    Files that `memory` (a file) knows unchanged from an earlier check are not read again, unless `fresh`. Whatever
    differs from the record `agreed` is an error. The report is {data, usable, verified, label_source, classes, splits:
    {list: {images, masks, sizes, ignored, classes: {name: n}}}, saliency: {set: {pairs, sizes}}, errors, warnings,
    findings: [{file, finding, severity}]}. Nothing is raised for the data's sake: `usable` is false when a finding is
    an error.
    """
    check = _Check(VocData(root, params), take_inventory(root))
    ids = {split: _listed(check, split) for split in dict.fromkeys((params.train, params.val))}
    train_set = [params.saliency_train] if params.saliency_train else []
    pairs = {name: _pairs(check, root / name) for name in dict.fromkeys([*train_set, *params.saliency_test])}
    kinds = dict(_kinds(check, ids, pairs))
    with Memory(memory, fresh) as known:
        check.facts = inspect(root, check.inventory.files, kinds, known, jobs or len(os.sched_getaffinity(0)))
    changed = _check_files(check, agreed)
    source = check.attempt(root, check.data.label_source, "")
    splits = {split: _check_split(check, split, ids[split], source) for split in ids}
    labels = _check_labels(check, splits[params.train], source)
    saliency = {name: _check_pairs(check, found) for name, found in pairs.items()}
    _check_leakage(check, params, splits, saliency)
    return Checked(
        _report(check, source, splits, saliency, verified=agreed is not None and not changed),
        check.inventory.files,
        check.facts,
        labels,
        changed,
    )


def _report(
    check: _Check,
    source: str,
    splits: Mapping[str, Mapping[str, Inspection]],
    saliency: Mapping[str, Mapping[str, Inspection]],
    verified: bool,
) -> dict[str, Any]:
    findings = sorted(check.findings, key=lambda finding: (finding.severity, finding.file, finding.finding))
    errors = sum(finding.severity == "error" for finding in findings)
    return {
        "data": check.data.params.name,
        "usable": errors == 0,
        "verified": verified,
        "label_source": source,
        "classes": list(check.data.classes),
        "splits": {name: _summary(check.data, inspections) for name, inspections in splits.items()},
        "saliency": {name: {"pairs": len(pairs), "sizes": _sizes(pairs)} for name, pairs in saliency.items()},
        "errors": errors,
        "warnings": len(findings) - errors,
        "findings": [vars(finding) for finding in findings],
    }


def _listed(check: _Check, split: str) -> list[str]:
    path = check.data.voc / "ImageSets" / "Segmentation" / f"{split}.txt"
    return check.attempt(path, lambda: check.data.ids(split), [])


def _pairs(check: _Check, folder: Path) -> Pairs:
    found = SaliencySet(folder)
    images: Mapping[str, Path] = check.attempt(folder / "Images", lambda: found.image_paths, {})
    masks: Mapping[str, Path] = check.attempt(folder / "Masks", lambda: found.mask_paths, {})
    return Pairs(images, masks)


def _kinds(check: _Check, ids: Mapping[str, Sequence[str]], pairs: Mapping[str, Pairs]) -> Iterator[tuple[str, Kind]]:
    """Yield the name of every file that is more than read, and how it is opened."""
    for listed in ids.values():
        for image_id in listed:
            yield check.name(check.data.image_path(image_id)), "image"
            yield check.name(check.data.mask_path(image_id)), "mask"
    for found in pairs.values():
        for image_id in found.ids:
            yield check.name(found.images[image_id]), "image"
            yield check.name(found.masks[image_id]), "grey"


def _check_files(check: _Check, agreed: Record | None) -> Changes:
    """Name links, files that cannot be read or opened, and files that are not the recorded ones."""
    root = check.data.root
    if root.is_symlink():
        check.add(root, REFUSED["link"])
    check.findings += [Finding(name, REFUSED[kind]) for name, kind in check.inventory.refused.items()]
    check.findings += [Finding(name, seen.fault) for name, seen in check.facts.items() if seen.fault]
    if agreed is None:
        return Changes()
    changed = differences(agreed, {name: seen.md5 for name, seen in check.facts.items()})
    kinds = {"is not as recorded": changed.modified, "is gone": changed.missing, "is not in the record": changed.added}
    check.findings += [Finding(name, what) for what, names in kinds.items() for name in names]
    if not changed.listed:
        check.add(root, f"is not what data.dvc records: {changed}")
    return changed


def _check_split(check: _Check, split: str, ids: Sequence[str], source: str) -> dict[str, Inspection]:
    """Look at images and masks of a list: all there, of one size, with known classes. Training masks may be missing."""
    data, train = check.data, split == check.data.params.train
    inspections = {image_id: _inspect(check, image_id, optional=train) for image_id in ids}
    unmasked = [image_id for image_id in ids if train and not data.mask_path(image_id).exists()]
    if unmasked:
        severity: Severity = "error" if source == "masks" else "warning"
        check.add(data.voc / data.params.masks, _unmasked(unmasked, ids), severity)
    shown = Counter(index for inspection in inspections.values() for index in inspection.classes or ())
    if len(unmasked) < len(ids):
        for index, name in enumerate(data.classes):
            if not shown[index]:
                check.add(data.voc / data.params.masks, f"no mask of {split} shows class '{name}'", "warning")
    return inspections


def _inspect(check: _Check, image_id: str, optional: bool) -> Inspection:
    """Look at one image and its mask, which may be missing where it is `optional`."""
    data = check.data
    path, mask_path = data.image_path(image_id), data.mask_path(image_id)
    image, mask = check.seen(path), check.seen(mask_path)
    if image is None:
        check.attempt(path, lambda: data.image(image_id), None)
        image = Facts("")
    if mask is None and not optional:
        check.attempt(mask_path, lambda: data.mask(image_id), None)
    if mask is None or mask.fault or not _fits(check, mask_path, mask, image.size):
        return Inspection(image.size, image.md5 or None)
    classes = tuple(value - 1 for value in mask.ids if 0 < value < IGNORE)
    return Inspection(image.size, image.md5 or None, classes, mask.ignored)


def _fits(check: _Check, path: Path, mask: Facts, size: Size | None) -> bool:
    """Return whether a mask has the `size` of its image and no unknown id; name what it has instead."""
    before = len(check.findings)
    if mask.size is not None:
        check.attempt(path, partial(check_size, path, mask.size, size), None)
    check.attempt(path, lambda: check_ids(path, np.array(mask.ids, np.uint8), check.data.num_classes), None)
    return len(check.findings) == before


def _unmasked(unmasked: Sequence[str], ids: Sequence[str]) -> str:
    """Say that training images `ids` have no mask, which is nothing wrong: only a choice or a score needs them."""
    if len(unmasked) == len(ids):
        return "no training image has a mask: pseudo-labels cannot be scored; set study.tune_images to 0"
    return (
        f"{len(unmasked)} of {len(ids)} training images have no mask, the first is '{unmasked[0]}': "
        "they choose no threshold and their pseudo-labels are not scored"
    )


def _check_labels(check: _Check, inspections: Mapping[str, Inspection], source: str) -> Labels:
    """Read the image labels of the training images, compare them with the masks, and return them."""
    data, ids = check.data, list(inspections)
    if not ids or not source:
        return {}
    if source == "masks":
        every = np.arange(data.num_classes)
        return {
            image_id: np.isin(every, found.classes).astype(np.float32)
            for image_id, found in inspections.items()
            if found.classes is not None
        }
    labels: Labels = check.attempt(data.label_path(source), lambda: data.labels(ids), {})
    for image_id, vector in labels.items():
        given = {int(index) for index in np.flatnonzero(vector)}
        path = data.image_path(image_id)
        if not given:
            check.add(path, "has no image label", "warning")
        shown = inspections[image_id].classes
        if shown is not None and set(shown) != given:
            names = ", ".join(data.classes[index] for index in sorted(given.symmetric_difference(shown)))
            check.add(path, f"image labels and mask disagree on: {names}", "warning")
    return labels


def _check_pairs(check: _Check, pairs: Pairs) -> dict[str, Inspection]:
    """Look at the pairs of a saliency set: none without its other half, of one size, with something salient."""
    if pairs.masks:
        for image_id in pairs.images.keys() - pairs.masks.keys():
            check.add(pairs.images[image_id], "has no mask in Masks")
    if pairs.images:
        for image_id in pairs.masks.keys() - pairs.images.keys():
            check.add(pairs.masks[image_id], "has no image in Images", "warning")
    inspections = {}
    for image_id in pairs.ids:
        path = pairs.masks[image_id]
        image, mask = check.seen(pairs.images[image_id]) or Facts(""), check.seen(path)
        inspections[image_id] = Inspection(image.size, image.md5 or None)
        if mask is not None and mask.size is not None:
            check.attempt(path, partial(check_size, path, mask.size, image.size), None)
            if not mask.ids:
                check.add(path, "shows nothing salient", "warning")
    return inspections


def _check_leakage(
    check: _Check,
    params: DataParams,
    splits: Mapping[str, Mapping[str, Inspection]],
    saliency: Mapping[str, Mapping[str, Inspection]],
) -> None:
    """Look for images, by id or by content, that are in a training set and in an evaluation set."""
    everything = {**splits, **saliency}
    tests: list[tuple[str, str, Severity]] = [(params.train, params.val, "error")]
    if params.saliency_train:
        tests.append((params.saliency_train, params.val, "error"))
        tests += [(params.saliency_train, name, "error") for name in params.saliency_test]
        # Not leakage, but the masks of such a pair say more about a training image than its label does.
        tests.append((params.saliency_train, params.train, "warning"))
    for first, second, severity in tests:
        a, b = everything[first], everything[second]
        shared = sorted(a.keys() & b.keys())
        digests = {inspection.digest for inspection in b.values()} - {None}
        copies = sorted(image_id for image_id, found in a.items() if found.digest in digests and image_id not in b)
        for image_ids, what in ((shared, "by id"), (copies, "the same file under another id")):
            if image_ids:
                listed = ", ".join(image_ids[:5]) + (", ..." if len(image_ids) > 5 else "")
                check.add(
                    check.data.root / first,
                    f"shares {len(image_ids)} images with {second} ({what}): {listed}",
                    severity,
                )


def _summary(data: VocData, inspections: Mapping[str, Inspection]) -> dict[str, Any]:
    masks = [found for found in inspections.values() if found.classes is not None]
    shown = Counter(index for found in masks for index in found.classes or ())
    return {
        "images": len(inspections),
        "masks": len(masks),
        "sizes": _sizes(inspections),
        "ignored": round(sum(found.ignored for found in masks) / len(masks), 6) if masks else None,
        "classes": {name: shown[index] for index, name in enumerate(data.classes)},
    }


def _sizes(inspections: Mapping[str, Inspection]) -> dict[str, list[int]] | None:
    """Return the smallest and the largest width and height, pixels."""
    sizes: Iterable[Size] = [found.size for found in inspections.values() if found.size]
    if not sizes:
        return None
    widths, heights = zip(*sizes, strict=True)
    return {"width": [min(widths), max(widths)], "height": [min(heights), max(heights)]}
