"""Peak memory of every stage at 100 and at 1,000 training images: it must not grow with the data set.

Run: python benchmarks/memory.py [--images 100 1000]

The images are those of the sample, copied under many names; trainings take five steps. Each stage is a process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path

import yaml

from seedbed.data.sample import Counts, write_sample

ROOT = Path(__file__).parents[1]
DRAWN = 50
STAGES = (
    ("data", "check"),
    ("train-saliency",),
    ("predict-saliency",),
    ("train-localiser", "-m", "eps"),
    ("seeds", "-m", "eps"),
    ("study", "-m", "eps"),
    ("pseudo", "-m", "eps"),
    ("train-segmenter", "-m", "eps"),
    ("evaluate-segmenter", "-m", "eps"),
)


def project(root: Path, images: int) -> None:
    """Write a project with `images` training images, as many validation images, and few steps of training."""
    write_sample(root / "data", Counts(train=DRAWN, val=DRAWN, saliency_train=16, saliency_test=4))
    voc = root / "data" / "VOCdevkit" / "VOC2012"
    labels = json.loads((root / "data" / "image_labels.json").read_text())
    for split, name in (("train_aug", "train"), ("val", "val")):
        ids = [f"{name}_{index:04d}" for index in range(images)]
        for index, image_id in enumerate(ids[DRAWN:], DRAWN):
            drawn = ids[index % DRAWN]
            labels[image_id] = labels[drawn]
            for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClassAug", "png")):
                content = (voc / folder / f"{drawn}.{suffix}").read_bytes()
                (voc / folder / f"{image_id}.{suffix}").write_bytes(content)
        (voc / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(ids) + "\n")
    (root / "data" / "image_labels.json").write_text(json.dumps(labels))
    params = yaml.safe_load((ROOT / "profiles" / "sample.yaml").read_text())
    for block in (params["saliency"], params["localiser"]["eps"], params["segmenter"]):
        block["train"] |= {"steps": 5, "log_every": 5}
    params["study"] |= {"tune_images": 20, "trials": 5, "crf_trials": 1}
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def peak(root: Path, words: tuple[str, ...]) -> float:
    """Run one command and return the largest resident set of any of its processes, in MiB."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "seedbed.cli", *words]
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def isolated_peak(root: Path, words: tuple[str, ...]) -> float:
    """Return `peak` measured in a fresh process, because the maximum over children never falls."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(peak, (root, words))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs=2, default=[100, 1000])
    few, many = parser.parse_args().images
    print(f"| stage | {few} images, MiB | {many} images, MiB | ratio |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        roots = [Path(folder) / str(count) for count in (few, many)]
        for root, count in zip(roots, (few, many), strict=True):
            project(root, count)
        for words in STAGES:
            small, large = (isolated_peak(root, words) for root in roots)
            print(f"| {' '.join(words)} | {small:.0f} | {large:.0f} | {large / small:.2f} |", flush=True)


if __name__ == "__main__":
    main()
