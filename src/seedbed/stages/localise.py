"""Stages of the localiser: train the classification network of a method, compute its seeds."""

from __future__ import annotations

import logging
import time

from seedbed.data.datasets import TrainingImages
from seedbed.engine.progress import Meter
from seedbed.engine.seeding import seed_modules
from seedbed.seeds.inference import MultiScale, infer_seeds
from seedbed.seeds.store import MapWriter
from seedbed.stages.context import Context
from seedbed.stages.training import Training, load_trained, run_training

logger = logging.getLogger(__name__)


def train(context: Context, name: str) -> None:
    """Train the localiser of method `name` from image labels, and saliency maps where the method uses them."""
    method, params, _ = context.method(name)
    voc, data = context.voc, context.params.data
    ids = voc.ids(data.train)
    saliency = context.paths.saliency_maps() if method.uses_saliency else None
    images = TrainingImages(
        ids, voc.image, params.augment, context.params.seed, labels=voc.labels(ids), saliency_dir=saliency
    )
    seed_modules(context.params.seed)
    network = method.network(params, voc.num_classes)
    config = {"method": name, "classes": list(voc.classes), **params.model_dump()}
    loss = method.training_loss(params)
    run_training(
        context,
        Training("train-localiser", name, "localiser", network, images, loss, params.train, params, config, saliency),
    )


def seeds(context: Context, name: str) -> None:
    """Write the multi-scale class maps of every training image; images whose maps are there already are passed over."""
    method, params, _ = context.method(name)
    voc, data = context.voc, context.params.data
    network = method.network(params, voc.num_classes, pretrained=False)
    model = context.paths.model("localiser", name)
    load_trained(network, model, f"seedbed train-localiser --method {name}")
    multi_scale = MultiScale(network, method.class_maps, context.params.seeds, context.device)
    ids = voc.ids(data.train)
    labels = voc.labels(ids)
    started = time.perf_counter()
    with MapWriter(
        context.paths.seeds(name), context.fingerprint(context.params.seeds, model), context.params.seeds.shard
    ) as writer:
        paths = {image_id: voc.image_path(image_id) for image_id in ids if image_id not in writer.done}
        with Meter(f"seeds {name}", len(ids), done=len(writer.done)) as meter:
            for image_id, maps, classes in infer_seeds(multi_scale, paths, labels):
                writer.add(image_id, maps, classes)
                meter.advance(1)
    seconds = time.perf_counter() - started
    logger.info("seeds of %d images by %s, %.1f images/s", len(paths), name, len(paths) / max(seconds, 1e-9))
