"""Stages of pseudo-labels: the study of thresholds, and the fusion of class maps with saliency."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from seedbed.crf.dense import refine_many
from seedbed.data.masks import write_mask
from seedbed.data.saliency_sets import load_map
from seedbed.engine.progress import Meter
from seedbed.errors import UserError, named
from seedbed.evaluate.confusion import confusion
from seedbed.files import read_json
from seedbed.params import CrfParams
from seedbed.seeds.fusion import Rule, find_rule, published_values, resolve_values
from seedbed.seeds.store import MapStore
from seedbed.stages.context import Context
from seedbed.stages.naming import keep_names
from seedbed.stages.scoring import log_masks, report_scores
from seedbed.study.protocol import StudyInputs, read_best, run_study
from seedbed.study.trials import Runner, TrialRecord
from seedbed.tracking.record import Status

logger = logging.getLogger(__name__)


def study(context: Context, name: str) -> None:
    """Sweep every threshold exactly, and tune thresholds and CRF parameters on a few labelled images."""
    _, _, fusion = context.method(name)
    params, paths, voc = context.params, context.paths, context.voc
    if params.study.tune_images and not voc.has_masks:
        raise UserError(
            "the study needs masks of training images to choose thresholds on, and data/ holds none",
            "set study.tune_images: 0 in params.yaml to take the published thresholds",
        )
    started = time.perf_counter()
    maps = Maps(context, name)
    ids = voc.ids(params.data.train)
    inputs = StudyInputs(
        name=params.data.train,
        ids=ids,
        num_ids=context.num_ids,
        labels=voc.labels(ids),
        cams=maps.cams,
        saliency=maps.saliency,
        mask=voc.mask,
        image=lambda image_id: np.asarray(voc.image(image_id)),
    )
    blocks = {"study": params.study, "crf": params.crf, "rule": fusion.rule}
    with context.run("study", name, **blocks) as run:

        def log_trial(trial: TrialRecord) -> None:
            status: Status = "FINISHED" if trial.state == "complete" else "KILLED"
            run.child(f"{trial.study} {trial.number}", trial.values, {"miou": trial.miou}, status=status)

        folder = paths.study(name)
        runner = Runner(paths.journal(name), params.seed, log_trial)
        result = run_study(
            inputs,
            params.study,
            params.crf,
            fusion.rule,
            folder,
            runner,
            bootstrap=params.evaluate.bootstrap,
            jobs=params.jobs,
        )
        context.log_dataset(run)
        run.artifact(folder / "study.json")
        run.artifact(folder / "trials.csv")
        run.finish(_chosen(result), {"seconds": time.perf_counter() - started})
    logger.info(
        "study of %s: %s", name, ", ".join(f"{key} {100 * value:.1f}" for key, value in _chosen(result).items())
    )


def _chosen(result: dict[str, Any]) -> dict[str, float]:
    """Return the mIoU on the report split of the chosen point of every rule."""
    points = {rule: entry["points"]["chosen"]["miou"] for rule, entry in result["rules"].items()}
    return {f"{rule} report miou": miou["report"] for rule, miou in points.items() if miou is not None}


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

    They are the same however the values were chosen, so that every choice is scored on the same images.
    """
    data = context.params.data
    split = read_json(context.paths.study(name) / "split.json", f"seedbed study --method {name}")
    tuned = set(split["tune"])
    scored = [image_id for image_id in ids if image_id not in tuned and context.voc.mask_path(image_id).is_file()]
    described = f"{data.train} without the {len(tuned)} tuning images" if tuned else data.train
    unmasked = len(ids) - len(tuned) - len(scored)
    return scored, described + (f" and {unmasked} without mask" if unmasked else "")


@dataclass(frozen=True)
class Maps:
    """Class maps and saliency maps of the training images."""

    context: Context
    method: str

    @cached_property
    def _store(self) -> MapStore:
        return MapStore(self.context.paths.seeds(self.method), f"seedbed seeds --method {self.method}")

    def cams(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Return class maps float32 [K,H,W] in 0..1 and their 0-based classes [K]."""
        return self._store.maps(image_id)

    def saliency(self, image_id: str) -> np.ndarray:
        """Return the saliency map uint8 [H,W]."""
        path = self.context.paths.saliency_maps() / f"{image_id}.png"
        if not path.is_file():
            raise UserError(f"image {image_id} has no saliency map {path}", "seedbed predict-saliency")
        return load_map(path)


def _pseudo_labels(context: Context, name: str, recipe: Recipe, ids: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (id, pseudo-label uint8 [H,W]) of every image, refined by dense CRF where the recipe says so."""
    maps = Maps(context, name)
    labels = context.voc.labels(ids)

    def fused() -> Iterator[tuple[str, np.ndarray]]:
        for image_id in ids:
            cams, classes = maps.cams(image_id)
            saliency = maps.saliency(image_id) if recipe.rule.needs_saliency else None
            with named(image_id):
                mask = recipe.rule.apply(cams, classes, saliency, recipe.values)
            yield image_id, mask

    if recipe.crf is None:
        yield from fused()
        return
    crf, jobs = recipe.crf, context.params.jobs
    items = (
        (image_id, np.asarray(context.voc.image(image_id)), mask, [0, *(np.flatnonzero(labels[image_id]) + 1).tolist()])
        for image_id, mask in fused()
    )
    yield from keep_names(items, lambda stream: refine_many(stream, crf, jobs))
