"""The pictures of the comparison page: which images are shown, and how their maps are painted."""

from __future__ import annotations

import base64
import colorsys
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from seedbed import IGNORE
from seedbed.errors import UserError
from seedbed.evaluate.scores import PRIMARY, VARIANTS, mean_iou
from seedbed.paths import Paths
from seedbed.report.results import Results, Sources, mend, report_images

SHOWN = {
    "pseudo": {"disagree": 4, "best": 2, "worst": 4, "typical": 2},
    "val": {"disagree": 2, "best": 2, "worst": 2, "typical": 2},
}
"""How many images of each kind are shown, of the training images (pseudo-labels) and of the validation images."""

SHOWN_UNSCORED = {"disagree": 8, "spread": 4}
"""How many training images of each kind are shown where there are no masks to score them by."""

ERRORS = {"missed": (213, 94, 0), "added": (0, 114, 178), "confused": (204, 121, 167)}
"""Colours of wrong pixels: object taken for background, background taken for an object, one class for another."""

_PRIMARY = VARIANTS[PRIMARY]
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
    """Pictures under one heading: the input, one method (with its score on this image), or the truth (may lack)."""

    title: str
    method: str | None
    score: float | None
    tiles: list[Tile]


@dataclass(frozen=True)
class Card:
    """Everything about one image; `legend` names the classes of its truth (else of its labels), with their colours."""

    image: str
    columns: list[Column]
    legend: list[tuple[str, str]]


@dataclass(frozen=True)
class Group:
    """Cards that were picked for the same reason: disagree, best, worst, typical or spread."""

    kind: str
    cards: list[Card]


@dataclass(frozen=True)
class Pick:
    """An image to show, and the mIoU of each method on it alone (None without a mask)."""

    image: str
    quality: Sequence[float | None]


def build_gallery(paths: Paths, results: Results, sources: Sources) -> dict[str, list[Group]]:
    """Return the groups of cards of the training images (`pseudo`) and of the validation images (`val`)."""
    picks = {part: _picks(paths, results, part) for part in SHOWN}
    shown = {part: [pick.image for chosen in kinds.values() for pick in chosen] for part, kinds in picks.items()}
    count = len(results.methods)
    painter = Painter(
        paths,
        results.methods,
        sources,
        {method: sources.predict(method, shown["pseudo"]) for method in results.methods if shown["pseudo"]},
        side=picture_side(len(shown["pseudo"]) * (3 * count + 3) + len(shown["val"]) * (2 * count + 3)),
    )
    draw = {"pseudo": painter.training_card, "val": painter.validation_card}
    return {
        part: [Group(kind, [draw[part](pick) for pick in chosen]) for kind, chosen in kinds.items() if chosen]
        for part, kinds in picks.items()
    }


def _picks(paths: Paths, results: Results, part: str) -> dict[str, list[Pick]]:
    """Choose the images of a part, by kind: by score, or training images without masks by disagreement."""
    measured = [results.measured[part][method] for method in results.methods]
    if part == "pseudo" and not measured[0].scored:
        ids = report_images(paths, results.methods[0])
        gaps = np.array([_disagreement(paths, results.methods, image) for image in ids])
        unknown = [None] * len(measured)
        chosen = choose_unscored(gaps, SHOWN_UNSCORED)
        return {kind: [Pick(ids[index], unknown) for index in indices] for kind, indices in chosen.items()}
    quality = np.stack([mean_iou(one.confusions.areas(_PRIMARY.ignore), _PRIMARY.absent) for one in measured])
    chosen = choose_images(quality, SHOWN[part])
    return {
        kind: [Pick(measured[0].ids[index], quality[:, index].tolist()) for index in indices]
        for kind, indices in chosen.items()
    }


def _disagreement(paths: Paths, methods: Sequence[str], image: str) -> float:
    """Return the share of pixels to which the methods' pseudo-labels do not all give the same id."""
    if len(methods) == 1:
        return 0.0
    first, *others = (
        _read_labels(paths.pseudo_labels(method) / f"{image}.png", "pseudo", method) for method in methods
    )
    return float(np.any([other != first for other in others], axis=0).mean())


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


def choose_unscored(gaps: npt.NDArray[np.float64], counts: dict[str, int]) -> dict[str, list[int]]:
    """Pick images without scores by the disagreement `gaps` [images] between methods; no image is picked twice.

    `disagree`: largest gap, if any; `spread`: evenly over the others, in their order. Ties go to the earlier image.
    """
    ranked = [int(index) for index in np.argsort(-gaps, kind="stable") if gaps[index] > 0]
    disputed = ranked[: counts["disagree"]]
    others = [index for index in range(len(gaps)) if index not in disputed]
    places = np.linspace(0, len(others) - 1, min(counts["spread"], len(others))).round()
    return {"disagree": disputed, "spread": [others[int(place)] for place in places]}


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
    """Paints the cards of images at a long side of `side` pixels.

    `predicted[method][image]`: what the segmenter makes of the training images that are shown, uint8 [H,W].
    """

    paths: Paths
    methods: Sequence[str]
    sources: Sources
    predicted: Mapping[str, Mapping[str, Pixels]]
    side: int

    def training_card(self, pick: Pick) -> Card:
        """Return photo, saliency map, truth, if there is one, and each method's class map, pseudo-label and prediction.

        A method whose pseudo-labels were imported has no class map.
        """
        image = pick.image
        photo, truth = np.asarray(self.sources.image(image)), self._truth(pick)
        columns, labels = [], []
        for method, score in zip(self.methods, pick.quality, strict=True):
            maps = self.sources.cams(method, image)
            label = _read_labels(self.paths.pseudo_labels(method) / f"{image}.png", "pseudo", method)
            prediction = self.predicted[method][image]
            tiles = [
                *(
                    []
                    if maps is None
                    else [self._tile(_heat(photo, maps[0]), "class map", f"class map of {method} on {image}")]
                ),
                self._label_tile(photo, label, "pseudo-label", f"{method} on {image}"),
                self._label_tile(photo, prediction, "prediction", f"{method} on {image}"),
            ]
            columns.append(Column(method, method, score, tiles))
            labels += [label, prediction]
        return self._card(image, photo, truth, columns, [truth] if truth is not None else labels)

    def validation_card(self, pick: Pick) -> Card:
        """Return photo, saliency map if any, each method's prediction and errors, and truth of a validation image."""
        image = pick.image
        photo, truth = np.asarray(self.sources.image(image)), self.sources.mask(image)
        columns = []
        for method, score in zip(self.methods, pick.quality, strict=True):
            label = _read_labels(self.paths.predictions(method) / f"{image}.png", "evaluate-segmenter", method)
            tiles = [
                self._label_tile(photo, label, "prediction", f"{method} on {image}"),
                self._tile(_errors(photo, label, truth), "errors", f"wrong pixels of {method} on {image}"),
            ]
            columns.append(Column(method, method, score, tiles))
        return self._card(image, photo, truth, columns, [truth])

    def _truth(self, pick: Pick) -> Pixels | None:
        """Return the mask of a training image; one that was not scored may have none."""
        try:
            return self.sources.mask(pick.image)
        except UserError:
            if None not in pick.quality:
                raise
            return None

    def _card(
        self, image: str, photo: Pixels, truth: Pixels | None, columns: list[Column], labels: Sequence[Pixels]
    ) -> Card:
        """Add input and truth to the methods' columns, and a legend of the classes in `labels`."""
        saliency = self.sources.saliency(image)
        inputs = [self._tile(photo, "photo", f"photo {image}")]
        if saliency is not None:
            inputs.append(self._tile(np.repeat(saliency[..., None], 3, axis=2), "saliency", f"saliency map of {image}"))
        reference = [self._label_tile(photo, truth, "truth", image)] if truth is not None else []
        classes = sorted({int(label) for one in labels for label in np.unique(one) if 0 < label < IGNORE})
        colours = class_colours(len(self.sources.classes))
        legend = [
            (self.sources.classes[label - 1], "#{:02x}{:02x}{:02x}".format(*colours[label - 1])) for label in classes
        ]
        return Card(
            image, [Column("input", None, None, inputs), *columns, Column("truth", None, None, reference)], legend
        )

    def _names(self, labels: Pixels) -> str:
        found = [self.sources.classes[label - 1] for label in np.unique(labels) if 0 < label < IGNORE]
        return ", ".join(found) or "background only"

    def _paint(self, photo: Pixels, labels: Pixels) -> Pixels:
        """Return the photo in pale grey under the colours of its classes; ignored pixels are white."""
        table = np.zeros((256, 3), np.float32)
        table[1 : len(self.sources.classes) + 1] = class_colours(len(self.sources.classes))
        table[IGNORE] = 255
        return _blend(photo, table[labels], labels != 0, strength=np.where(labels == IGNORE, 0.9, 0.72)[..., None])

    def _label_tile(self, photo: Pixels, labels: Pixels, kind: str, whose: str) -> Tile:
        return self._tile(self._paint(photo, labels), kind, f"{kind} of {whose}: {self._names(labels)}")

    def _tile(self, pixels: Pixels, caption: str, alt: str) -> Tile:
        """Encode a picture (uint8 [H,W,3]), shrunk to `side`."""
        picture = Image.fromarray(pixels)
        picture.thumbnail((self.side, self.side), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        picture.save(stream, "WEBP", quality=_QUALITY, method=6)
        return Tile(caption, alt, "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode())


def _read_labels(path: Path, stage: str, method: str) -> Pixels:
    try:
        with Image.open(path) as stored:
            return np.array(stored)
    except (FileNotFoundError, UnidentifiedImageError):
        raise UserError(f"{path} does not exist or is no image", mend(stage, method)) from None


def _heat(photo: Pixels, cams: npt.NDArray[Any]) -> Pixels:
    """Paint the largest of the class maps [K,H,W] over the photo."""
    height, width = photo.shape[:2]
    strongest = cams.astype(np.float32).max(axis=0) if len(cams) else np.zeros((height, width), np.float32)
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
