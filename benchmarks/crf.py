"""Images per second of the dense CRF: both backends against pydensecrf as published codes call it.

    python benchmarks/crf.py [--images FOLDER] [--count 16] [--size 500x375] [--workers 1 2] [--rounds 3]
    python benchmarks/crf.py --device cuda [--batch 1 4 8]

Published codes hand all 21 labels of VOC to pydensecrf, on one thread. Photographs are generated, or taken from FOLDER;
their labels are blobs of two classes and background. Workers are started and code is compiled before the clock is.
On CUDA all 21 labels take part, and a table of the profiler says where the time goes.
"""

import argparse
import functools
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydensecrf.densecrf import DenseCRF2D
from pydensecrf.utils import unary_from_labels
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from seedbed.crf.dense import refine_many
from seedbed.crf.meanfield import TensorEngine, TorchSolver
from seedbed.crf.refiner import Refiner
from seedbed.crf.solver import LabelItem, refine_batch, run
from seedbed.params import CrfParams

ALL = range(21)
PARAMS = CrfParams()


def generated_images(count, size, rng):
    """Yield smooth coloured images with sharp regions, uint8 [H,W,3]."""
    for _ in range(count):
        regions = ndimage.gaussian_filter(rng.normal(size=size), 25) > 0
        colours = rng.uniform(40, 215, (2, 3))[regions.astype(int)]
        texture = ndimage.gaussian_filter(rng.normal(size=(*size, 3)), (3, 3, 0)) * 150
        yield np.clip(colours + texture, 0, 255).astype(np.uint8)


def folder_images(folder, count):
    """Yield the first `count` images of `folder`."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    for path in files[:count]:
        with Image.open(path) as image:
            yield np.asarray(image.convert("RGB"))


def blob_labels(size, rng):
    """Return a mask [H,W] of background and blobs of two random classes, and the ids present."""
    classes = np.sort(rng.choice(np.arange(1, 21), 2, replace=False))
    labels = np.zeros(size, np.uint8)
    for label in classes:
        blob = ndimage.gaussian_filter(rng.normal(size=size), min(size) / 10)
        labels[blob > np.quantile(blob, 0.8)] = label
    return labels, [0, *classes.tolist()]


def published(items):
    """Yield masks as published codes make them: all 21 labels, one thread."""
    for image, labels, _ in items:
        height, width = labels.shape
        crf = DenseCRF2D(width, height, len(ALL))
        crf.setUnaryEnergy(unary_from_labels(labels, len(ALL), PARAMS.confidence, zero_unsure=False))
        crf.addPairwiseGaussian(sxy=PARAMS.gaussian_xy, compat=PARAMS.gaussian_weight)
        crf.addPairwiseBilateral(
            sxy=PARAMS.bilateral_xy,
            srgb=PARAMS.bilateral_rgb,
            rgbim=np.require(image, requirements=["C", "W"]),
            compat=PARAMS.bilateral_weight,
        )
        yield np.argmax(crf.inference(PARAMS.iterations), axis=0).reshape(labels.shape).astype(np.uint8)


def ours(backend, workers):
    """Return the work of a backend on the labels present."""
    return lambda items: refine_many(items, PARAMS, workers, backend)


def study(workers, refiners, items):
    """Return masks by a Refiner that has met the images before, as every trial of a study but the first."""
    refiner = refiners.setdefault(workers, Refiner([image for image, _, _ in items], "torch", workers))
    return refiner.refine(range(len(items)), [item[1] for item in items], [item[2] for item in items], PARAMS)


def ways(workers):
    """Return (backend, labels, workers) and the work of every way that is measured; the first is the base."""
    found = {("pydensecrf as published", "all 21", 1): published}
    refiners = {}
    for number in workers:
        found["pydensecrf", "present", number] = ours("pydensecrf", number)
        found["torch", "present", number] = ours("torch", number)
        found["torch, lattices kept", "present", number] = functools.partial(study, number, refiners)
    for number in workers:
        found["torch", "all 21", number] = lambda items, number=number: refine_many(
            [(image, labels, ALL) for image, labels, _ in items], PARAMS, number, "torch"
        )
    return found


def rate(work, items):
    """Return images per second and the masks."""
    start = time.perf_counter()
    masks = list(work(items))
    return len(items) / (time.perf_counter() - start), masks


def measure_cpu(items, workers, rounds, console):
    """Measure every way on a CPU and print the table."""
    measured = ways(workers)
    rates, masks = {}, {}
    for work in measured.values():  # starts workers, compiles, builds lattices that are kept
        rate(work, items)
    for _ in range(rounds):  # in turns, so that whatever else the machine does hits all alike
        for key, work in measured.items():
            found, results = rate(work, items)
            rates[key] = max(found, rates.get(key, 0))
            if not all(map(np.array_equal, masks.setdefault(key, results), results)):
                raise SystemExit(f"{key} gave other masks in another round")

    title = f"dense CRF, {len(items)} images of about {items[0][1].shape} pixels, best of {rounds}"
    table = Table("backend", "labels", "workers", "images/s", "ratio", "equal pixels", title=title)
    base = next(iter(rates))
    for key, found in rates.items():
        equal = np.mean([np.mean(a == b) for a, b in zip(masks[base], masks[key], strict=True)])
        table.add_row(*map(str, key), f"{found:.2f}", f"{found / rates[base]:.2f}", f"{equal:.4%}")
    console.print(table)


def on_cuda(batch):
    """Return the work of plain torch on CUDA, `batch` images at a time."""
    solver = TorchSolver(TensorEngine(torch.device("cuda"), batch), 1 << 30)
    return lambda items: run(refine_batch, solver, PARAMS, (LabelItem(*item) for item in items), 1)


def measure_cuda(items, batches, rounds, console):
    """Measure all 21 labels on CUDA in batches, and print the profile of the last."""
    table = Table("batch", "images/s", title=f"{torch.cuda.get_device_name()}, 21 labels, {items[0][1].shape}")
    every = [(image, labels, ALL) for image, labels, _ in items]
    for batch in batches:
        work = on_cuda(batch)
        rate(work, every)
        table.add_row(str(batch), f"{max(rate(work, every)[0] for _ in range(rounds)):.1f}")
    console.print(table)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        rate(work, every)
    console.print(profiler.key_averages().table(sort_by="cuda_time_total", row_limit=20), soft_wrap=True)


def main():
    """Measure, compare the masks, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of photographs (default: generated ones)")
    parser.add_argument("--count", type=int, default=16, help="number of images (default: 16)")
    parser.add_argument("--size", default="500x375", help="width x height of generated images (default: 500x375)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each, the best counts (default: 3)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where torch works (default: cpu)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 8], help="images at a time on CUDA")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU")

    rng = np.random.default_rng(0)
    width, height = map(int, options.size.split("x"))
    images = (
        folder_images(options.images, options.count)
        if options.images
        else generated_images(options.count, (height, width), rng)
    )
    items = [(image, *blob_labels(image.shape[:2], rng)) for image in images]
    if not items:
        parser.error(f"no images in {options.images}")
    console = Console()
    if options.device == "cuda":
        measure_cuda(items, options.batch, options.rounds, console)
    else:
        measure_cpu(items, options.workers, options.rounds, console)


if __name__ == "__main__":
    main()
