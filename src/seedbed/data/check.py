"""The check of a data set: every file opened, every finding named."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from joblib import Parallel, delayed

from seedbed import IGNORE
from seedbed.data.images import Size
from seedbed.data.labels import Labels, labels_of_mask
from seedbed.data.saliency_sets import SaliencySet
from seedbed.data.voc import VocData
from seedbed.errors import UserError
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
class Inspection:
    """What opening one image and its mask showed."""

    findings: list[Finding]
    size: Size | None = None
    digest: str | None = None
    """Hash of the image file: equal images under different names."""
    classes: tuple[int, ...] | None = None
    """Class indices that occur in the mask; None without a readable mask."""
    ignored: float = 0.0
    """Fraction of the mask that is 255."""


@dataclass
class _Check:
    """A check in progress."""

    root: Path
    jobs: int
    findings: list[Finding] = field(default_factory=list)

    def add(self, file: Path, finding: str, severity: Severity = "error") -> None:
        self.findings.append(Finding(_relative(file, self.root), finding, severity))

    def attempt(self, file: Path, read: Callable[[], T], default: T) -> T:
        """Return what `read` returns; a UserError becomes a finding, and the result `default`."""
        try:
            return read()
        except UserError as error:
            self.add(file, error.message)
            return default

    def inspect(self, work: Callable[[str], Inspection], ids: Sequence[str]) -> dict[str, Inspection]:
        """Return id -> inspection, made by `jobs` processes."""
        done = Parallel(n_jobs=self.jobs)(delayed(work)(image_id) for image_id in ids)
        for inspection in done:
            self.findings += inspection.findings
        return dict(zip(ids, done, strict=True))


def check_data(root: Path, params: DataParams, jobs: int = 1) -> dict[str, Any]:
    """Open every file that `params` names below `root`, in `jobs` processes (0 = one per core), and report.

    Returns {data, usable, label_source, classes, splits: {list: {images, masks, sizes, ignored, classes: {name: n}}},
    saliency: {set: {pairs, sizes}}, errors, warnings, findings: [{file, finding, severity}]}. Nothing is raised for the
    data's sake: `usable` is false when a finding is an error.
    """
    check = _Check(root, jobs or len(os.sched_getaffinity(0)))
    data = VocData(root, params)
    _check_links(check)
    source = check.attempt(root, data.label_source, "")
    splits = {split: _check_split(check, data, split, source) for split in dict.fromkeys((params.train, params.val))}
    train_set = [params.saliency_train] if params.saliency_train else []
    sets = dict.fromkeys([*train_set, *params.saliency_test])
    saliency = {name: _check_saliency(check, root / name) for name in sets}
    _check_leakage(check, params, splits, saliency)
    findings = sorted(check.findings, key=lambda finding: (finding.severity, finding.file, finding.finding))
    errors = sum(finding.severity == "error" for finding in findings)
    return {
        "data": params.name,
        "usable": errors == 0,
        "label_source": source,
        "classes": list(data.classes),
        "splits": {name: _summary(data, inspections) for name, inspections in splits.items()},
        "saliency": {name: {"pairs": len(pairs), "sizes": _sizes(pairs)} for name, pairs in saliency.items()},
        "errors": errors,
        "warnings": len(findings) - errors,
        "findings": [vars(finding) for finding in findings],
    }


def symlinks(root: Path) -> list[Path]:
    """Return every symbolic link below `root`, itself included, sorted. Links to folders are not followed."""
    found = [root] if root.is_symlink() else []
    for folder, names, files in os.walk(root):
        found += [Path(folder) / name for name in (*names, *files) if (Path(folder) / name).is_symlink()]
    return sorted(found)


def _check_links(check: _Check) -> None:
    for link in symlinks(check.root):
        check.add(link, "is a symbolic link: DVC records nothing of what it points to; use `seedbed data use`")


def _check_split(check: _Check, data: VocData, split: str, source: str) -> dict[str, Inspection]:
    """Open images and masks of a list and, for training images, compare image labels with masks."""
    ids: list[str] = check.attempt(
        data.voc / "ImageSets" / "Segmentation" / f"{split}.txt", lambda: data.ids(split), []
    )
    train = split == data.params.train
    unmasked = [image_id for image_id in ids if train and not data.mask_path(image_id).exists()]
    masked = len(unmasked) < len(ids)
    if unmasked:
        check.add(data.voc / data.params.masks, _unmasked(unmasked, ids), "warning")
    inspections = check.inspect(_ImageWork(data, optional=train), ids)
    if train and ids and source:
        readable = [image_id for image_id in ids if source != "masks" or inspections[image_id].classes is not None]
        labels: Labels = check.attempt(data.label_path(source), lambda: data.labels(readable), {})
        _check_labels(check, data, labels, inspections)
    shown = Counter(index for inspection in inspections.values() for index in inspection.classes or ())
    if masked:
        for index, name in enumerate(data.classes):
            if not shown[index]:
                check.add(data.voc / data.params.masks, f"no mask of {split} shows class '{name}'", "warning")
    return inspections


def _unmasked(unmasked: list[str], ids: list[str]) -> str:
    """Say that training images `ids` have no mask, which is nothing wrong: only a choice or a score needs them."""
    if len(unmasked) == len(ids):
        return "no training image has a mask: pseudo-labels cannot be scored; set study.tune_images to 0"
    return (
        f"{len(unmasked)} of {len(ids)} training images have no mask, the first is '{unmasked[0]}': "
        "they choose no threshold and their pseudo-labels are not scored"
    )


def _check_labels(check: _Check, data: VocData, labels: Labels, inspections: Mapping[str, Inspection]) -> None:
    for image_id, vector in labels.items():
        given = {int(index) for index in np.flatnonzero(vector)}
        path = data.image_path(image_id)
        if not given:
            check.add(path, "has no image label", "warning")
        shown = inspections[image_id].classes
        if shown is not None and set(shown) != given:
            names = ", ".join(data.classes[index] for index in sorted(given.symmetric_difference(shown)))
            check.add(path, f"image labels and mask disagree on: {names}", "warning")


@dataclass(frozen=True)
class _ImageWork:
    """Opens one image of the VOC folder and its mask, which may be missing where it is `optional`."""

    data: VocData
    optional: bool

    def __call__(self, image_id: str) -> Inspection:
        path, mask_path = self.data.image_path(image_id), self.data.mask_path(image_id)
        findings: list[Finding] = []
        size, digest, mask = None, None, None
        try:
            size, digest = self.data.image(image_id).size, _digest(path)
        except UserError as error:
            findings.append(Finding(_relative(path, self.data.root), error.message))
        if mask_path.exists() or not self.optional:
            try:
                mask = self.data.mask(image_id, size)
            except UserError as error:
                findings.append(Finding(_relative(mask_path, self.data.root), error.message))
        if mask is None:
            return Inspection(findings, size, digest)
        classes = tuple(np.flatnonzero(labels_of_mask(mask, self.data.num_classes)).tolist())
        return Inspection(findings, size, digest, classes, float((mask == IGNORE).mean()))


@dataclass(frozen=True)
class _PairWork:
    """Opens one pair of a saliency set."""

    pairs: SaliencySet
    root: Path

    def __call__(self, image_id: str) -> Inspection:
        path = self.pairs.image_paths[image_id]
        try:
            size, digest = self.pairs.image(image_id).size, _digest(path)
            path = self.pairs.mask_paths[image_id]
            salient = self.pairs.salient(image_id, size)
        except UserError as error:
            return Inspection([Finding(_relative(path, self.root), error.message)])
        empty = [] if salient.any() else [Finding(_relative(path, self.root), "shows nothing salient", "warning")]
        return Inspection(empty, size, digest)


def _check_saliency(check: _Check, folder: Path) -> dict[str, Inspection]:
    pairs = SaliencySet(folder)
    images: Mapping[str, Path] = check.attempt(folder / "Images", lambda: pairs.image_paths, {})
    masks: Mapping[str, Path] = check.attempt(folder / "Masks", lambda: pairs.mask_paths, {})
    if masks:
        for image_id in images.keys() - masks.keys():
            check.add(images[image_id], "has no mask in Masks")
    if images:
        for image_id in masks.keys() - images.keys():
            check.add(masks[image_id], "has no image in Images", "warning")
    return check.inspect(_PairWork(pairs, check.root), sorted(images.keys() & masks.keys()))


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
                    check.root / first, f"shares {len(image_ids)} images with {second} ({what}): {listed}", severity
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


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
