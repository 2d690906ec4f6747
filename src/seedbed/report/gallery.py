"""The pictures of the comparison page: which images are shown, and how their maps are painted."""

from __future__ import annotations

import base64
import colorsys
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from seedbed import IGNORE
from seedbed.errors import UserError
from seedbed.evaluate.scores import scores
from seedbed.paths import Paths
from seedbed.report.results import Results, Sources, mend

SHOWN = {
    "pseudo": {"disagree": 4, "best": 2, "worst": 4, "typical": 2},
    "val": {"disagree": 2, "best": 2, "worst": 2, "typical": 2},
}
"""How many images of each kind are shown, of the training images (pseudo-labels) and of the validation images."""

ERRORS = {"missed": (213, 94, 0), "added": (0, 114, 178), "confused": (204, 121, 167)}
"""Colours of wrong pixels: object taken for background, background taken for an object, one class for another."""

_OKABE_ITO = ("E69F00", "56B4E9", "009E73", "D55E00", "CC79A7", "0072B2", "F0E442")
_BUDGET = 1_700_000  # bytes of all pictures before base64, so that the page stays below 3 MB
_BYTES_PER_PIXEL = 0.22  # of a photograph with an overlay in WebP at this quality, as measured on VOC
_QUALITY = 76
_LARGEST = 256  # long side of a picture; more would not be seen at the size they are shown

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Tile:
    """One picture: a caption, what a screen reader says, and the image as a data URI."""

    caption: str
    alt: str
    source: str


@dataclass(frozen=True)
class Column:
    """Pictures under one heading: the input, one method (with its score on this image), or the truth."""

    title: str
    method: str | None
    score: float | None
    tiles: list[Tile]


@dataclass(frozen=True)
class Card:
    """Everything about one image; `legend` names the classes in it, with their colours."""

    image: str
    columns: list[Column]
    legend: list[tuple[str, str]]


@dataclass(frozen=True)
class Group:
    """Cards that were picked for the same reason: disagree, best, worst or typical."""

    kind: str
    cards: list[Card]


def build_gallery(paths: Paths, results: Results, sources: Sources) -> dict[str, list[Group]]:
    """Return the groups of cards of the training images (`pseudo`) and of the validation images (`val`)."""
    picks: dict[str, dict[str, list[int]]] = {}
    quality: dict[str, npt.NDArray[np.float64]] = {}
    for part, counts in SHOWN.items():
        quality[part] = np.stack([scores(results.measured[part][method].confusions).miou for method in results.methods])
        picks[part] = choose_images(quality[part], counts)
    cards = sum(len(chosen) for kinds in picks.values() for chosen in kinds.values())
    painter = Painter(paths, results.methods, sources, side=picture_side(cards * (2 * len(results.methods) + 3)))
    gallery: dict[str, list[Group]] = {}
    for part, kinds in picks.items():
        ids = results.measured[part][results.methods[0]].ids
        draw = painter.training_card if part == "pseudo" else painter.validation_card
        gallery[part] = [
            Group(kind, [draw(ids[index], quality[part][:, index].tolist()) for index in chosen])
            for kind, chosen in kinds.items()
            if chosen
        ]
    return gallery


def choose_images(quality: npt.NDArray[np.float64], counts: dict[str, int]) -> dict[str, list[int]]:
    """Pick images by the scores `quality` [methods, images] of each alone; no image is picked twice.

    `disagree`: largest gap between methods; `best`, `worst`: highest and lowest mean over methods; `typical`: nearest
    to the median mean. Images without a score (NaN) are left out. Ties go to the earlier image.
    """
    mean, gap = quality.mean(axis=0), np.ptp(quality, axis=0)
    scored = np.flatnonzero(np.isfinite(mean))
    if scored.size == 0:
        return {kind: [] for kind in counts}
    order = {
        "disagree": -gap if len(quality) > 1 else np.full_like(gap, np.inf),
        "best": -mean,
        "worst": mean,
        "typical": np.abs(mean - np.median(mean[scored])),
    }
    taken: set[int] = set()
    picks: dict[str, list[int]] = {}
    for kind, count in counts.items():
        ranked = [int(index) for index in scored[np.argsort(order[kind][scored], kind="stable")]]
        free = [index for index in ranked if index not in taken and math.isfinite(order[kind][index])]
        picks[kind] = free[:count]
        taken.update(picks[kind])
    return picks


def picture_side(pictures: int) -> int:
    """Return the long side in pixels at which so many pictures stay within the page's budget."""
    area = _BUDGET / max(pictures, 1) / _BYTES_PER_PIXEL
    return int(min(_LARGEST, math.sqrt(area * 4 / 3)))  # photographs are about 4:3


def class_colours(count: int) -> list[Colour]:
    """Return one colour per object class: for up to 7 classes a palette that colour-blind readers can tell apart.

    Source of the palette: Okabe and Ito, Color Universal Design, 2008. More classes step round the hue circle.
    """
    if count <= len(_OKABE_ITO):
        colours = [bytes.fromhex(code) for code in _OKABE_ITO[:count]]
        return [(red, green, blue) for red, green, blue in colours]
    wheel = [colorsys.hls_to_rgb(index * 0.618034 % 1, (0.42, 0.6, 0.5)[index % 3], 0.75) for index in range(count)]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in wheel]


@dataclass(frozen=True)
class Painter:
    """Paints the cards of images at a long side of `side` pixels."""

    paths: Paths
    methods: Sequence[str]
    sources: Sources
    side: int

    def training_card(self, image: str, quality: Sequence[float]) -> Card:
        """Return photo, saliency map, each method's class map and pseudo-label, and truth of a training image."""
        photo, truth = np.asarray(self.sources.image(image)), self.sources.mask(image)
        columns = []
        for method, score in zip(self.methods, quality, strict=True):
            cams = np.asarray(self.sources.cams(method, image)[0], np.float32)
            label = self._labels(self.paths.pseudo_labels(method) / f"{image}.png", "pseudo", method)
            tiles = [
                self._tile(_heat(photo, cams), "class map", f"class map of {method} on {image}"),
                self._tile(
                    self._paint(photo, label),
                    "pseudo-label",
                    f"pseudo-label of {method} on {image}: {self._names(label)}",
                ),
            ]
            columns.append(Column(method, method, float(score), tiles))
        return self._card(image, photo, truth, columns)

    def validation_card(self, image: str, quality: Sequence[float]) -> Card:
        """Return photo, saliency map, each method's prediction and its errors, and truth of a validation image."""
        photo, truth = np.asarray(self.sources.image(image)), self.sources.mask(image)
        columns = []
        for method, score in zip(self.methods, quality, strict=True):
            label = self._labels(self.paths.predictions(method) / f"{image}.png", "evaluate-segmenter", method)
            tiles = [
                self._tile(
                    self._paint(photo, label), "prediction", f"prediction of {method} on {image}: {self._names(label)}"
                ),
                self._tile(_errors(photo, label, truth), "errors", f"wrong pixels of {method} on {image}"),
            ]
            columns.append(Column(method, method, float(score), tiles))
        return self._card(image, photo, truth, columns)

    def _card(self, image: str, photo: Pixels, truth: Pixels, columns: list[Column]) -> Card:
        saliency = self.sources.saliency(image)
        inputs = [
            self._tile(photo, "photo", f"photo {image}"),
            self._tile(np.repeat(saliency[..., None], 3, axis=2), "saliency", f"saliency map of {image}"),
        ]
        reference = [self._tile(self._paint(photo, truth), "truth", f"true mask of {image}: {self._names(truth)}")]
        classes = [int(label) for label in np.unique(truth) if 0 < label < IGNORE]
        colours = class_colours(len(self.sources.classes))
        legend = [
            (self.sources.classes[label - 1], "#{:02x}{:02x}{:02x}".format(*colours[label - 1])) for label in classes
        ]
        return Card(
            image, [Column("input", None, None, inputs), *columns, Column("truth", None, None, reference)], legend
        )

    def _labels(self, path: Path, stage: str, method: str) -> Pixels:
        try:
            with Image.open(path) as stored:
                return np.array(stored)
        except (FileNotFoundError, UnidentifiedImageError):
            raise UserError(f"{path} does not exist or is no image", mend(stage, method)) from None

    def _names(self, labels: Pixels) -> str:
        found = [self.sources.classes[label - 1] for label in np.unique(labels) if 0 < label < IGNORE]
        return ", ".join(found) or "background only"

    def _paint(self, photo: Pixels, labels: Pixels) -> Pixels:
        """Return the photo in pale grey under the colours of its classes; ignored pixels are white."""
        table = np.zeros((256, 3), np.float32)
        table[1 : len(self.sources.classes) + 1] = class_colours(len(self.sources.classes))
        table[IGNORE] = 255
        return _blend(photo, table[labels], labels != 0, strength=np.where(labels == IGNORE, 0.9, 0.72)[..., None])

    def _tile(self, pixels: Pixels, caption: str, alt: str) -> Tile:
        """Encode a picture (uint8 [H,W,3]), shrunk to `side`."""
        picture = Image.fromarray(pixels)
        picture.thumbnail((self.side, self.side), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        picture.save(stream, "WEBP", quality=_QUALITY, method=6)
        return Tile(caption, alt, "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode())


def _heat(photo: Pixels, cams: npt.NDArray[np.float32]) -> Pixels:
    """Paint the largest of the class maps [K,H,W] over the photo."""
    height, width = photo.shape[:2]
    strongest = cams.max(axis=0) if len(cams) else np.zeros((height, width), np.float32)
    colours = matplotlib.colormaps["magma"](np.clip(strongest, 0, 1), bytes=True)[..., :3]
    return _mix(_grey(photo), colours.astype(np.float32), 0.7)


def _errors(photo: Pixels, labels: Pixels, truth: Pixels) -> Pixels:
    """Paint the wrong pixels by their kind; pixels without a truth count as right."""
    wrong = (labels != truth) & (truth != IGNORE)
    kinds = {
        "missed": (labels == 0) | (labels == IGNORE),
        "added": truth == 0,
        "confused": (labels != 0) & (truth != 0) & (labels != IGNORE),
    }
    colours = np.zeros((*labels.shape, 3), np.float32)
    for kind, where in kinds.items():
        colours[where] = ERRORS[kind]
    return _blend(photo, colours, wrong, strength=np.float32(0.85))


def _blend(
    photo: Pixels,
    colours: npt.NDArray[Any],
    where: npt.NDArray[np.bool_],
    strength: npt.NDArray[Any] | np.floating[Any],
) -> Pixels:
    """Return `colours` over the grey photo in the pixels `where`, and the photo in pale grey elsewhere."""
    grey = _grey(photo)
    pale = _mix(grey, np.float32(236.0), 0.5)
    return np.where(where[..., None], _mix(grey, colours, strength), pale)


def _grey(photo: Pixels) -> npt.NDArray[np.float32]:
    return np.asarray(Image.fromarray(photo).convert("L"), np.float32)[..., None]


def _mix(under: npt.NDArray[np.float32], over: Any, strength: Any) -> Pixels:
    return np.broadcast_to(np.round(under * (1 - strength) + over * strength), (*under.shape[:2], 3)).astype(np.uint8)
