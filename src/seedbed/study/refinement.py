"""What a dense CRF adds to the pseudo-labels of a rule: parameters chosen on few images, scored on all others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from seedbed.crf.dense import refine_many
from seedbed.errors import UserError
from seedbed.evaluate.bootstrap import paired
from seedbed.evaluate.confusion import confusion
from seedbed.params import CrfParams, StudyParams
from seedbed.seeds.fusion import find_rule, fuse
from seedbed.seeds.rules import Mask, Values
from seedbed.study.crf_study import CrfItem, CrfSpace, Trials
from seedbed.study.inputs import Machine, StudyInputs
from seedbed.study.numbers import number
from seedbed.study.optima import miou
from seedbed.study.scoring import Reporter
from seedbed.study.tally import Tally
from seedbed.study.trials import Runner, TrialRecord, best

T = TypeVar("T")

POINTS = ("without", "published", "chosen")
"""What is compared: the labels as they are, and refined with published and with chosen parameters."""


@dataclass(frozen=True)
class Refinement:
    """The pseudo-labels that `rule` with `values` makes of the images of a study, and CRFs on them."""

    inputs: StudyInputs
    rule: str
    values: Values
    machine: Machine

    def items(self, ids: Sequence[str]) -> Iterator[CrfItem]:
        """Yield images with their pseudo-labels; an image's classes and background are its candidates."""
        entry = find_rule(self.rule)

        def labels(images: Iterator[Any]) -> Iterator[Mask]:
            return (mask for _, mask in fuse(entry, self.values, images, self.machine.device))

        for image, mask in _beside(self.inputs.maps(ids, entry.needs_saliency), labels):
            photo = self.inputs.image(image.name)
            if photo.shape[:2] != mask.shape:
                (height, width), (rows, columns) = photo.shape[:2], mask.shape
                raise UserError(
                    f"{image.name}: the image is {width} x {height} pixels, its class maps {columns} x {rows}",
                    "dvc repro -f seeds",
                )
            yield CrfItem(image.name, photo, mask, image.truth, [0, *sorted(int(index) + 1 for index in image.classes)])

    def refined(self, ids: Sequence[str], params: CrfParams) -> Iterator[tuple[CrfItem, Mask]]:
        """Yield images with what a CRF makes of their pseudo-labels."""

        def refine(items: Iterator[CrfItem]) -> Iterator[Mask]:
            triples = ((item.image, item.labels, item.candidates) for item in items)
            return refine_many(
                triples, params, self.machine.jobs, backend=self.machine.backend, device=self.machine.device
            )

        return _beside(self.items(ids), refine)

    def study(
        self, published: CrfParams, params: StudyParams, runner: Runner, reporter: Reporter
    ) -> tuple[dict[str, Any], CrfParams, list[TrialRecord]]:
        """Choose CRF parameters on the first images of the tune split, and score them on the whole of both splits.

        The best trial is the choice if it beats the published setting on the whole tune split too. Returns the entry
        `crf` of study.json, the chosen parameters, and the trials; the first is as `published`.
        """
        space = CrfSpace(published, discrete=runner.sampler == "grid")
        subset = list(self.items(reporter.tune[: params.crf_images]))
        trials = Trials(subset, self.inputs.num_ids, self.machine, params.pruner)
        records = runner.run(trials.search(space), params.crf_trials)
        found = best(records)
        tallies = self._tallies(published, space.params(found.values), reporter)
        if not _tuned(tallies["chosen"]) > _tuned(tallies["published"]):
            found, tallies["chosen"] = records[0], tallies["published"]
        chosen = space.params(found.values)
        entry = {
            "rule": self.rule,
            "values": dict(self.values),
            "images": len(subset),
            "tune_images": len(reporter.tune),
            "report_images": len(reporter.report),
            "subset": {"published": records[0].miou, "chosen": found.miou},
            "trials": sum(record.state == "complete" for record in records),
            "pruned": sum(record.state == "pruned" for record in records),
        }
        return entry | _compare(published, chosen, tallies, reporter), chosen, records

    def _tallies(self, published: CrfParams, chosen: CrfParams, reporter: Reporter) -> dict[str, Tally]:
        """Count the images of both splits at every point."""
        tallies = {name: reporter.tally(self.inputs.num_ids) for name in POINTS}
        ids = list(dict.fromkeys((*reporter.tune, *reporter.report)))
        for name, params in (("published", published), ("chosen", chosen)):
            if name == "chosen" and chosen == published:
                tallies[name] = tallies["published"]
                continue
            for item, mask in self.refined(ids, params):
                tallies[name].add(item.name, confusion(item.truth, mask, self.inputs.num_ids, item.name))
                if name == "published":
                    before = confusion(item.truth, item.labels, self.inputs.num_ids, item.name)
                    tallies["without"].add(item.name, before)
        return tallies


def _tuned(tally: Tally) -> float:
    return float(miou(tally.totals["tune"]))


def _compare(
    published: CrfParams, chosen: CrfParams, tallies: Mapping[str, Tally], reporter: Reporter
) -> dict[str, Any]:
    """Score every point on both splits, and state what the CRF adds on the report split."""
    points: dict[str, Any] = {"without": {"params": None}}
    points |= {"published": {"params": published.model_dump()}, "chosen": {"params": chosen.model_dump()}}
    for name, point in points.items():
        point |= reporter.scored(f"crf-{name}", tallies[name], ("tune", "report"))
    gains = {}
    for entry, name in (("gain", "chosen"), ("published_gain", "published")):
        after, before = tallies[name].per_image, tallies["without"].per_image
        gain = paired(after, before, reporter.draws.samples, reporter.draws.seed)
        gains[entry] = {"miou": number(gain.difference), "interval": [number(gain.low), number(gain.high)]}
    return {"points": points} | gains


def _beside(items: Iterable[T], work: Callable[[Iterator[T]], Iterable[Mask]]) -> Iterator[tuple[T, Mask]]:
    """Yield every item with its result; `work` turns a stream of items into their results, in order."""
    waiting: deque[T] = deque()

    def passing() -> Iterator[T]:
        for item in items:
            waiting.append(item)
            yield item

    for result in work(passing()):
        yield waiting.popleft(), result
