"""The embedded sample: a small data set in the layouts of VOC and DUTS, drawn, the same bytes at every call."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seedbed.data.drawing import Canvas
from seedbed.data.masks import write_mask
from seedbed.data.scenes import KINDS, class_scene, salient_scene
from seedbed.data.voc import JSON_LABELS
from seedbed.errors import UserError
from seedbed.files import disk_errors, read_json, write_atomic, write_json, write_text

SAMPLE_CLASSES = tuple(kind.name for kind in KINDS)
"""Names of the classes, in id order."""

VERSION = 1
"""Enters every seed; another version is another data set."""

_MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class Counts:
    """How many images the sample has. Fewer of them are the first of the full sample's."""

    train: int = 280
    val: int = 100
    saliency_train: int = 176
    saliency_test: int = 48


_TITLE = "A synthetic data set, drawn by `seedbed data sample`; no photograph is in it."
_README = """{title}

{counts.train} training and {counts.val} validation images in the layout of the VOC devkit,
of {classes}; image labels in {labels};
{counts.saliency_train} + {counts.saliency_test} saliency pairs in the layout of DUTS.

What makes it hard on purpose: only one small part of an object tells its class; a soft texture, typical of the class,
lies around most objects; some textures come without an object; some images hold a salient thing of no class.
Numbers measured on it show that methods work. They say nothing about photographs.
"""


def write_sample(root: Path, counts: Counts | None = None) -> None:
    """Write the sample into the folder `root`, in the place of an older or damaged one once the new one is complete.

    About 7 MB, a few seconds. The same versions of this package and of Pillow give the same bytes. Raises UserError
    when `root` holds anything but a sample, or files of others beside it, and when the disk is full.
    """
    _refuse_other_data(root)
    with disk_errors(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent) as folder:
            fresh = Path(folder) / root.name
            _write_all(fresh, counts or Counts())
            if root.exists():
                _refuse_added_files(root, fresh)
                root.rename(Path(folder) / "old")
            fresh.rename(root)


def is_sample(root: Path) -> bool:
    """Return whether the folder `root` holds a sample, as its README says."""
    readme = root / "README.txt"
    return readme.is_file() and readme.read_text(errors="replace").startswith(_TITLE)


def is_intact(root: Path) -> bool:
    """Return whether `root` holds a sample of this version, every file as it was written, and nothing else."""
    return is_sample(root) and _recorded(root) == _manifest(root)


def _manifest(root: Path) -> dict[str, Any]:
    """Return what the manifest of the sample in `root` must say: the version, and the MD5 of every file by its path."""
    paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    paths.pop(_MANIFEST, None)
    hashes = {name: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for name, path in paths.items()}
    return {"version": VERSION, "files": hashes}


def _recorded(root: Path) -> Any:
    """Return what the manifest in `root` says; None where it is missing or no JSON."""
    try:
        return read_json(root / _MANIFEST)
    except UserError:
        return None


def _refuse_added_files(root: Path, fresh: Path) -> None:
    """Raise UserError when `root` holds files that neither the `fresh` sample nor its own manifest has."""
    recorded = _recorded(root)
    older = recorded.get("files", ()) if isinstance(recorded, dict) else ()
    known = {_MANIFEST, *_manifest(fresh)["files"], *older}
    added = sorted({path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - known)
    if added:
        raise UserError(
            f"{root} holds {len(added)} files that are not the sample's, first {added[0]}; nothing was changed",
            "move them elsewhere, then run the same command again",
        )


def _refuse_other_data(root: Path) -> None:
    empty = not root.exists() or (root.is_dir() and not any(root.iterdir()))
    if root.is_symlink() or not (empty or is_sample(root)):
        raise UserError(f"{root} holds other data than the sample; they are left as they are", f"mv {root} ELSEWHERE")


def _write_all(root: Path, counts: Counts) -> None:
    voc = root / "VOCdevkit" / "VOC2012"
    labels: dict[str, list[str]] = {}
    for split, (name, count) in enumerate((("train_aug", counts.train), ("val", counts.val))):
        ids = [f"{name.removesuffix('_aug')}_{index:04d}" for index in range(count)]
        for index, image_id in enumerate(ids):
            labels[image_id] = _write_class_image(voc, image_id, (VERSION, split, index))
        write_text(voc / "ImageSets" / "Segmentation" / f"{name}.txt", "\n".join(ids) + "\n")
    write_json(root / JSON_LABELS, labels)
    pairs = (("DUTS-TR", counts.saliency_train), ("DUTS-TE", counts.saliency_test))
    for split, (name, count) in enumerate(pairs, start=2):
        for index in range(count):
            _write_pair(root / name, f"pair_{split - 1}_{index:04d}", (VERSION, split, index))
    classes = f"{len(KINDS)} classes ({', '.join(SAMPLE_CLASSES)})"
    readme = _README.format(title=_TITLE, counts=counts, classes=classes, labels=JSON_LABELS)
    write_text(root / "README.txt", readme)
    write_json(root / _MANIFEST, _manifest(root))


def _write_class_image(voc: Path, image_id: str, seed: tuple[int, int, int]) -> list[str]:
    """Draw and write one image with its mask; return the names of the classes it shows."""
    first = seed[2] % len(KINDS)
    picture, canvas = _draw(lambda rng: class_scene(rng, first), seed)
    mask = canvas.mask()
    _write_jpeg(voc / "JPEGImages" / f"{image_id}.jpg", picture)
    write_mask(voc / "SegmentationClassAug" / f"{image_id}.png", mask)
    return [kind.name for class_id, kind in enumerate(KINDS, start=1) if (mask == class_id).any()]


def _write_pair(folder: Path, image_id: str, seed: tuple[int, int, int]) -> None:
    picture, canvas = _draw(salient_scene, seed)
    _write_jpeg(folder / "Images" / f"{image_id}.jpg", picture)
    grey = Image.fromarray(canvas.coverage())
    write_atomic(folder / "Masks" / f"{image_id}.png", lambda stream: grey.save(stream, "PNG"), durable=False)


def _draw(
    scene: Callable[[np.random.Generator], Canvas], seed: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], Canvas]:
    rng = np.random.default_rng(seed)
    canvas = scene(rng)
    return canvas.picture(rng.uniform(-4, 4, (canvas.height, canvas.width))), canvas


def _write_jpeg(path: Path, picture: NDArray[np.uint8]) -> None:
    image = Image.fromarray(picture)
    write_atomic(path, lambda stream: image.save(stream, "JPEG", quality=92, subsampling=0), durable=False)
