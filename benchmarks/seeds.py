"""Seeds: batched multi-scale inference against one image, one scale and one orientation per forward pass.

Run: python benchmarks/seeds.py [--backbone resnet38d --images 2 --width 321 --height 241]

Both sides run the same network on the same generated photographs at scales 0.5, 1.0, 1.5 and 2.0 with mirror images.
The other side is the procedure of the published codes: eight passes per image, the maps of all classes upsampled
eight times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from seedbed.data.augment import normalise, scaled_size
from seedbed.nn.backbones import build_backbone
from seedbed.nn.classifier import Localiser
from seedbed.params import SeedsParams
from seedbed.seeds.inference import MultiScale

SCALES = [0.5, 1.0, 1.5, 2.0]
CLASSES = 20
ROUNDS = 3


def photographs(count: int, size: tuple[int, int]) -> list[Image.Image]:
    """Return soft random pictures of `size` (width, height)."""
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)) for _ in range(count)]
    return [image.resize(size, Image.Resampling.BICUBIC) for image in coarse]


@torch.inference_mode()
def one_at_a_time(network: nn.Module, images: list[Image.Image], classes: list[np.ndarray]) -> list[Tensor]:
    """Return the maps of every image by the published procedure."""
    results = []
    for image, indices in zip(images, classes, strict=True):
        total = torch.zeros(CLASSES, image.height, image.width)
        for scale in SCALES:
            x = normalise(image.resize(scaled_size(image.size, scale), Image.Resampling.BICUBIC))[None]
            for flip in (False, True):
                maps = network(x.flip(-1) if flip else x).softmax(dim=1)[:, :CLASSES]
                full = nn.functional.interpolate(maps, size=total.shape[1:], mode="bilinear", align_corners=False)[0]
                total += full.flip(-1) if flip else full
        kept = total[torch.as_tensor(indices)]
        results.append(kept / (kept.amax(dim=(1, 2), keepdim=True) + 1e-5))
    return results


def batched(
    network: nn.Module, images: list[Image.Image], classes: list[np.ndarray], precision: str, batch: int
) -> list[Tensor]:
    """Return the maps of every image by the project's inference."""
    params = SeedsParams.model_validate({"scales": SCALES, "precision": precision, "batch": batch})
    run = MultiScale(network, lambda maps: maps.softmax(dim=1)[:, :CLASSES], params, torch.device("cpu"))
    chunks = range(0, len(images), batch)
    return [maps for i in chunks for maps in run(images[i : i + batch], classes[i : i + batch])]


@torch.inference_mode()
def spread_logits(network: Localiser, image: Image.Image) -> None:
    """Scale the classifier of a random network so that its logits vary by about 1: else all maps would be constant."""
    network.fc8.weight.div_(network(normalise(image)[None]).std())


def timed(work: Callable[[], list[Tensor]]) -> tuple[float, list[Tensor]]:
    """Return the shortest time of a few rounds, and the result."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--stride", type=int, default=16, help="output stride (resnet38d: 8)")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--batch", type=int, default=1, help="images per forward pass, mirror images counted")
    options = parser.parse_args()
    torch.manual_seed(0)
    stride = 8 if options.backbone == "resnet38d" else options.stride
    network = Localiser(build_backbone(options.backbone, stride), CLASSES + 1).eval()
    images = photographs(options.images, (options.width, options.height))
    spread_logits(network, images[0])
    classes = [np.array([i % CLASSES, (i + 7) % CLASSES]) for i in range(len(images))]
    slow, expected = timed(lambda: one_at_a_time(network, images, classes))
    size = f"{options.width} x {options.height}"
    print(f"{options.backbone} at stride {stride}, {len(images)} images of {size}, {torch.get_num_threads()} threads\n")
    print("| procedure | images/s | ratio | largest difference of a map |")
    print("|---|---|---|---|")
    print(f"| one pass per image, scale and orientation | {len(images) / slow:.2f} | 1.0 x | - |")
    for precision in ("fp32", "bf16"):
        swift, maps = timed(lambda precision=precision: batched(network, images, classes, precision, options.batch))
        apart = max(float((a - b).abs().max()) for a, b in zip(maps, expected, strict=True))
        name = f"batched, batch {options.batch}, {precision}"
        print(f"| {name} | {len(images) / swift:.2f} | {slow / swift:.1f} x | {apart:.1e} |")


if __name__ == "__main__":
    main()
