"""Published networks at full size: time and peak memory of a training step and of the class maps of one image.

Run: python benchmarks/full_size.py [--device cpu|cuda] [--parts eps-step mcis-step eps-image mcis-image eps-rate]

Networks, losses, optimisers and scales are those of profiles/voc12-eps.yaml and profiles/voc12-mcis.yaml, with random
weights and pictures. Every row is a process of its own, so that its peak memory is its own too: on a CPU the largest
resident set (of which an empty process takes the share shown), on CUDA the most that PyTorch had allocated.

eps-rate, on CUDA alone: images per second of EPS training in fp32 and in our fastest setting, which take turns in one
process. The batch stays on the device: the loader is not measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seedbed.engine.optim import build_optimizer, parameter_groups
from seedbed.methods import get_method
from seedbed.params import LocaliserParams, SeedsParams, load_params
from seedbed.seeds import Job, infer_related
from seedbed.seeds.inference import MultiScale

ROOT = Path(__file__).parents[1]
CLASSES = 20
LABELS = [7, 14]  # of the picture whose class maps are computed
PICTURES = 8  # that related ones are drawn from
PARTS = ("eps-step", "mcis-step", "eps-image", "mcis-image", "eps-rate")
ROUNDS = 5  # of eps-rate
Work = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """Sizes of what is measured, and how: `repeats` times after `warmup` times, on `device`."""

    device: str
    crop: int
    batch: int
    square: int
    pairs: int
    side: int
    warmup: int
    repeats: int


@dataclass(frozen=True)
class Variant:
    """How a network is trained: in which memory format, under bf16 autocast, compiled, with TF32 in convolutions."""

    layout: torch.memory_format = torch.contiguous_format
    bf16: bool = False
    compiled: bool = False
    tf32: bool = True


RATES = {
    "fp32 as published, PyTorch's defaults": Variant(),
    "fp32 throughout, no TF32": Variant(tf32=False),
    "bf16, channels_last, torch.compile": Variant(torch.channels_last, bf16=True, compiled=True),
}


def recipe(name: str) -> tuple[LocaliserParams, SeedsParams]:
    """Return the blocks of the localiser and of the seeds in the profile of method `name`."""
    params = load_params(ROOT / "profiles" / f"voc12-{name}.yaml")
    return params.localiser[name], params.seeds


def labels(count: int) -> Tensor:
    """Return labels [count,C], two classes in each row."""
    result = torch.zeros(count, CLASSES)
    for row in range(count):
        result[row, [row % CLASSES, (row + 7) % CLASSES]] = 1
    return result


def eps_batch(setting: Setting) -> dict[str, Tensor]:
    """Return random images with saliency."""
    count, side = setting.batch, setting.crop
    image, saliency = torch.randn(count, 3, side, side), torch.rand(count, 1, side, side)
    return {"image": image, "saliency": saliency, "label": labels(count)}


def mcis_batch(setting: Setting) -> dict[str, Tensor]:
    """Return random pairs with their copies, in an epoch in which every loss counts."""
    count, side = setting.pairs, setting.square
    sides = {"image": side, "related": side, "mirrored": side, "small": int(0.75 * side), "large": 2 * side}
    images = {name: torch.randn(count, 3, side, side) for name, side in sides.items()}
    return {
        **images,
        "label": labels(count),
        "related_label": labels(count).roll(1, dims=0),
        "epoch": torch.full((count,), 2),
    }


def trainer(name: str, batch: dict[str, Tensor], setting: Setting, variant: Variant) -> Work:
    """Return what trains the localiser of method `name` on `batch` for one step."""
    device, method, (block, _) = torch.device(setting.device), get_method(name), recipe(name)
    params, loss = method.training(block.train), method.training_loss(block)
    network = method.network(block, CLASSES, pretrained=False).to(device).to(memory_format=variant.layout).train()
    optimizer = build_optimizer(parameter_groups(network, params), params)
    called = torch.compile(network) if variant.compiled else network
    placed = {
        key: value.to(device, memory_format=variant.layout) if value.ndim == 4 else value.to(device)
        for key, value in batch.items()
    }

    def step() -> None:
        torch.backends.cudnn.allow_tf32 = variant.tf32
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=variant.bf16):
            total = loss(called, placed)["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step


def eps_step(setting: Setting) -> Work:
    """Return a training step of EPS as published."""
    return trainer("eps", eps_batch(setting), setting, Variant())


def mcis_step(setting: Setting) -> Work:
    """Return a training step of MCIS as published."""
    return trainer("mcis", mcis_batch(setting), setting, Variant())


def picture(seed: int, side: int) -> Image.Image:
    """Return a soft random picture."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


def eps_image(setting: Setting) -> Work:
    """Return the inference of EPS on one picture: all scales of the profile, each mirrored too."""
    method, (block, seeds) = get_method("eps"), recipe("eps")
    network = method.network(block, CLASSES, pretrained=False)
    run = MultiScale(network, method.class_maps, seeds, torch.device(setting.device))
    image, classes = picture(0, setting.side), np.array(LABELS)
    return lambda: run([image], [classes])[0].cpu()


def mcis_image(setting: Setting) -> Work:
    """Return the inference of MCIS on one picture of two classes: related pictures, and copies of itself."""
    method, (block, seeds) = get_method("mcis"), recipe("mcis")
    network, label = method.network(block, CLASSES, pretrained=False), np.zeros(CLASSES, np.float32)
    label[LABELS] = 1
    augment = block.augment.model_copy(update=dict.fromkeys(("low", "high", "crop"), setting.square))

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            paths = {str(index): Path(folder) / f"{index}.jpg" for index in range(PICTURES)}
            for index, path in enumerate(paths.values()):
                picture(index, setting.side).save(path)
            every, device = dict.fromkeys(paths, label), torch.device(setting.device)
            one = {"0": paths["0"]}
            list(infer_related(Job(network, method.class_maps, seeds, augment, device, one, paths, every, seed=0)))

    return run


def timed(work: Work, device: str) -> float:
    """Return the seconds that `work` took, on the device too."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def resident() -> float:
    """Return the largest resident set of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(make: Callable[[Setting], Work], setting: Setting) -> tuple[float, str]:
    """Return median seconds and the peak memory of what `make` makes, as measured in this process."""
    torch.manual_seed(0)
    empty, work = resident(), make(setting)
    for _ in range(setting.warmup):
        work()
    seconds = median(timed(work, setting.device) for _ in range(setting.repeats))
    if setting.device == "cuda":
        return seconds, f"{torch.cuda.max_memory_allocated() / 2**20:.0f}"
    return seconds, f"{resident():.0f} ({empty:.0f})"


def eps_rate(setting: Setting) -> dict[str, list[float]]:
    """Return images per second of EPS training in every round, by variant; the variants take turns."""
    torch.manual_seed(0)
    batch = eps_batch(setting)
    steps = {name: trainer("eps", batch, setting, variant) for name, variant in RATES.items()}
    rates: dict[str, list[float]] = {name: [] for name in RATES}
    for step in steps.values():
        for _ in range(setting.warmup):
            step()
    for _ in range(ROUNDS):
        for name, step in steps.items():
            seconds = timed(lambda step=step: [step() for _ in range(setting.repeats)], setting.device)
            rates[name].append(setting.repeats * setting.batch / seconds)
    return rates


def isolated(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return `function(*arguments)`, run in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def print_costs(setting: Setting, batches: list[int], parts: list[str]) -> None:
    """Print time and memory of the `parts`; EPS's training step at each of `batches`."""
    rows = [
        *((f"EPS, step, crop {setting.crop}, batch {size}", "eps-step", eps_step, size) for size in batches),
        (f"MCIS, step, {setting.pairs} pairs at {setting.square}", "mcis-step", mcis_step, setting.batch),
        (f"EPS, image of {setting.side} x {setting.side}", "eps-image", eps_image, setting.batch),
        (f"MCIS, image of two labels at {setting.square}", "mcis-image", mcis_image, setting.batch),
    ]
    memory = "peak of allocations, MiB" if setting.device == "cuda" else "peak resident (empty process), MiB"
    print(f"| what | s | {memory} |\n|---|---|---|")
    for name, part, make, size in rows:
        if part in parts:
            seconds, peak = isolated(measure, make, dataclasses.replace(setting, batch=size))
            print(f"| {name} | {seconds:.3f} | {peak} |", flush=True)


def print_rates(setting: Setting) -> None:
    """Print images per second of EPS training: median, ratio to the first row, and spread over the rounds."""
    rates = isolated(eps_rate, setting)
    base = median(next(iter(rates.values())))
    print(f"\nEPS training, crop {setting.crop}, batch {setting.batch}: {ROUNDS} rounds of {setting.repeats} steps\n")
    print("| variant | images/s | ratio | slowest and fastest round |\n|---|---|---|---|")
    for name, found in rates.items():
        spread = f"{min(found):.1f} to {max(found):.1f}"
        print(f"| {name} | {median(found):.1f} | {median(found) / base:.2f} x | {spread} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    there = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=there, help=f"(default here: {there})")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="(default: all)")
    parser.add_argument("--crop", type=int, default=448, help="side of EPS's crops (default: 448)")
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 2], help="EPS's batches; eps-rate: the first")
    parser.add_argument("--square", type=int, default=256, help="side of MCIS's images (default: 256)")
    parser.add_argument("--pairs", type=int, default=5, help="MCIS's batch (default: 5)")
    parser.add_argument("--side", type=int, default=321, help="side of the picture for class maps (default: 321)")
    parser.add_argument("--warmup", type=int, help="(default: 0 on a CPU, 5 on CUDA)")
    parser.add_argument("--repeats", type=int, help="(default: 1 on a CPU, 10 on CUDA)")
    options = parser.parse_args()
    device, (warmup, repeats) = options.device, (5, 10) if options.device == "cuda" else (0, 1)
    sizes = {name: getattr(options, name) for name in ("crop", "square", "pairs", "side")}
    warmup = warmup if options.warmup is None else options.warmup
    setting = Setting(device, batch=options.batch[0], warmup=warmup, repeats=options.repeats or repeats, **sizes)
    where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{where}, torch {torch.__version__}\n")
    print_costs(setting, options.batch, options.parts)
    if "eps-rate" in options.parts and device == "cuda":
        print_rates(setting)


if __name__ == "__main__":
    main()
