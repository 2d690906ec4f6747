"""Parity of the dense CRF's torch backend with pydensecrf on photographs: probabilities, labels, permuted labels.

    python benchmarks/crf_parity.py FOLDER [--count 50] [--labels 2 3 21]

FOLDER holds photographs. Each is solved under four published settings by pydensecrf, by the compiled kernels (CPU) and
by plain torch (what runs on a GPU). Unary energies come from smooth random fields: labels with confidence 0.7 and an
ignored band, class probabilities, or, as SGAN trains, minus the probabilities on a map of 41 x 41. Ends with status 1
where a limit is exceeded.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from seedbed.crf.densecrf import PydensecrfSolver
from seedbed.crf.meanfield import CompiledEngine, TensorEngine, TorchSolver
from seedbed.crf.unary import GivenUnary, LabelUnary, Problem, ScoreUnary
from seedbed.params import CrfParams

LARGEST_DIFFERENCE, LEAST_EQUAL = 1e-4, 0.9999
SETTINGS = {
    "PSA": CrfParams(),
    "EPS": CrfParams(gaussian_xy=1, bilateral_xy=67, bilateral_rgb=3, bilateral_weight=4),
    "AFA": CrfParams(bilateral_xy=64, bilateral_rgb=5, bilateral_weight=4),
    "SGAN": CrfParams(gaussian_xy=3 / 12, bilateral_xy=80 / 12),
}
"""Where a publication leaves the smoothness kernel open: width 3, weight 3."""

SOLVERS = {
    "pydensecrf": PydensecrfSolver(),
    "compiled": TorchSolver(CompiledEngine(), 128 << 20),
    "plain torch": TorchSolver(TensorEngine(torch.device("cpu")), 128 << 20),
}


def scores_of(size, classes, rng):
    """Return class probabilities float32 [M,H,W] with smooth borders, as a network gives."""
    fields = ndimage.gaussian_filter(rng.normal(size=(classes, *size)), (0, min(size) / 15, min(size) / 15))
    powers = np.exp(3 * fields / fields.std())
    return (powers / powers.sum(axis=0)).astype(np.float32)


def problem_of(setting, number, photograph, classes):
    """Return the problem of a `photograph` under a setting, and the same with its labels in another order."""
    rng = np.random.default_rng((number, classes))
    if setting == "SGAN":
        photograph = photograph.resize((41, 41), Image.Resampling.BILINEAR)
    image = np.asarray(photograph)
    scores = scores_of(image.shape[:2], classes, rng)
    order = rng.permutation(classes)
    if setting == "AFA":
        unary = [ScoreUnary(each, SETTINGS[setting].floor) for each in (scores, scores[order])]
    elif setting == "SGAN":
        unary = [GivenUnary(-each) for each in (scores, scores[order])]
    else:
        labels = np.where(scores.max(axis=0) < 0.5, 255, scores.argmax(axis=0)).astype(np.uint8)
        energies = LabelUnary(labels, np.arange(classes, dtype=np.uint8), SETTINGS[setting].confidence).energies()
        unary = [GivenUnary(each) for each in (energies, energies[order])]
    return [Problem(image, each, number) for each in unary], order


def compare(setting, classes, files):
    """Return per solver: largest difference from pydensecrf, share of equal labels, largest change by permutation."""
    difference, permuted = dict.fromkeys(SOLVERS, 0.0), dict.fromkeys(SOLVERS, 0.0)
    equal, pixels = dict.fromkeys(SOLVERS, 0), 0
    for number, file in enumerate(files):
        with Image.open(file) as photograph:
            problems, order = problem_of(setting, number, photograph.convert("RGB"), classes)
        expected = SOLVERS["pydensecrf"].probabilities(problems[:1], SETTINGS[setting])[0]
        pixels += expected[0].size
        for name, solver in SOLVERS.items():
            found, changed = (solver.probabilities([problem], SETTINGS[setting])[0] for problem in problems)
            difference[name] = max(difference[name], np.abs(found - expected).max())
            permuted[name] = max(permuted[name], np.abs(found[order] - changed).max())
            equal[name] += np.sum(found.argmax(axis=0) == expected.argmax(axis=0))
    return {name: (difference[name], equal[name] / pixels, permuted[name]) for name in SOLVERS}


def main():
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of photographs")
    parser.add_argument("--count", type=int, default=50, help="number of photographs (default: 50)")
    parser.add_argument("--labels", type=int, nargs="+", default=[2, 3, 21], help="numbers of labels (default: 2 3 21)")
    options = parser.parse_args()
    files = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    files = files[:: max(1, len(files) // options.count)][: options.count]
    if not files:
        parser.error(f"no photographs in {options.folder}")

    console = Console()
    table = Table("setting", "labels", "implementation", "max |dQ|", "equal labels", "max |dQ| permuted")
    table.title = f"{len(files)} photographs against pydensecrf, 10 iterations"
    failed = False
    for setting, classes in itertools.product(SETTINGS, options.labels):
        for name, (difference, equal, permuted) in compare(setting, classes, files).items():
            if name != "pydensecrf":
                failed |= difference > LARGEST_DIFFERENCE or equal < LEAST_EQUAL
            table.add_row(setting, str(classes), name, f"{difference:.1e}", f"{equal:.4%}", f"{permuted:.1e}")
    console.print(table)
    if failed:
        raise SystemExit(f"limits exceeded: {LARGEST_DIFFERENCE} and {LEAST_EQUAL:.2%}")


if __name__ == "__main__":
    main()
