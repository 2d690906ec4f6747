"""Stages of the localiser: train the classification network of a method, compute its seeds."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.data.batches import image_size
from seedbed.engine.device import is_main_process
from seedbed.engine.seeding import seed_modules
from seedbed.files import write_atomic, write_json
from seedbed.methods import Method
from seedbed.methods.base import TrainingSet
from seedbed.methods.imported import Import, ImportedMethod, check_class_maps, check_complete
from seedbed.nn.weights import CONFIG, WEIGHTS, save_weights
from seedbed.params import LocaliserParams
from seedbed.progress import Meter
from seedbed.seeds import INFERENCES, Job
from seedbed.seeds.store import INDEX, MapStore, MapWriter
from seedbed.stages.context import Context
from seedbed.stages.training import Training, load_trained, run_training

logger = logging.getLogger(__name__)
_STAGE = "train-localiser"


def train(context: Context, name: str) -> None:
    """Train the localiser of method `name` from image labels, and saliency maps where the method uses them.

    With `localiser.<name>.trained` the weights given there are taken instead; an imported method has nothing to train.
    """
    method, params, _ = context.method(name)
    if isinstance(method, ImportedMethod):
        _no_training(context, name, params, method.content(params.options, name))
        return
    config = {**params.model_dump(), "method": method.name, "classes": list(context.voc.classes)}
    if params.trained:
        _take_trained(context, name, method, config)
        return
    voc = context.voc
    ids = voc.ids(context.params.data.train)
    labels = voc.labels(ids)
    saliency = context.paths.saliency_maps() if method.uses_saliency else None
    images = method.images(TrainingSet(ids, voc.image, labels, saliency, params.augment, context.params.seed))
    seed_modules(context.params.seed)
    training = Training(
        _STAGE,
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


def _take_trained(context: Context, name: str, method: Method, config: dict[str, Any]) -> None:
    """Make the weights in `localiser.<name>.trained` the localiser's. Raises UserError when they do not fit."""
    params = context.params.localiser[name]
    network = method.network(params, context.voc.num_classes, pretrained=False)
    mend = f"mend localiser.{name}.trained in params.yaml, or set it to null"
    load_trained(context, network, Path(str(params.trained)), mend)
    if not is_main_process():
        return
    with context.run(_STAGE, name, localiser=params) as run:
        save_weights(context.paths.model("localiser", name), network, config)
        _write_untrained(context, name, {"trained": params.trained})
        run.finish({}, {})
    logger.info("localiser of %s: the weights in %s, not trained here", name, params.trained)


def _no_training(context: Context, name: str, params: LocaliserParams, given: Import) -> None:
    """Leave a model folder without weights, whose config says what was imported."""
    if not is_main_process():
        return
    with context.run(_STAGE, name, localiser=params) as run:
        folder = context.paths.model("localiser", name)
        (folder / WEIGHTS).unlink(missing_ok=True)  # of a method that went by this name before
        write_json(folder / CONFIG, {"method": params.method or name, "imported": given.describe()})
        _write_untrained(context, name, {"imported": given.describe()})
        context.log_dataset(run)
        run.finish({}, {})
    logger.info("%s is imported (%s), nothing to train", name, given.folder(context.paths))


def _write_untrained(context: Context, name: str, origin: Mapping[str, Any]) -> None:
    """Write metrics and the empty curve of a localiser that came from elsewhere."""
    write_json(context.paths.metrics(_STAGE, name), {"steps": 0, **origin})
    write_atomic(context.paths.curves(_STAGE, name), lambda stream: stream.write(b"step,lr,total\n"))


def seeds(context: Context, name: str) -> None:
    """Write the class maps of every training image; images whose maps are there already are passed over."""
    method, params, _ = context.method(name)
    if isinstance(method, ImportedMethod):
        _take_seeds(context, name, method.content(params.options, name))
        return
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


def _take_seeds(context: Context, name: str, given: Import) -> None:
    """Copy imported class maps of the training images into a store of our own; of ready-made pseudo-labels, none.

    Raises UserError naming the images without maps, and for maps that no localiser of ours would make.
    """
    voc, paths, shard = context.voc, context.paths, context.params.seeds.shard
    folder, model = given.folder(paths), paths.model("localiser", name)
    ids = voc.ids(context.params.data.train)
    if given.kind == "pseudo":
        with MapWriter(paths.seeds(name), context.fingerprint(model), shard):
            logger.info("%s brings pseudo-labels (%s): it has no class maps", name, folder)
        return
    store = MapStore(folder, given.fix)
    check_complete(given, folder, [image_id for image_id in ids if image_id not in store], len(ids))
    labels = voc.labels(ids)
    # Of the maps themselves the data set's hash knows; see Context.fingerprint.
    with MapWriter(paths.seeds(name), context.fingerprint(model, folder / INDEX, str(shard)), shard) as writer:
        wanted = [image_id for image_id in ids if image_id not in writer.done]
        with Meter(f"seeds {name}", len(ids), done=len(writer.done)) as meter:
            for image_id in wanted:
                maps, classes = store.stored(image_id)
                check_class_maps(image_id, maps, classes, labels[image_id], image_size(voc.image_path(image_id)))
                writer.add(image_id, maps, classes)
                meter.advance(1)
    logger.info("seeds of %d images by %s, imported from %s", len(wanted), name, folder)
