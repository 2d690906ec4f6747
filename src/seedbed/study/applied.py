"""The study of fusion rules that no sweep covers: they are applied anew to the images for every setting."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import Trial

from seedbed import IGNORE
from seedbed.errors import named
from seedbed.evaluate.confusion import confusion
from seedbed.seeds.batch import MapBatch
from seedbed.seeds.fusion import find_rule
from seedbed.seeds.rules import Mask, Parameter, Rule, Values
from seedbed.study.curve import Tried
from seedbed.study.fusion_study import choice
from seedbed.study.optima import miou, nothing_to_choose_by
from seedbed.study.scoring import Reporter, describe_rule, unswept
from seedbed.study.tables import Array, Counts, ImageMaps
from seedbed.study.trials import Number, Runner, Search, Settings, TrialRecord

Reader = Callable[[Sequence[str]], Iterable[ImageMaps]]
"""Ids -> their images with saliency maps, one at a time, in this order."""

_MEMORY = 2 << 30  # bytes of maps that stay in memory during the trials; images beyond that are read in each of them
_ON_CUDA = 8  # images at once


@dataclass(frozen=True)
class Application:
    """Studies rules by applying them to the images `ids` that `read` reads; ids of masks are 0..num_ids-1."""

    read: Reader
    ids: Sequence[str]
    num_ids: int
    reporter: Reporter
    device: torch.device | None = None

    def study(self, rule: str, runner: Runner, trials: int) -> tuple[dict[str, Any], list[TrialRecord]]:
        """Return the entry of `rule` in study.json, and the trials behind it: none for a rule without parameters.

        There is no exact optimum to compare with, so no regret, no oracle and no surface.
        """
        entry = find_rule(rule)
        tune = Gallery(entry, self.read, self.reporter.tune, self.device)
        records = runner.run(search(tune, self.num_ids), trials) if entry.parameters else []
        points = {"published": entry.published, "chosen": choice(records) if records else entry.published}
        settings: list[Values] = [entry.published]
        if self.reporter.draws.seeds:
            settings += random_settings(entry, len(records), runner.seed)
        found = {"trials": len(records)} | self._score(entry, points, settings)
        return describe_rule(rule) | found | unswept(), records

    def _score(self, rule: Rule, points: Mapping[str, Values], settings: Sequence[Values]) -> dict[str, Any]:
        """Return what one pass over all images tells of the `points`, and of choices among the curve's `settings`."""
        candidates = _distinct(settings)
        distinct = _distinct([*candidates, *points.values()])  # begins with the candidates
        tried = Tried(candidates, self.num_ids)
        tallies = {name: self.reporter.tally(self.num_ids) for name in points}
        for batch in Gallery(rule, self.read, self.ids, self.device):
            found = [list(batch.confusions(rule, values, self.num_ids)) for values in distinct]
            for index, name in enumerate(batch.maps.names):
                tried.add(name, np.stack([matrices[index] for matrices in found[: len(candidates)]]))
                for point, values in points.items():
                    tallies[point].add(name, found[distinct.index(values)][index])
        scored = {name: self.reporter.point(rule.name, name, values, tallies[name]) for name, values in points.items()}
        return {"points": scored, "curve": self.reporter.draws.curve(tried) if rule.parameters else None}


class Batch(NamedTuple):
    """Images as a rule reads them, and their ground truth uint8 [H,W]."""

    maps: MapBatch
    truths: tuple[Mask, ...]

    def confusions(self, rule: Rule, values: Values, num_ids: int) -> Iterator[Counts]:
        """Yield the confusion matrix [K,K+1] of what `rule` makes of each image. Raises UserError naming the image."""
        labels = rule.label(self.maps, values).cpu().numpy()
        for name, (height, width), truth, mask in zip(
            self.maps.names, self.maps.sizes, self.truths, labels, strict=True
        ):
            yield confusion(truth, mask[:height, :width], num_ids, name)

    @property
    def nbytes(self) -> int:
        """Bytes of the maps and masks."""
        saliency = 0 if self.maps.saliency is None else self.maps.saliency.nbytes
        return self.maps.cams.nbytes + saliency + sum(truth.nbytes for truth in self.truths)


@dataclass
class Gallery:
    """The images `ids` as `rule` reads them, again and again: as many as there is room for are read only once.

    They come in batches of `at_once` images; None = one on a CPU, several on other devices.
    """

    rule: Rule
    read: Reader
    ids: Sequence[str]
    device: torch.device | None = None
    memory: int = _MEMORY
    at_once: int | None = None
    _kept: list[Batch] = field(default_factory=list)
    _held: int = 0  # images in them

    def __iter__(self) -> Iterator[Batch]:
        yield from list(self._kept)
        room = self.memory - sum(batch.nbytes for batch in self._kept)
        for batch in self._batches(self.ids[self._held :]):
            room -= batch.nbytes
            if room >= 0:
                self._kept.append(batch)
                self._held += len(batch.truths)
            yield batch

    def _batches(self, ids: Sequence[str]) -> Iterator[Batch]:
        at_once = self.at_once or (1 if self.device is None or self.device.type == "cpu" else _ON_CUDA)
        waiting: list[ImageMaps] = []
        for image in self.read(ids):
            with named(image.name):
                waiting.append(image._replace(cams=self.rule.compact(np.asarray(image.cams))))
            if len(waiting) == at_once:
                yield self._batch(waiting)
                waiting = []
        if waiting:
            yield self._batch(waiting)

    def _batch(self, images: Sequence[ImageMaps]) -> Batch:
        maps = MapBatch.of(images, self.device, self.rule.needs_saliency)
        return Batch(maps, tuple(image.truth for image in images))


def search(tune: Gallery, num_ids: int) -> Search:
    """Describe the search for the values of its rule that are best on `tune`, in steps of every parameter.

    Optuna's parameters count steps. Raises UserError when no pixel has a true id.
    """
    rule = tune.rule
    values = values_of(rule)

    def objective(trial: Trial) -> float:
        setting = values(trial.params)
        matrices = (conf for batch in tune for conf in batch.confusions(rule, setting, num_ids))
        return float(miou(np.sum(list(matrices), axis=0)))

    return Search(
        f"fusion/{rule.name}",
        _fingerprint(tune),
        objective,
        published_steps(rule),
        values,
        space=steps_of(rule),
        images=len(tune.ids),
    )


def random_settings(rule: Rule, count: int, seed: int) -> list[dict[str, Number]]:
    """Draw `count` settings of a rule that is not swept, uniformly in steps: the same for all images and methods.

    The curve over labelled images chooses among them, for the trials have seen masks of images that it scores on.
    """
    highest = [_steps(one) for one in rule.parameters]
    drawn = np.random.default_rng(seed).integers(0, highest, size=(count, len(highest)), endpoint=True)
    names = [one.name for one in rule.parameters]
    return [values_of(rule)(dict(zip(names, steps, strict=True))) for steps in drawn.tolist()]


def steps_of(rule: Rule) -> dict[str, BaseDistribution]:
    """Return what Optuna draws for each parameter of a rule that is not swept: a number of steps."""
    return {one.name: IntDistribution(0, _steps(one)) for one in rule.parameters}


def published_steps(rule: Rule) -> dict[str, Number]:
    """Return the numbers of steps of the published values."""
    return {one.name: round((one.published - one.low) / one.step) for one in rule.parameters}


def values_of(rule: Rule) -> Callable[[Settings], dict[str, Number]]:
    """Return the function from numbers of steps to the values of `rule`."""
    return lambda drawn: {one.name: round(one.low + drawn[one.name] * one.step, 6) for one in rule.parameters}


def _steps(parameter: Parameter) -> int:
    """Return the number of steps from the lowest value to the highest."""
    return round((parameter.high - parameter.low) / parameter.step)


def _distinct(settings: Sequence[Values]) -> list[Values]:
    """Return every setting once, in the order of their first places."""
    return list({tuple(sorted(values.items())): values for values in settings}.values())


def _fingerprint(images: Gallery) -> str:
    """Return the SHA-256 (hex) of everything that the scores of trials depend on."""
    rule = images.rule
    searched = [(one.name, one.low, one.high, one.step) for one in rule.parameters]
    content, blank = hashlib.sha256(repr((rule.name, searched)).encode()), True
    for batch in images:
        content.update(repr((batch.maps.names, batch.maps.sizes, batch.maps.ids.tolist())).encode())
        arrays: list[Array] = [batch.maps.cams.cpu().numpy(), *batch.truths]
        if batch.maps.saliency is not None:
            arrays.append(batch.maps.saliency.cpu().numpy())
        for array in arrays:
            content.update(np.ascontiguousarray(array).tobytes())
        blank = blank and all((truth == IGNORE).all() for truth in batch.truths)
    if blank:
        raise nothing_to_choose_by()
    return content.hexdigest()
