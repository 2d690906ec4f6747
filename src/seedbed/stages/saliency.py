"""Stages on saliency: train the network, score the source, write the maps."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from seedbed.data.datasets import TrainingImages
from seedbed.data.saliency_sets import SaliencySet
from seedbed.engine.seeding import seed_modules
from seedbed.errors import UserError
from seedbed.evaluate.saliency import SaliencyScores
from seedbed.files import write_atomic, write_json
from seedbed.nn.weights import CONFIG
from seedbed.saliency import MapSource, fpn, get_source
from seedbed.stages.context import Context
from seedbed.stages.training import Training, require_trained, run_training

logger = logging.getLogger(__name__)


def train(context: Context) -> None:
    """Train the saliency network; a source of ready-made maps has none, which its empty model folder says."""
    params = context.params.saliency
    if not get_source(params.source).trained:
        _no_training(context)
        return
    if context.params.data.saliency_train is None:
        raise UserError(
            f"saliency.source is {params.source}, but data.saliency_train is not set",
            "set data.saliency_train, or saliency.source: folder, in params.yaml",
        )
    pairs = SaliencySet(context.paths.data / context.params.data.saliency_train)
    images = TrainingImages(pairs.ids(), pairs.image, params.augment, context.params.seed, mask=pairs.salient)
    seed_modules(context.params.seed)
    run_training(
        context,
        Training(
            "train-saliency",
            None,
            "saliency",
            fpn.build(params),
            images,
            fpn.loss,
            params.train,
            params,
            params.model_dump(),
            recorded={"data": {"saliency_train": context.params.data.saliency_train}},
        ),
    )


def _no_training(context: Context) -> None:
    params = context.params.saliency
    logger.info("saliency source '%s' needs no training", params.source)
    with context.run("train-saliency", saliency=params) as run:
        write_json(context.paths.model("saliency") / CONFIG, params.model_dump())
        write_json(context.paths.metrics("train-saliency"), {"steps": 0})
        write_atomic(context.paths.curves("train-saliency"), lambda stream: stream.write(b"step,lr,total\n"))
        run.finish({}, {})


def open_source(context: Context) -> MapSource:
    """Return the reader of the saliency source in the parameters."""
    params, model = context.params.saliency, context.paths.model("saliency")
    source = get_source(params.source)
    if source.trained:
        require_trained(model, "seedbed train-saliency")
    return source.open(params, context.paths.data, model, context.device)


def evaluate(context: Context) -> None:
    """Score the saliency source on every test set of the parameters."""
    started = time.perf_counter()
    source = open_source(context)
    with context.run("evaluate-saliency", saliency=context.params.saliency) as run:
        sets = {}
        for name in _test_sets(context):
            pairs = SaliencySet(context.paths.data / name)
            scores = SaliencyScores()
            for image_id, prediction in source.maps({image_id: pairs.image_path(image_id) for image_id in pairs.ids()}):
                scores.add(prediction, pairs.mask(image_id), f"{name}/{image_id}")
            sets[name] = {"images": scores.images, **scores.result()}
            logger.info(
                "%s: MAE %.4f, max F %.4f on %d images", name, sets[name]["mae"], sets[name]["max_f"], scores.images
            )
        metrics = {"data": context.params.data.name, "source": context.params.saliency.source, "sets": sets}
        write_json(context.paths.metrics("evaluate-saliency"), metrics)
        context.log_dataset(run)
        flat = {f"{name}.{measure}": value for name, scores_of in sets.items() for measure, value in scores_of.items()}
        run.finish(flat, {"seconds": time.perf_counter() - started})


def _test_sets(context: Context) -> list[str]:
    """Return the test sets to score. A folder of ready-made maps of the data set's images rarely has maps of them."""
    mapped = []
    for name in context.params.data.saliency_test:
        ids = SaliencySet(context.paths.data / name).ids()
        if len(_mapped(context, ids)) == len(ids):
            mapped.append(name)
        else:
            logger.info("%s: not scored, %s holds no maps of its images", name, context.params.saliency.folder)
    return mapped


def _mapped(context: Context, ids: Sequence[str]) -> list[str]:
    """Return those of `ids` that the source has maps of: a network makes any, a folder of ready-made maps has some."""
    params = context.params.saliency
    if get_source(params.source).trained:
        return list(ids)
    known = {path.stem for path in (context.paths.data / (params.folder or "")).glob("*.png")}
    return [image_id for image_id in ids if image_id in known]


def predict(context: Context) -> None:
    """Write the saliency maps of the training and validation images as 8-bit grey PNG of the images' size.

    Ready-made maps must cover the training images; published ones rarely cover others, which only the page shows.
    """
    voc, data = context.voc, context.params.data
    train, val = voc.ids(data.train), voc.ids(data.val)
    shown = _mapped(context, val)
    if len(shown) < len(val):
        logger.info(
            "no saliency maps of %d validation images: the comparison page leaves them out", len(val) - len(shown)
        )
    paths = {image_id: voc.image_path(image_id) for image_id in (*train, *shown)}
    folder = context.paths.saliency_maps()
    count = 0
    for image_id, saliency in open_source(context).maps(paths):
        write_map(folder, image_id, saliency)
        count += 1
    logger.info("wrote %d saliency maps to %s", count, folder)


def write_map(folder: Path, image_id: str, saliency: np.ndarray) -> None:
    """Write a saliency map uint8 [H,W] as `<folder>/<image_id>.png`."""
    write_atomic(
        folder / f"{image_id}.png", lambda stream: Image.fromarray(saliency).save(stream, "PNG"), durable=False
    )
