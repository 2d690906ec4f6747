"""Miniature archives of every data set of the catalogue, in the folders that the real ones have, and their entries."""

from __future__ import annotations

import threading
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml
from acquire.made_coco import pack_coco
from acquire.made_voc import IDS, pack_sbd, pack_voc
from helpers import picture

from seedbed.acquire.catalogue import DataSet, load_catalogue
from seedbed.acquire.library import Library

PAIRS = 3
SALIENCY: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "duts-tr": {"DUTS-TR.zip": ("DUTS-TR/DUTS-TR-Image/n{}.jpg", "DUTS-TR/DUTS-TR-Mask/n{}.png")},
    "duts-te": {"DUTS-TE.zip": ("DUTS-TE/DUTS-TE-Image/sun_{}.jpg", "DUTS-TE/DUTS-TE-Mask/sun_{}.png")},
    "ecssd": {"images.zip": ("images/{:04}.jpg",), "ground_truth_mask.zip": ("ground_truth_mask/{:04}.png",)},
    "hku-is": {"HKU-IS.zip": ("HKU-IS/imgs/{:04}.png", "HKU-IS/gt/{:04}.png")},
    "dut-omron": {
        "DUT-OMRON-image.zip": ("DUT-OMRON-image/im{:03}.jpg",),
        "DUT-OMRON-gt-pixelwise.zip.zip": ("pixelwiseGT-new-PNG/im{:03}.png",),
    },
    "pascal-s": {"salObj.zip": ("salObj/datasets/imgs/pascal/{}.jpg", "salObj/datasets/masks/pascal/{}.png")},
    "sod": {"SOD.zip": ("SOD/Imgs/{}.jpg", "SOD/GT/{}.png")},
}
"""Archives of the saliency sets, and what they hold, per pair."""

EXTRAS = {"salObj.zip": ("salObj/datasets/imgs/ft/1.jpg", "salObj/algmaps/pascal/1.png"), "SOD.zip": ("SOD/notes.txt",)}
"""Members of the real archives that are no part of the set."""

_VOC = "VOCdevkit/VOC2012"
_LISTS = "ImageSets/Segmentation"
_IMAGES = len(IDS.masks | set(IDS.unlisted))
EXPECTED: Mapping[str, Mapping[str, int]] = {
    "voc12": {
        f"{_VOC}/JPEGImages": _IMAGES,
        f"{_VOC}/Annotations": _IMAGES,
        f"{_VOC}/SegmentationClass": len(IDS.train) + len(IDS.val),
        f"{_VOC}/{_LISTS}/train.txt": len(IDS.train),
        f"{_VOC}/{_LISTS}/val.txt": len(IDS.val),
    },
    "sbd": {
        f"{_VOC}/SegmentationClassAug": len(IDS.masks),
        f"{_VOC}/{_LISTS}/train_aug.txt": len(IDS.train_aug),
    },
    **{
        f"coco{year}": {
            f"COCO20{year}/JPEGImages": 10,
            f"COCO20{year}/SegmentationClass": 10,
            f"COCO20{year}/{_LISTS}/train.txt": 4,
            f"COCO20{year}/{_LISTS}/val.txt": 4,
        }
        for year in (14, 17)
    },
    **{name: {f"{name.upper()}/{kind}": PAIRS for kind in ("Images", "Masks")} for name in SALIENCY},
}


def write_archives(folder: Path, scratch: Path) -> None:
    """Write every archive of the catalogue into `folder`."""
    folder.mkdir(parents=True)
    pack_voc(folder, scratch / "voc")
    pack_sbd(folder, scratch / "sbd")
    for year in (2014, 2017):
        pack_coco(folder, scratch / str(year), year)
    for archives in SALIENCY.values():
        for file, members in archives.items():
            write_zip(folder / file, members)


def write_zip(path: Path, members: tuple[str, ...]) -> Path:
    """Write a zip with `PAIRS` pictures under each of the names `members`, and what else the real one has."""
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            for number in range(1, PAIRS + 1):
                archive.writestr(member.format(number), _file(member, number))
        for member in EXTRAS.get(path.name, ()):
            archive.writestr(member, b"not part of the set")
    return path


def write_folder(folder: Path, members: tuple[str, ...]) -> Path:
    """Write what `write_zip` packs, as a folder."""
    for member in members:
        for number in range(1, PAIRS + 1):
            path = folder / member.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_file(member, number))
    return folder


def _file(member: str, number: int) -> bytes:
    stream = BytesIO()
    grey = "mask" in member.lower() or "gt" in member.lower()
    image = picture(12, 10, number)
    (image.convert("L") if grey else image).save(stream, "PNG" if member.endswith(".png") else "JPEG")
    return stream.getvalue()


def members(name: str) -> tuple[str, ...]:
    return tuple(member for found in SALIENCY[name].values() for member in found)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def with_entry(library: Library, name: str, **changes: object) -> Library:
    changed = {**library.catalogue, name: library.entry(name).model_copy(update=changes)}
    return Library(library.root, changed, jobs=1)


def additions(**sources: list[str]) -> dict[str, Any]:
    """Return what a user's catalogue must say for the miniatures: counts and sizes, no published checksums.

    `sources`: additional sources by file name.
    """
    return {
        name: {
            "unpacked": 100_000,
            "expected": dict(EXPECTED[name]),
            "archives": {
                file: {"size": 0, "checksum": None, "sources": sources.get(file, [])} for file in entry.archives
            },
        }
        for name, entry in load_catalogue({}).items()
    }


def write_additions(path: Path) -> Path:
    path.write_text(yaml.safe_dump(additions()))
    return path


def only(catalogue: Mapping[str, DataSet], mirror: str) -> dict[str, DataSet]:
    """Return `catalogue` with `mirror` as the only source of every archive: nothing may leave this machine."""
    return {
        name: entry.model_copy(
            update={
                "archives": {
                    file: archive.model_copy(update={"sources": [f"{mirror}/{file}"]})
                    for file, archive in entry.archives.items()
                }
            }
        )
        for name, entry in catalogue.items()
    }


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Counter[str]]]:
    """Serve `folder` on loopback; yield its URL and a count of requests by file name."""
    asked: Counter[str] = Counter()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked[self.path.lstrip("/")] += 1
            super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()
