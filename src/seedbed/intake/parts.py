"""Digests of the parts of data/ that stages read: a stage whose part is as it was need not run again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.data.saliency_sets import SaliencySet
from seedbed.data.voc import VocData
from seedbed.files import read_json, write_json
from seedbed.intake.check import Checked
from seedbed.params import Params
from seedbed.paths import Paths

IMPORTS = ("seeds", "pseudo")
"""Options of a localiser that name an import, and the kinds of imports they name."""

Entry = tuple[str, Path]
"""What a stage knows a file by, and the file."""


@dataclass(frozen=True)
class _Parts:
    """The parts of a usable data folder."""

    params: Params
    paths: Paths
    checked: Checked

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and content of every part."""
        data = self.params.data
        for short, split in (("train", data.train), ("val", data.val)):
            yield f"images-{short}", self._files(self._images(split))
            yield f"masks-{short}", self._files(self._masks(split))
        yield "labels", self._labels()
        yield "saliency-train", self._files(self._pairs([data.saliency_train] if data.saliency_train else []))
        yield "saliency-test", self._files(self._pairs(data.saliency_test))
        saliency = self.params.saliency
        ready = [self.paths.data / saliency.folder] if saliency.source == "folder" and saliency.folder else []
        yield "maps", self._files(self._below(ready))
        for method in self.params.methods:
            options = self.params.localiser[method].options
            named = [self.paths.imported(kind, str(options[kind])) for kind in IMPORTS if options.get(kind)]
            yield f"imported-{method}", self._files(self._below(named))

    def _images(self, split: str) -> Iterator[Entry]:
        voc = VocData(self.paths.data, self.params.data)
        return ((image_id, voc.image_path(image_id)) for image_id in voc.ids(split))

    def _masks(self, split: str) -> Iterator[Entry]:
        voc = VocData(self.paths.data, self.params.data)
        masks = ((image_id, voc.mask_path(image_id)) for image_id in voc.ids(split))
        return ((image_id, path) for image_id, path in masks if self._name(path) in self.checked.files)

    def _pairs(self, sets: Iterable[str]) -> Iterator[Entry]:
        for name in sets:
            pairs = SaliencySet(self.paths.data / name)
            for image_id in pairs.ids():
                yield f"{name}/{image_id}", pairs.image_path(image_id)
                yield f"{name}/{image_id}", pairs.mask_path(image_id)

    def _below(self, folders: Iterable[Path]) -> Iterator[Entry]:
        for folder in folders:
            prefix = self._name(folder) + "/"
            yield from ((name, self.paths.data / name) for name in self.checked.files if name.startswith(prefix))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.paths.data).as_posix()

    def _files(self, entries: Iterable[Entry]) -> dict[str, Any]:
        names = [(entry, self._name(path)) for entry, path in entries]
        return {
            "digest": _digest(f"{entry}\t{self.checked.facts[name].md5}" for entry, name in names),
            "files": len(names),
            "bytes": sum(self.checked.files[name][0] for _, name in names),
        }

    def _labels(self) -> dict[str, Any]:
        labels = self.checked.labels
        lines = (f"{image_id}\t{vector.astype(int).tolist()}" for image_id, vector in labels.items())
        return {"digest": _digest(lines), "images": len(labels)}


def write_parts(params: Params, paths: Paths, checked: Checked) -> None:
    """Write reports/data/parts/<part>.json {digest, files, bytes} of data that `checked` found usable.

    Parts: images and masks of the two lists (in their order), image labels of the training images (whatever file they
    come from), pairs of the saliency sets, ready-made saliency maps, and what each method imports. Only what has
    changed is written; parts of methods that are no more go.
    """
    parts = dict(_Parts(params, paths, checked).all())
    wanted: Mapping[Path, dict[str, Any]] = {paths.data_part(name): part for name, part in parts.items()}
    for file in paths.data_part("any").parent.glob("*.json"):
        if file not in wanted:
            file.unlink()
    for file, part in wanted.items():
        if not (file.exists() and read_json(file) == part):
            write_json(file, part)


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()
