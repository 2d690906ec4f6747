"""Stages of the localiser: train the classification network of a method, compute its seeds."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from seedbed.engine.device import is_main_process
from seedbed.engine.progress import Meter
from seedbed.engine.seeding import seed_modules
from seedbed.files import write_atomic, write_json
from seedbed.methods import Method
from seedbed.methods.base import TrainingSet
from seedbed.nn.weights import save_weights
from seedbed.params import LocaliserParams
from seedbed.seeds import INFERENCES, Job
from seedbed.seeds.store import MapWriter
from seedbed.stages.context import Context
from seedbed.stages.training import Training, load_trained, run_training

logger = logging.getLogger(__name__)


def train(context: Context, name: str) -> None:
    """Train the localiser of method `name` from image labels, and saliency maps where the method uses them.

    With `localiser.<name>.trained` the weights given there are taken instead.
    """
    method, params, _ = context.method(name)
    config = {"method": name, "classes": list(context.voc.classes), **params.model_dump()}
    if params.trained:
        _take_trained(context, method, params, config)
        return
    voc = context.voc
    ids = voc.ids(context.params.data.train)
    labels = voc.labels(ids)
    saliency = context.paths.saliency_maps() if method.uses_saliency else None
    images = method.images(TrainingSet(ids, voc.image, labels, saliency, params.augment, context.params.seed))
    seed_modules(context.params.seed)
    training = Training(
        "train-localiser",
        name,
        "localiser",
        method.network(params, voc.num_classes),
        images,
        method.training_loss(params),
        method.training(params.train),
        params,
        config,
        saliency,
        method.prior(np.stack([labels[image_id] for image_id in ids])),
    )
    run_training(context, training)


def _take_trained(context: Context, method: Method, params: LocaliserParams, config: dict[str, object]) -> None:
    """Make the weights in `params.trained` the localiser's. Raises UserError when they do not fit."""
    file = Path(str(params.trained))
    network = method.network(params, context.voc.num_classes, pretrained=False)
    load_trained(context, network, file, f"mend localiser.{method.name}.trained in params.yaml, or set it to null")
    stage, paths = "train-localiser", context.paths
    if not is_main_process():
        return
    with context.run(stage, method.name, localiser=params) as run:
        save_weights(paths.model("localiser", method.name), network, config)
        write_json(paths.metrics(stage, method.name), {"steps": 0, "trained": params.trained})
        write_atomic(paths.curves(stage, method.name), lambda stream: stream.write(b"step,lr,total\n"))
        run.finish({}, {})
    logger.info("localiser of %s: the weights in %s, not trained here", method.name, file)


def seeds(context: Context, name: str) -> None:
    """Write the class maps of every training image; images whose maps are there already are passed over."""
    method, params, _ = context.method(name)
    voc, settings, seed = context.voc, context.params.seeds, context.params.seed
    network = method.network(params, voc.num_classes, pretrained=False)
    model = context.paths.model("localiser", name)
    load_trained(context, network, model, f"seedbed train-localiser --method {name}")
    ids = voc.ids(context.params.data.train)
    every = {image_id: voc.image_path(image_id) for image_id in ids}
    fingerprint = context.fingerprint(settings, model, str(seed))
    started, empty = time.perf_counter(), 0
    with MapWriter(context.paths.seeds(name), fingerprint, settings.shard) as writer:
        wanted = {image_id: path for image_id, path in every.items() if image_id not in writer.done}
        job = Job(
            network, method.class_maps, settings, params.augment, context.device, wanted, every, voc.labels(ids), seed
        )
        with Meter(f"seeds {name}", len(ids), done=len(writer.done)) as meter:
            for image_id, maps, classes in INFERENCES[method.inference](job):
                writer.add(image_id, maps, classes)
                empty += bool(len(classes)) and not maps.any()
                meter.advance(1)
    seconds = time.perf_counter() - started
    logger.info("seeds of %d images by %s, %.1f images/s", len(wanted), name, len(wanted) / max(seconds, 1e-9))
    if empty:
        logger.warning(
            "the class maps of %d of %d images are zero everywhere: look at the loss of `seedbed train-localiser`",
            empty,
            len(wanted),
        )
