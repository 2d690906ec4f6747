"""The exact sweep of `seedbed.study.tables` against the naive loop that re-evaluates the masks at every setting.

Run: python benchmarks/sweep.py [--images 100]

Both sides evaluate the same settings on the same generated maps of VOC's size, in one thread, and must give identical
confusion matrices. The time of the sweep includes the pass over the images. The last columns show that a table costs
the same per image however many there are.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from seedbed.evaluate.confusion import confusion
from seedbed.seeds.fusion import find_rule
from seedbed.study.tables import Grid, ImageMaps, Tables

HEIGHT, WIDTH, CLASSES = 375, 500, 20
NUM_IDS = CLASSES + 1
CAM_STEPS, SALIENCY_STEPS = 60, 17


def smooth(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Return a smooth random map float32 [H,W] in 0..1."""
    coarse = Image.fromarray(rng.random((rows, rows * 4 // 3), dtype=np.float32))
    return np.clip(np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)), 0, 1)


def generate(count: int) -> Iterator[ImageMaps]:
    """Yield images of 1 to 3 classes: blobs with a border of 255; class maps and saliency follow them loosely."""
    for index in range(count):
        rng = np.random.default_rng(index)
        classes = np.sort(rng.choice(CLASSES, rng.integers(1, 4), replace=False))
        blobs = np.stack([smooth(rng, 9) for _ in classes])
        cams = np.stack([blob**2 * (0.5 + 0.5 * smooth(rng, 24)) for blob in blobs])
        cams /= cams.max(axis=(1, 2), keepdims=True)
        strongest = blobs.max(axis=0)
        truth = np.where(strongest > 0.65, classes[blobs.argmax(axis=0)] + 1, 0).astype(np.uint8)
        truth[np.abs(strongest - 0.65) < 0.01] = 255
        saliency = np.clip(255 * (1.5 * strongest * smooth(rng, 12)), 0, 255).astype(np.uint8)
        yield ImageMaps(f"image{index}", cams.astype(np.float16).astype(np.float32), classes, truth, saliency)


def settings(rule: str, grid: Grid) -> list[dict[str, float]]:
    """Return the band-free settings of `rule` in the order of the sweep."""
    if rule == "threshold":
        return [{"threshold": threshold} for threshold in grid.cam]
    pairs = itertools.product(grid.cam, grid.saliency)
    return [{"cam_low": cam, "cam_high": cam, "saliency_low": grey, "saliency_high": grey} for cam, grey in pairs]


def naive(rule: str, grid: Grid, images: list[ImageMaps]) -> np.ndarray:
    """Re-evaluate and score the masks at every setting: int64 [T,K,K+1]."""
    apply = find_rule(rule).apply
    totals = []
    for values in settings(rule, grid):
        total = np.zeros((NUM_IDS, NUM_IDS + 1), np.int64)
        for image in images:
            total += confusion(image.truth, apply(image.cams, image.classes, image.saliency, values), NUM_IDS)
        totals.append(total)
    return np.stack(totals)


def exact(rule: str, grid: Grid, images: list[ImageMaps]) -> np.ndarray:
    """Count once, then read every setting off the counts: int64 [T,K,K+1]."""
    swept = Tables.build(images, NUM_IDS, grid).totals().sweep(rule)
    return swept.reshape(-1, *swept.shape[-2:])


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return the seconds that the call took, and its result."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def compare(rule: str, images: list[ImageMaps]) -> str:
    """Return the row of `rule`. Raises AssertionError when the two sides differ."""
    grid = Grid.of([rule], CAM_STEPS, SALIENCY_STEPS)
    exact(rule, grid, images[:1])  # makes the look-up tables
    swift, swept = timed(exact, rule, grid, images)
    slow, expected = timed(naive, rule, grid, images)
    assert np.array_equal(swept, expected), f"{rule}: the sweep differs from the naive loop"
    kilobytes = [sum(a.nbytes for a in (t.codes, t.counts)) / len(t.ids) / 1000 for t in tables_of_halves(images, grid)]
    size = f"{kilobytes[0]:.1f} / {kilobytes[1]:.1f}"
    row = (rule, len(images), len(swept), f"{slow:.2f}", f"{swift:.3f}", f"{slow / swift:.0f} x", "identical", size)
    return "| " + " | ".join(map(str, row)) + " |"


def tables_of_halves(images: list[ImageMaps], grid: Grid) -> tuple[Tables, Tables]:
    """Return the tables of the first half and of all images."""
    every = Tables.build(images, NUM_IDS, grid)
    return every.select(every.ids[: max(1, len(images) // 2)]), every


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100, help="generated images (default 100)")
    images = list(generate(parser.parse_args().images))
    print(f"generated maps {HEIGHT} x {WIDTH}, {CLASSES} classes, seconds\n")
    print("| rule | images | settings | naive loop | exact sweep | ratio | matrices | kB per image, half / all |")
    print("|---|---|---|---|---|---|---|---|")
    print(compare("threshold", images))
    print(compare("saliency-gate", images[: max(1, len(images) // 20)]))


if __name__ == "__main__":
    main()
