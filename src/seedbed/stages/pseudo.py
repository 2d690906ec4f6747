"""The stage of pseudo-labels: class maps fused with saliency, by the values that the study chose."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from seedbed import IGNORE
from seedbed.crf.dense import refine_many
from seedbed.data.masks import write_mask
from seedbed.errors import UserError
from seedbed.evaluate.confusion import Collected, confusion
from seedbed.files import read_json
from seedbed.methods.imported import Import, ready_made
from seedbed.params import CrfParams
from seedbed.progress import Meter
from seedbed.seeds.fusion import Rule, find_rule, fuse, published_values, resolve_values
from seedbed.stages.context import Context
from seedbed.stages.maps import Maps
from seedbed.stages.naming import keep_names
from seedbed.stages.scoring import log_masks, report_scores
from seedbed.study.protocol import read_best


def pseudo(context: Context, name: str) -> None:
    """Write the pseudo-label of every training image, and score those that no threshold was chosen on.

    Training images without a mask are not scored; without any mask the metrics hold no mIoU.
    """
    started = time.perf_counter()
    params, paths, voc = context.params, context.paths, context.voc
    ids = voc.ids(params.data.train)
    given, recipe = context.import_of(name), _recipe(context, name)
    described = recipe.describe() | ({"imported": given.describe()} if given else {})
    scored, split = _scored_ids(context, name, ids)
    masked = frozenset(scored)
    blocks = {
        "fusion": params.fusion[name],
        "values": described["values"],
        **({"crf": recipe.crf} if recipe.crf else {}),
    }
    with context.run("pseudo", name, **blocks) as run, Meter(f"pseudo {name}", len(ids)) as meter:
        collected = Collected(context.num_ids)
        for image_id, mask in _refined(context, recipe.crf, ids, recipe.masks(context, name, ids)):
            write_mask(paths.pseudo_labels(name) / f"{image_id}.png", mask)
            if image_id in masked:
                truth = voc.mask(image_id, (mask.shape[1], mask.shape[0]))
                collected.add(image_id, confusion(truth, mask, context.num_ids, image_id))
            meter.advance(1)
        metrics = report_scores(context, run, "pseudo", name, split, scored, collected, described)
        log_masks(context, run, paths.pseudo_labels(name), ids)
        run.finish(metrics, {"seconds": time.perf_counter() - started})


@dataclass(frozen=True)
class Recipe:
    """How pseudo-labels are made: a rule, its values, how they were chosen, and CRF parameters or None."""

    rule: Rule
    values: dict[str, float]
    choose: str
    crf: CrfParams | None

    def describe(self) -> dict[str, Any]:
        """Return the entries of the metrics file."""
        return {"rule": self.rule.name, "values": self.values, "choose": self.choose, "crf": _dump(self.crf)}

    def masks(self, context: Context, name: str, ids: list[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (id, pseudo-label uint8 [H,W]) of every image, before any CRF."""
        maps = Maps(context, name)
        images = (maps.image(image_id, saliency=self.rule.needs_saliency) for image_id in ids)
        return fuse(self.rule, self.values, images, context.device)


@dataclass(frozen=True)
class ReadyMade:
    """Pseudo-labels that were imported: no rule, nothing chosen, and CRF parameters or None."""

    given: Import
    crf: CrfParams | None

    def describe(self) -> dict[str, Any]:
        """Return the entries of the metrics file."""
        return {"rule": None, "values": {}, "choose": "imported", "crf": _dump(self.crf)}

    def masks(self, context: Context, name: str, ids: list[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (id, pseudo-label uint8 [H,W]) of every image, before any CRF."""
        images = {image_id: context.voc.image_path(image_id) for image_id in ids}
        return ready_made(self.given, self.given.folder(context.paths), images, context.voc.num_classes)


def _dump(crf: CrfParams | None) -> dict[str, Any] | None:
    return crf.model_dump() if crf else None


def _recipe(context: Context, name: str) -> Recipe | ReadyMade:
    """Return how the pseudo-labels of method `name` come about."""
    ready = context.ready_made(name)
    if ready is None:
        return choose_recipe(context, name)
    return ReadyMade(ready, context.params.crf if context.params.fusion[name].crf else None)


def choose_recipe(context: Context, name: str) -> Recipe:
    """Return the recipe that the parameters ask for: published values, the study's choice, or given values."""
    fusion, params = context.params.fusion[name], context.params
    rule = find_rule(fusion.rule)
    crf = params.crf if fusion.crf else None
    if fusion.choose == "published":
        return Recipe(rule, published_values(rule.name), "published", crf)
    if fusion.choose == "given":
        return Recipe(rule, resolve_values(rule.name, fusion.values), "given", crf)
    best = read_best(context.paths.study(name) / "best.yaml")
    if rule.name not in best.rules:
        raise UserError(f"the study of {name} did not look at rule {rule.name}", f"seedbed study --method {name}")
    tuned = "study" if params.study.tune_images else "published"
    return Recipe(rule, best.rules[rule.name], tuned, (best.crf or crf) if fusion.crf else None)


def _scored_ids(context: Context, name: str, ids: list[str]) -> tuple[list[str], str]:
    """Return the images that report, and their description: those with a mask that the study did not choose on.

    They are the same however the values were chosen, so that every choice is scored on the same images. Where all
    images choose, all are scored, and the description says so.
    """
    data, masked = context.params.data, context.voc.masked(ids)
    if context.params.study.tune_images == "all":
        chose = context.ready_made(name) is None
        return masked, data.train + (", the images that the study chose on (oracle)" if chose else "")
    split = read_json(context.paths.study(name) / "split.json", f"seedbed study --method {name}")
    tuned = set(split["tune"])
    scored = [image_id for image_id in masked if image_id not in tuned]
    described = f"{data.train} without the {len(tuned)} tuning images" if tuned else data.train
    unmasked = len(ids) - len(tuned) - len(scored)
    return scored, described + (f" and {unmasked} without mask" if unmasked else "")


def _refined(
    context: Context, crf: CrfParams | None, ids: list[str], masks: Iterator[tuple[str, np.ndarray]]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield `masks` (id, uint8 [H,W]), by dense CRF moved to the edges of their images unless `crf` is None."""
    if crf is None:
        yield from masks
        return
    labels, params = context.voc.labels(ids), context.params
    items = (
        (image_id, np.asarray(context.voc.image(image_id)), mask, _candidates(mask, labels[image_id]))
        for image_id, mask in masks
    )
    yield from keep_names(
        items, lambda stream: refine_many(stream, crf, params.jobs, params.crf_backend, context.device)
    )


def _candidates(mask: np.ndarray, label: np.ndarray) -> list[int]:
    """Return the ids that an image may show: those of its labels, and what imported pseudo-labels hold beyond them."""
    return sorted({0, *(np.flatnonzero(label) + 1).tolist(), *np.unique(mask).tolist()} - {IGNORE})
