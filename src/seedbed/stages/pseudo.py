"""The stage of pseudo-labels: class maps fused with saliency, by the values that the study chose."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from seedbed.crf.dense import refine_many
from seedbed.data.masks import write_mask
from seedbed.engine.progress import Meter
from seedbed.errors import UserError
from seedbed.evaluate.confusion import confusion
from seedbed.files import read_json
from seedbed.params import CrfParams
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
    recipe = choose_recipe(context, name)
    ids = voc.ids(params.data.train)
    scored, split = _scored_ids(context, name, ids)
    masked = set(scored)
    blocks = {"fusion": params.fusion[name], "values": recipe.values, **({"crf": recipe.crf} if recipe.crf else {})}
    with context.run("pseudo", name, **blocks) as run, Meter(f"pseudo {name}", len(ids)) as meter:
        per_image = {}
        for image_id, mask in _pseudo_labels(context, name, recipe, ids):
            write_mask(paths.pseudo_labels(name) / f"{image_id}.png", mask)
            if image_id in masked:
                truth = voc.mask(image_id, (mask.shape[1], mask.shape[0]))
                per_image[image_id] = confusion(truth, mask, context.num_ids, image_id)
            meter.advance(1)
        matrices = {image_id: per_image[image_id] for image_id in scored}
        metrics = report_scores(context, run, "pseudo", name, split, matrices, recipe.describe())
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
        crf = self.crf.model_dump() if self.crf else None
        return {"rule": self.rule.name, "values": self.values, "choose": self.choose, "crf": crf}


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
    data = context.params.data
    if context.params.study.tune_images == "all":
        masked = [image_id for image_id in ids if context.voc.mask_path(image_id).is_file()]
        return masked, f"{data.train}, the images that the study chose on (oracle)"
    split = read_json(context.paths.study(name) / "split.json", f"seedbed study --method {name}")
    tuned = set(split["tune"])
    scored = [image_id for image_id in ids if image_id not in tuned and context.voc.mask_path(image_id).is_file()]
    described = f"{data.train} without the {len(tuned)} tuning images" if tuned else data.train
    unmasked = len(ids) - len(tuned) - len(scored)
    return scored, described + (f" and {unmasked} without mask" if unmasked else "")


def _pseudo_labels(context: Context, name: str, recipe: Recipe, ids: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (id, pseudo-label uint8 [H,W]) of every image, refined by dense CRF where the recipe says so."""
    maps = Maps(context, name)
    labels = context.voc.labels(ids)
    images = (maps.image(image_id, saliency=recipe.rule.needs_saliency) for image_id in ids)
    fused = fuse(recipe.rule, recipe.values, images, context.device)
    if recipe.crf is None:
        yield from fused
        return
    crf, params = recipe.crf, context.params
    items = (
        (image_id, np.asarray(context.voc.image(image_id)), mask, [0, *(np.flatnonzero(labels[image_id]) + 1).tolist()])
        for image_id, mask in fused
    )
    yield from keep_names(
        items, lambda stream: refine_many(stream, crf, params.jobs, params.crf_backend, context.device)
    )
