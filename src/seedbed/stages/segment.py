"""Stages of the segmenter: train it on the pseudo-labels of a method, evaluate it on the validation images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import nn

from seedbed.crf.dense import label_many
from seedbed.data.datasets import MaskFolder, TrainingImages
from seedbed.data.masks import write_mask
from seedbed.engine.seeding import seed_modules
from seedbed.evaluate.confusion import Collected, confusion
from seedbed.nn.deeplab import build_segmenter
from seedbed.segment.loss import build_loss
from seedbed.segment.predict import Predictor
from seedbed.stages.context import Context
from seedbed.stages.naming import keep_names
from seedbed.stages.scoring import log_masks, report_scores
from seedbed.stages.training import Training, load_trained, run_training


def train(context: Context, name: str) -> None:
    """Train DeepLab on the pseudo-labels of method `name`."""
    context.method(name)
    params, voc = context.params.segmenter, context.voc
    pseudo = context.paths.pseudo_labels(name)
    images = TrainingImages(
        voc.ids(context.params.data.train), voc.image, params.augment, context.params.seed, mask=MaskFolder(pseudo)
    )
    seed_modules(context.params.seed)
    network = build_segmenter(params, context.num_ids)
    loss = build_loss(params)
    config = {"method": name, "classes": list(voc.classes), **params.model_dump()}
    run_training(
        context,
        Training("train-segmenter", name, "segmenter", network, images, loss, params.train, params, config, pseudo),
    )


def load_segmenter(context: Context, folder: Path, fix: str) -> nn.Module:
    """Return the segmenter of the parameters with the weights in `folder`. Raises UserError when they do not fit."""
    untrained = context.params.segmenter.model_copy(update={"weights": None})
    network = build_segmenter(untrained, context.num_ids)
    load_trained(context, network, folder, fix)
    return network


def evaluate(context: Context, name: str) -> None:
    """Predict the validation images by the segmenter of method `name`, and score them."""
    started = time.perf_counter()
    params, voc, split = context.params, context.voc, context.params.data.val
    network = load_segmenter(
        context, context.paths.model("segmenter", name), f"seedbed train-segmenter --method {name}"
    )
    ids = voc.ids(split)
    with context.run(
        "evaluate-segmenter", name, evaluate=params.evaluate, segmenter=params.segmenter, crf=params.crf
    ) as run:
        collected = Collected(context.num_ids)
        for image_id, mask in predictions(context, network, ids):
            write_mask(context.paths.predictions(name) / f"{image_id}.png", mask)
            truth = voc.mask(image_id, (mask.shape[1], mask.shape[0]))
            collected.add(image_id, confusion(truth, mask, context.num_ids, image_id))
        crf = params.crf.model_dump() if params.evaluate.crf else None
        metrics = report_scores(context, run, "evaluate-segmenter", name, split, ids, collected, {"crf": crf})
        log_masks(context, run, context.paths.predictions(name), ids)
        run.finish(metrics, {"seconds": time.perf_counter() - started})


def predictions(context: Context, network: nn.Module, ids: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (id, mask uint8 [H,W]) of every image, refined by dense CRF where the parameters say so."""
    params, voc, device = context.params, context.voc, context.device
    predictor = Predictor(network, params.evaluate, device)
    paths = {image_id: voc.image_path(image_id) for image_id in ids}
    if params.evaluate.crf:
        scores = ((name, np.asarray(voc.image(name)), probabilities) for name, probabilities in predictor.scores(paths))
        yield from keep_names(
            scores, lambda items: label_many(items, params.crf, params.jobs, params.crf_backend, device)
        )
    else:
        yield from predictor.masks(paths)
