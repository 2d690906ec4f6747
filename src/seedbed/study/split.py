"""Who chooses and who reports: the split of the images of a study, and the guard of its evaluation images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seedbed.errors import UserError

Array = npt.NDArray[Any]
TuneImages = int | Literal["all"]


@dataclass(frozen=True)
class Split:
    """Images that choose (in order of choice) and images that report (in list order); the same ones for an oracle."""

    tune: tuple[str, ...]
    report: tuple[str, ...]

    @property
    def oracle(self) -> bool:
        """Whether the choice is scored on the images that made it."""
        return bool(self.tune) and self.tune == self.report


def choose_split(ids: Sequence[str], labels: Mapping[str, Array], tune_images: TuneImages, seed: int) -> Split:
    """Draw `tune_images` of the `ids`, the same for every method: at random, but every class that fits in is shown.

    Rare classes first, each class not shown yet gets the first image of the random order that has it; random images
    fill up. Only image labels are looked at. With "all" every image chooses and reports. Raises UserError when there is
    no image to choose by, and when none would be left to report on.
    """
    if tune_images and not ids:
        raise UserError(
            "no training image has a mask: nothing to choose thresholds by",
            "set study.tune_images: 0 in params.yaml to take the published thresholds",
        )
    if tune_images == "all":
        return Split(tuple(ids), tuple(ids))
    if tune_images and tune_images >= len(ids):
        raise UserError(
            f"{tune_images} labelled images to choose by leave none of the {len(ids)} with a mask to report on",
            "let fewer choose (study.tune_images in params.yaml, or --images), or all of them, as an oracle",
        )
    order = [ids[index] for index in np.random.default_rng(seed).permutation(len(ids))]
    classes = {name: set(np.flatnonzero(labels[name]).tolist()) for name in order} if tune_images else {}
    holders = {index: [name for name in order if index in classes[name]] for index in set().union(*classes.values())}
    tune: dict[str, None] = {}  # an ordered set
    shown: set[int] = set()
    for index in sorted(holders, key=lambda index: (len(holders[index]), index)):
        if index not in shown and len(tune) < tune_images:
            tune[holders[index][0]] = None
            shown |= classes[holders[index][0]]
    for name in order:
        if len(tune) < tune_images:
            tune[name] = None
    return Split(tuple(tune), tuple(name for name in ids if name not in tune))


def check_split(ids: Sequence[str], evaluation: Collection[str]) -> None:
    """Raise UserError when one of the `ids` that may choose is an image that segmenters are evaluated on."""
    held_out = frozenset(evaluation)
    shared = [name for name in ids if name in held_out]
    if shared:
        raise UserError(
            f"{len(shared)} of the {len(ids)} images to choose thresholds on are in the evaluation list data.val, "
            f"the first is '{shared[0]}': whatever they chose, its scores there would flatter",
            "take them out of the image list data.train",
        )
