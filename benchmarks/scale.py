"""Large data sets: indexing 100,000 images, the check of data/ cold and remembered, and flat memory with 81 ids.

Run: python benchmarks/scale.py [--parts index check memory] [--index 100000] [--check 17000] [--images 1000 10000]

The photographs of the check have VOC's size (500 x 375); the images of the other parts have a few pixels, for their
number is what is measured. Peak memory is the largest resident set of a process of its own or of any of its children,
above that of the same process with ten images: what an image more costs, beyond what importing torch took.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from seedbed.data.classes import COCO_CLASSES
from seedbed.data.masks import voc_palette
from seedbed.data.saliency_sets import SaliencySet
from seedbed.data.voc import VocData
from seedbed.params import DataParams
from seedbed.saliency.folder import FolderSource

PARTS = ("index", "check", "memory")
DRAWN = 16  # distinct pictures; the others are copies with another tail
TINY = (16, 12)
VOC = (500, 375)
BASELINE = 10  # images of the process that peak memory is counted from
BLOCK = {"backbone": "timm/test_byobnet", "weights": None}


def write_data(root: Path, train: int, val: int, size: tuple[int, int], distinct: bool = True) -> list[str]:
    """Write COCO-like images of `size` (width, height) with masks of 81 ids, lists and labels; return the training ids.

    `distinct`: no two files are equal; else they are links, for their number alone, and are a saliency set and
    ready-made maps too.
    """
    voc = root / "VOCdevkit" / "VOC2012"
    ids = [f"COCO_train2014_{index:012d}" for index in range(train + val)]
    generator = random.Random(0)
    labels = {image_id: sorted(generator.sample(range(80), 3)) for image_id in ids[:DRAWN]}
    labels |= {image_id: labels[ids[index % DRAWN]] for index, image_id in enumerate(ids)}
    folders = {voc / "JPEGImages": "jpg", voc / "SegmentationClassAug": "png"}
    if not distinct:
        folders |= {root / "DUTS-TR" / "Images": "jpg", root / "DUTS-TR" / "Masks": "png", root / "maps": "png"}
    for folder in (*folders, voc / "ImageSets" / "Segmentation"):
        folder.mkdir(parents=True)
    drawn = [_pictures(index, size, labels[ids[index]]) for index in range(min(DRAWN, len(ids)))]
    for folder, suffix in folders.items():
        for index, image_id in enumerate(ids):
            file, first = folder / f"{image_id}.{suffix}", folder / f"{ids[index % DRAWN]}.{suffix}"
            if distinct or index < DRAWN:
                tail = f"{folder.name}{index}".encode()  # behind the end of the picture: no two files are equal
                file.write_bytes(drawn[index % DRAWN][suffix] + tail)
            else:
                file.hardlink_to(first)
    for split, listed in (("train_aug", ids[:train]), ("val", ids[train:])):
        (voc / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(listed) + "\n")
    (root / "image_labels.json").write_text(
        json.dumps({image_id: [COCO_CLASSES[k] for k in labels[image_id]] for image_id in ids})
    )
    return ids[:train]


def _pictures(seed: int, size: tuple[int, int], classes: list[int]) -> dict[str, bytes]:
    """Return a JPEG of soft noise and a palette PNG whose stripes are background, `classes` and ignore."""
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    mask = np.repeat(np.array([0, *(k + 1 for k in classes), 255], np.uint8), -(-width // (len(classes) + 2)))[:width]
    stripes = Image.fromarray(np.tile(mask, (height, 1)))
    stripes.putpalette(voc_palette().tobytes())
    content = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix, picture in (("jpg", Image.fromarray(noise).resize(size)), ("png", stripes)):
            picture.save(Path(folder) / f"x.{suffix}")
            content[suffix] = (Path(folder) / f"x.{suffix}").read_bytes()
    return content


def measure_index(images: int, folder: Path) -> None:
    """Print how long it takes to know what a data set of `images` images holds."""
    ids = write_data(folder / "data", images, 1, TINY, distinct=False)
    voc = VocData(folder / "data", DataParams(classes="coco"))
    pairs = SaliencySet(folder / "data" / "DUTS-TR")
    paths: dict[str, Path] = {}
    steps: dict[str, Callable[[], object]] = {
        "ids of the list": lambda: voc.ids("train_aug"),
        "image labels (JSON)": lambda: voc.labels(ids),
        "paths of the images": lambda: paths.update((image_id, voc.image_path(image_id)) for image_id in ids),
        "which images have a mask": lambda: voc.masked(ids),
        "pairs of a saliency set": pairs.ids,
        "ready-made saliency maps, up to the first": lambda: next(FolderSource(folder / "data" / "maps").maps(paths)),
    }
    print(f"| {images} images | s | of them computing |\n|---|---|---|")
    total = np.zeros(2)
    for name, step in steps.items():
        before = np.array([time.perf_counter(), time.process_time()])
        step()
        taken = np.array([time.perf_counter(), time.process_time()]) - before
        total += taken
        print(f"| {name} | {taken[0]:.2f} | {taken[1]:.2f} |", flush=True)
    print(f"| in all | {total[0]:.2f} | {total[1]:.2f} |")


def measure_check(images: int, folder: Path) -> None:
    """Print how long `seedbed data check` takes on `images` photographs with masks: cold, again, after one change."""
    ids = write_data(folder / "data", images, 1, VOC)
    context = _context(folder, {"saliency_train": None, "saliency_test": []})
    image = context.voc.image_path(ids[0])
    print(f"| check of {images} images of {VOC[0]} x {VOC[1]} and their masks | s |\n|---|---|")
    for name, before in (
        ("every file opened", lambda: None),
        ("again", lambda: None),
        ("again, one image touched", image.touch),
    ):
        before()
        print(f"| {name} | {isolated(folder, 'data check')['seconds']:.1f} |", flush=True)


def measure_memory(images: list[int], folder: Path) -> None:
    """Print the peak memory of the steps whose work grows with the data set, at the given numbers of images."""
    print("| 81 ids: MiB above a process with 10 images | " + " | ".join(f"{count} images" for count in images) + " |")
    print("|---|" + "---|" * len(images))
    counts = [BASELINE, *images]
    for count in counts:
        root = folder / str(count)
        write_data(root / "data", count, count, TINY)
        _prepare(root)
    for step in STEPS:
        base, *peaks = (isolated(folder / str(count), step)["mib"] for count in counts)
        print(f"| {step} | " + " | ".join(f"{peak - base:.0f}" for peak in peaks) + " |", flush=True)


def _context(root: Path, data: dict[str, Any] | None = None) -> Any:
    """Return the context of the project in `root`, whose parameters it writes if they are not there."""
    from seedbed.stages.context import Context

    if not (root / "params.yaml").exists():
        params = {
            "methods": ["cam"],
            "data": {"name": "scale", "classes": "coco", "labels": "json", **(data or {})},
            "saliency": {**BLOCK, "channels": 8},
            "localiser": {"cam": {**BLOCK, "output_stride": 16}},
            "fusion": {"cam": {"rule": "threshold", "choose": "published"}},
            "study": {"rules": ["threshold"], "tune_images": 0},
            "segmenter": {**BLOCK, "channels": 8},
            "evaluate": {"bootstrap": 100, "batch": 16},
        }
        (root / "params.yaml").write_text(yaml.safe_dump(params))
    return Context.load(root / "params.yaml", root)


def _prepare(root: Path) -> None:
    """Write what the steps read that is not theirs: parameters, saliency maps, a split, a segmenter."""
    from seedbed.nn.deeplab import build_segmenter
    from seedbed.nn.weights import save_weights

    context = _context(root, {"saliency_train": None, "saliency_test": []})
    paths, voc = context.paths, context.voc
    paths.saliency_maps().mkdir(parents=True)
    picture = root / "saliency.png"
    Image.fromarray(np.full(TINY[::-1], 200, np.uint8)).save(picture)
    for image_id in voc.ids("train_aug"):
        shutil.copyfile(picture, paths.saliency_maps() / f"{image_id}.png")
    paths.study("cam").mkdir(parents=True)
    (paths.study("cam") / "split.json").write_text(json.dumps({"tune": []}))
    network = build_segmenter(context.params.segmenter, context.num_ids)
    save_weights(paths.model("segmenter", "cam"), network, {"classes": list(voc.classes)})


def check(context: Any) -> None:
    """`seedbed data check`."""
    from seedbed.stages.data import check as stage

    stage(context)


def write_seeds(context: Any) -> None:
    """Write class maps of three classes per image to the map store."""
    from seedbed.seeds.store import MapWriter

    generator = np.random.default_rng(0)
    labels = context.voc.labels()
    with MapWriter(context.paths.seeds("cam"), "scale") as writer:
        for image_id, label in labels.items():
            classes = np.flatnonzero(label)
            writer.add(image_id, generator.random((len(classes), *TINY[::-1]), np.float32), classes)


def read_seeds(context: Any) -> None:
    """Read every image's class maps."""
    from seedbed.seeds.store import MapStore

    store = MapStore(context.paths.seeds("cam"))
    for image_id in store:
        store.maps(image_id)


def pseudo(context: Any) -> None:
    """`seedbed pseudo`."""
    from seedbed.stages.pseudo import pseudo as stage

    stage(context, "cam")


def evaluate(context: Any) -> None:
    """`seedbed evaluate-segmenter`."""
    from seedbed.stages.segment import evaluate as stage

    stage(context, "cam")


STEPS: dict[str, Callable[[Any], None]] = {
    "data check": check,
    "seeds written": write_seeds,
    "seeds read": read_seeds,
    "pseudo": pseudo,
    "evaluate-segmenter": evaluate,
}


def run_step(root: Path, step: str) -> None:
    """Run a step in this process; print its seconds, without importing torch, and the peak memory in MiB."""
    context = _context(root)
    started = time.perf_counter()
    STEPS[step](context)
    seconds = time.perf_counter() - started
    peaks = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"seconds": seconds, "mib": max(peaks)}))


def isolated(root: Path, step: str) -> dict[str, float]:
    """Return what `run_step` prints in a fresh process, which MLflow's server does not answer."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    command = [sys.executable, __file__, "--step", step, str(root)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print a table per part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", nargs=2, metavar=("STEP", "PROJECT"), help=argparse.SUPPRESS)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--index", type=int, default=100_000)
    parser.add_argument("--check", type=int, default=17_000)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000])
    arguments = parser.parse_args()
    if arguments.step:
        run_step(Path(arguments.step[1]), arguments.step[0])
        return
    measures: dict[str, Callable[[Path], None]] = {
        "index": lambda folder: measure_index(arguments.index, folder),
        "check": lambda folder: measure_check(arguments.check, folder),
        "memory": lambda folder: measure_memory(arguments.images, folder),
    }
    for part in arguments.parts:
        with tempfile.TemporaryDirectory() as folder:
            measures[part](Path(folder))
        print(flush=True)


if __name__ == "__main__":
    main()
