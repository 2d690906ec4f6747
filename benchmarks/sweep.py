"""The exact sweep of `seedbed.study.tables` against the naive loop that re-evaluates the masks at every setting.

Run: python benchmarks/sweep.py [--images 100] [--maps STORE --masks FOLDER --saliency FOLDER]

Both sides evaluate the same settings on the same maps, in one thread (CPU seconds), and must give identical confusion
matrices: the naive loop by the rule's own code, setting by setting and image by image. The time of the sweep includes
the pass over the images. Maps are in memory before, float16 as a store holds them or float32. They are generated at
VOC's size; with --maps, a store of class maps (`maps/seeds/<method>`) is read, with ground truth and saliency
`<folder>/<id>.png`.

The second table: what follows from the counts without the images, on as many images as --subsets says.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from seedbed.evaluate.confusion import confusion
from seedbed.seeds.fusion import find_gate_rule
from seedbed.seeds.store import MapStore
from seedbed.study.grid import Grid
from seedbed.study.optima import class_optima, optimum, optimum_interval, surfaces
from seedbed.study.tables import ImageMaps, Tables

HEIGHT, WIDTH, CLASSES = 375, 500, 20
NUM_IDS = CLASSES + 1
STEPS, SALIENCY_STEPS = 60, 17
CAMS = tuple(step / STEPS for step in range(STEPS))
GREYS = tuple(step / SALIENCY_STEPS for step in range(SALIENCY_STEPS))
ALPHAS = tuple(float(alpha) for alpha in np.geomspace(1, 64, STEPS))
SWEPT = {"threshold": {"cam": CAMS}, "alpha": {"cam": ALPHAS}, "saliency-gate": {"cam": CAMS, "saliency": GREYS}}
REPEATS = 5  # of what takes milliseconds


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
        yield ImageMaps(f"image{index}", cams.astype(np.float16), classes, truth, saliency)


def read(maps: Path, masks: Path, saliency: Path, count: int) -> Iterator[ImageMaps]:
    """Yield the first images of a store, in the order of their ids."""
    store = MapStore(maps)
    for name in sorted(store)[:count]:
        yield ImageMaps(name, *store.stored(name), mask(masks / f"{name}.png"), mask(saliency / f"{name}.png"))


def mask(path: Path) -> np.ndarray:
    """Return the ids, or the grey levels, of a PNG: uint8 [H,W]."""
    with Image.open(path) as image:
        return np.array(image)


def settings(rule: str, grid: Grid) -> list[dict[str, float]]:
    """Return the band-free settings of `rule` in the order of the sweep."""
    parameters = find_gate_rule(rule).parameters
    pairs = itertools.product(grid.axes[rule]["cam"], grid.axes[rule].get("saliency", (0.0,)))
    return [{one.name: cam if one.axis == "cam" else grey for one in parameters} for cam, grey in pairs]


def naive(rule: str, grid: Grid, images: list[ImageMaps]) -> np.ndarray:
    """Re-evaluate and score the masks at every setting: int64 [T,K,K+1]."""
    apply = find_gate_rule(rule).apply
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


def timed(function: Callable[..., Any], *arguments: Any, repeats: int = 1) -> tuple[float, Any]:
    """Return the mean CPU seconds of a call, and its result."""
    start = time.process_time()
    for _ in range(repeats):
        result = function(*arguments)
    return (time.process_time() - start) / repeats, result


def compare(rule: str, images: list[ImageMaps]) -> tuple[object, ...]:
    """Return the row of `rule`. Raises AssertionError when the two sides differ."""
    grid = Grid({rule: SWEPT[rule]})
    exact(rule, grid, images[:1])  # compiles, and makes the look-up tables
    swift, swept = timed(exact, rule, grid, images, repeats=REPEATS)
    slow, expected = timed(naive, rule, grid, images)
    assert np.array_equal(swept, expected), f"{rule}: the sweep differs from the naive loop"
    kind, per_image = str(images[0].cams.dtype), f"{1000 * swift / len(images):.2f}"
    return rule, kind, len(images), len(swept), f"{slow:.2f}", f"{swift:.3f}", per_image, f"{slow / swift:.0f} x"


def answers(rule: str, tables: Tables, samples: int) -> tuple[object, ...]:
    """Return what the counts answer for `rule`, in milliseconds, and the interval of its optimum, in seconds."""
    subset = tables.ids[: len(tables.ids) // 2]
    totals = tables.totals()
    optimum_interval(tables, rule, 1, 0)  # compiles
    select, _ = timed(lambda: tables.select(subset).totals(), repeats=REPEATS)
    rest = [timed(function, rule, totals, repeats=REPEATS)[0] for function in (optimum, class_optima, surfaces)]
    interval, found = timed(optimum_interval, tables, rule, samples, 0)
    ends = ", ".join(f"{name} {low:.3g}..{high:.3g}" for name, (low, high) in found.values.items())
    milliseconds = [f"{1000 * seconds:.1f}" for seconds in (select, *rest)]
    size = (tables.codes.nbytes + tables.counts.nbytes) / len(tables.ids) / 1000
    return rule, len(tables.ids), f"{size:.1f}", *milliseconds, samples, f"{interval:.2f}", ends


def row(*cells: object) -> str:
    """Return a line of a table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100, help="images of the comparison (default 100)")
    parser.add_argument("--subsets", type=int, default=873, help="images of the second table (default 873)")
    parser.add_argument("--maps", type=Path, help="a store of class maps")
    parser.add_argument("--masks", type=Path, help="its ground truth")
    parser.add_argument("--saliency", type=Path, help="its saliency maps")
    options = parser.parse_args()
    torch.set_num_threads(1)

    def images(count: int) -> Iterator[ImageMaps]:
        return read(options.maps, options.masks, options.saliency, count) if options.maps else generate(count)

    halves = list(images(options.images))
    singles = [image._replace(cams=image.cams.astype(np.float32)) for image in halves]
    print(f"{options.maps.name if options.maps else f'generated maps {HEIGHT} x {WIDTH}'}, {CLASSES} classes\n")
    print(row("rule", "maps", "images", "settings", "naive loop, s", "exact sweep, s", "ms per image", "ratio"))
    print("|---" * 8 + "|")
    print(row(*compare("threshold", singles)))
    print(row(*compare("threshold", halves)))
    print(row(*compare("alpha", halves)))
    print(row(*compare("saliency-gate", halves[: max(1, len(halves) // 20)])))
    print()
    print(
        row("rule", "images", "kB each", "half of them, ms", "optimum, ms", "class optima, ms", "surfaces, ms")
        + row("samples", "interval, s", "interval of the optimum")[1:]
    )
    print("|---" * 10 + "|")
    for rule, samples in (("threshold", 1000), ("alpha", 1000), ("saliency-gate", 200)):
        tables = Tables.build(images(options.subsets), NUM_IDS, Grid({rule: SWEPT[rule]}))
        print(row(*answers(rule, tables, samples)))


if __name__ == "__main__":
    main()
