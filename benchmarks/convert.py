"""Conversion of COCO and SBD: masks per second, and peak memory, which must not grow with the data set.

Run: python benchmarks/convert.py [--images 5000 50000 --masks 1000 --jobs 2]

COCO: a generated instances_*.json of 640x480 images with seven objects of 40 points each on average, one of 50 a crowd.
SBD: generated 500x375 masks with boundaries, as in dataset/cls. Each conversion is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
from joblib.externals.loky import get_reusable_executor
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from seedbed.acquire.coco import convert_coco
from seedbed.acquire.coco_shards import deal_out, shards_of
from seedbed.acquire.sbd import convert_sbd
from seedbed.data.classes import COCO_CLASSES
from seedbed.data.masks import write_mask

WIDTH, HEIGHT = 640, 480
OBJECTS = 7
CROWDS = 0.02
MIB = 2**20
DISTINCT = 20


def annotation(rng: np.random.Generator, number: int, image: int) -> dict[str, object]:
    """Return a smooth shape, or a crowd of horizontal bars."""
    entry = {"id": number, "image_id": image, "category_id": int(rng.integers(1, 81)), "iscrowd": 0, "area": 1.0}
    if rng.random() < CROWDS:
        runs = rng.multinomial(WIDTH * HEIGHT, np.ones(400) / 400).tolist()
        return entry | {"iscrowd": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs}}
    angles = np.linspace(0, 2 * np.pi, int(rng.integers(20, 61)), endpoint=False)
    radius = rng.uniform(10, 150) * (1 + 0.3 * np.sin(rng.integers(2, 7) * angles))
    x = (rng.uniform(0, WIDTH) + radius * np.cos(angles)).clip(0, WIDTH)
    y = (rng.uniform(0, HEIGHT) + radius * np.sin(angles)).clip(0, HEIGHT)
    return entry | {"segmentation": [np.stack([x, y], 1).ravel().round(2).tolist()]}


def write_coco(path: Path, images: int) -> Path:
    """Write annotations of `images` images, one entry at a time."""
    rng = np.random.default_rng(0)

    def listed(entries: Iterator[dict[str, object]]) -> Iterator[str]:
        return (("" if index == 0 else ", ") + json.dumps(entry) for index, entry in enumerate(entries))

    entries = (
        {"id": number, "file_name": f"COCO_train2014_{number:012d}.jpg", "width": WIDTH, "height": HEIGHT}
        for number in range(images)
    )
    shapes = (annotation(rng, number, number // OBJECTS) for number in range(images * OBJECTS))
    categories = [{"id": number, "name": name} for number, name in enumerate(COCO_CLASSES, 1)]
    with path.open("w") as stream:
        stream.write('{"images": [')
        stream.writelines(listed(entries))
        stream.write('], "annotations": [')
        stream.writelines(listed(shapes))
        stream.write(f'], "categories": {json.dumps(categories)}}}')
    return path


def write_sbd(root: Path, masks: int) -> tuple[Path, Path]:
    """Write `masks` masks in SBD's layout, and their images; return the folders of SBD and VOC."""
    dataset, voc = root / "benchmark_RELEASE" / "dataset", root / "VOC2012"
    lists = voc / "ImageSets" / "Segmentation"
    for folder in (dataset / "cls", voc / "JPEGImages", lists):
        folder.mkdir(parents=True)
    ids = [f"2008_{number:06d}" for number in range(masks + 2)]
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(rng.integers(0, 4, (6, 8), np.uint8) * 5) for _ in range(DISTINCT)]
    drawn = [np.asarray(image.resize((500, 375), Image.Resampling.NEAREST)) for image in coarse]
    for number, image_id in enumerate(ids):
        Image.new("RGB", (500, 375)).save(voc / "JPEGImages" / f"{image_id}.jpg")
        mask = drawn[number % DISTINCT]
        if number >= masks:
            write_mask(voc / "SegmentationClass" / f"{image_id}.png", mask)
            continue
        boundaries = np.empty((20, 1), object)
        for index in range(20):
            boundaries[index, 0] = csc_matrix(np.diff(mask == index + 1, axis=1))
        truth = {"Boundaries": boundaries, "Segmentation": mask, "CategoriesPresent": np.unique(mask)}
        savemat(dataset / "cls" / f"{image_id}.mat", {"GTcls": truth}, do_compression=True)
    for path, listed in (
        (dataset / "train.txt", ids[: masks // 2]), (dataset / "val.txt", ids[masks // 2 : masks]),
        (lists / "train.txt", ids[masks : masks + 1]), (lists / "val.txt", ids[masks + 1 :]),
    ):  # fmt: skip
        path.write_text("\n".join(listed) + "\n")
    return dataset.parent, voc


def high_water(process: psutil.Process) -> float:
    """Return the largest resident set that `process` ever had, MiB; unlike ru_maxrss, its parent's does not count."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def measured(work: Callable[[], object]) -> tuple[float, float, float]:
    """Return seconds, and the peak memory of this process and of the largest of its children, which are still there."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    process = psutil.Process()
    return seconds, high_water(process), max(map(high_water, process.children(recursive=True)), default=0.0)


def nothing() -> None:
    """Do nothing: what the imports alone take."""


def deal(source: Path, folder: Path) -> None:
    """Read the JSON and deal it out."""
    folder.mkdir(parents=True)
    deal_out(source, shards_of(source, folder), COCO_CLASSES)


def coco(source: Path, root: Path, jobs: int) -> None:
    """Convert the whole of it."""
    convert_coco(source, root / "COCO2014", "train", labels=root / "labels.json", work=root / "work", jobs=jobs)


def isolated(work: Callable[..., object], *words: object) -> tuple[float, float, float]:
    """Return `measured` of `work` in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # not multiprocessing's own, whose children have none
        return pool.submit(_call, work, words).result()


def _call(work: Callable[..., object], words: tuple[object, ...]) -> tuple[float, float, float]:
    found = measured(lambda: work(*words))
    get_reusable_executor().shutdown()  # joblib's processes would keep this one waiting for minutes
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="*", default=[5000, 50000])
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    print("| what | JSON, MiB | s | per second | peak, MiB | largest worker, MiB |")
    print("|---|---|---|---|---|---|")
    _, idle, _ = isolated(nothing)
    print(f"| imports alone | - | - | - | {idle:.0f} | - |", flush=True)
    for images in chosen.images:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            source = write_coco(root / "instances_train2014.json", images)
            size = source.stat().st_size / MIB
            seconds, peak, _ = isolated(deal, source, root / "dealt")
            rate = f"{size / seconds:.1f} MiB"
            print(f"| COCO, {images} images, dealing out | {size:.0f} | {seconds:.1f} | {rate} | {peak:.0f} | - |")
            seconds, peak, worker = isolated(coco, source, root, chosen.jobs)
            row = f"{size:.0f} | {seconds:.1f} | {images / seconds:.0f} masks | {peak:.0f} | {worker:.0f}"
            print(f"| COCO, {images} images, whole | {row} |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        benchmark, voc = write_sbd(Path(folder), chosen.masks)
        seconds, peak, worker = isolated(convert_sbd, benchmark, voc, Path(folder) / "target", chosen.jobs)
        rate = chosen.masks / seconds
        print(f"| SBD, {chosen.masks} masks | - | {seconds:.1f} | {rate:.0f} masks | {peak:.0f} | {worker:.0f} |")


if __name__ == "__main__":
    main()
