"""Searches beside the pipeline: of any kind, any number of trials, each in a folder of its own.

Files in the folder, made anew by every run: `best.yaml` (`read_best`: the best values of the rule, and CRF parameters
or null), `trials.csv` (study, trial, state, miou, values, seconds, seconds per image or nothing), `split.json`
({"tune": [id, ...], "report": [id, ...]}: those that choose, in order of choice, and all others, in list order), plots
(`seedbed.study.plots`) and `summary.json`::

    {
     "kind": "fusion" | "crf" | "joint", "rule": str, "seed": int, "sampler": str, "pruner": null | str,
     "objectives": ["miou"] | ["miou", "seconds"],
     "fingerprint": str,               # of everything that the scores depend on
     "oracle": bool,                   # whether all images choose: no score is of others
     "images": {"tune": int, "trials": int, "report": int},   # that choose, those of them that trials see, all others
     "points": {"published"/"chosen": {           # chosen: the best trial, if it beats the published on "tune" too
       "values": {<parameter>: float}, "crf": null | {<name of CrfParams>: float | int},
       "miou": {"trials": float, "tune": float, "report": null | float},    # on these images; null: none, or ignored
       "seconds": null | float}},                 # per image, as an objective
     "optimum": null | {"values": {...}, "miou": float},      # of the exact sweep, kind fusion
     "regret": null | float,           # mIoU of the optimum minus that of "chosen"
     "pareto": null | [{"values": {<parameter>: float}, "miou": float, "seconds": float}, ...],   # from cheap to dear
     "trials": int, "pruned": int,     # that ended with a score; that were stopped early
     "seconds": float,                 # of all trials together
     "plots": [str, ...]               # files
    }
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seedbed.errors import UserError
from seedbed.evaluate.confusion import Confusion, confusion
from seedbed.files import write_json
from seedbed.params import CrfParams, SearchKind, StudyParams
from seedbed.seeds.fusion import find_rule
from seedbed.seeds.rules import Rule, Values
from seedbed.study import applied, fusion_study
from seedbed.study.crf_study import CrfSpace, Trials
from seedbed.study.inputs import Machine, StudyInputs
from seedbed.study.joint import joint_search, rule_space
from seedbed.study.numbers import number, shortfall
from seedbed.study.optima import miou, optimum
from seedbed.study.plots import remove_plots, write_plots
from seedbed.study.protocol import write_best, write_trials
from seedbed.study.refinement import Refinement
from seedbed.study.split import Split, TuneImages, check_split, choose_split
from seedbed.study.tables import Grid, Tables, Totals
from seedbed.study.trials import Runner, Search, Settings, TrialRecord, best, pareto

_FILES = ("best.yaml", "trials.csv", "split.json", "summary.json")


@dataclass(frozen=True)
class Task:
    """What to search, in how many `trials`, by how many labelled `images`.

    `kind`: values of `rule` (fusion), parameters of a CRF on its pseudo-labels (crf; these are made with `values`,
    None = published), or both together (joint). `timed`: seconds per image are a second objective.
    """

    kind: SearchKind
    rule: str
    trials: int
    images: TuneImages
    values: Values | None = None
    timed: bool = False


class Choice(NamedTuple):
    """A setting: values of the rule, and CRF parameters or None."""

    values: dict[str, float]
    crf: CrfParams | None


@dataclass(frozen=True)
class Prepared:
    """A search, what its settings mean, and the counts behind a sweep."""

    search: Search
    choice: Callable[[Settings], Choice]
    swept: Totals | None = None


def run_search(
    inputs: StudyInputs,
    params: StudyParams,
    crf: CrfParams,
    task: Task,
    folder: Path,
    runner: Runner,
    machine: Machine = Machine(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Bring the study of `task` in the runner's storage to its number of trials, and write what it found to `folder`.

    Takes from `params` the steps of sweeps, the number of images of CRF trials, and the pruner; `crf` is the published
    setting. The images that choose are drawn as `run_study` draws them; the published setting and the choice are scored
    on all others too. Returns the content of summary.json. Raises UserError for a rule that is unknown or has no
    parameters, images that may not choose, and bad input.
    """
    _check(task)
    split = _split(inputs, task.images, runner.seed)
    setup = _Setup(inputs, params, task, split, machine, CrfSpace(crf, discrete=runner.sampler == "grid"))
    prepared = setup.prepare()
    _clear(folder)
    records = runner.run(prepared.search, task.trials)
    points = setup.points(prepared, records)
    with runner.opened(prepared.search) as study:
        plots = [path.name for path in write_plots(study, folder)]
    summary = {
        "kind": task.kind,
        "rule": task.rule,
        "seed": runner.seed,
        "sampler": runner.sampler,
        "pruner": params.pruner if prepared.search.pruner else None,
        "fingerprint": prepared.search.fingerprint,
        "oracle": not split.report,
        "images": {"tune": len(split.tune), "trials": prepared.search.images, "report": len(split.report)},
        "points": points,
        **_regret(task.rule, prepared.swept, points["chosen"]["miou"]["tune"]),
        **_counted(records, task.timed),
        "plots": plots,
    }
    chosen = points["chosen"]
    write_best(folder, {task.rule: chosen["values"]}, chosen["crf"] and CrfParams.model_validate(chosen["crf"]))
    write_trials(folder, records, times=True)
    write_json(folder / "split.json", asdict(split))
    write_json(folder / "summary.json", summary)
    return summary


@dataclass(frozen=True)
class _Setup:
    """What the searches of all kinds are made of."""

    inputs: StudyInputs
    params: StudyParams
    task: Task
    split: Split
    machine: Machine
    space: CrfSpace

    def prepare(self) -> Prepared:
        """Return the search of the task."""
        prepare = {"fusion": self._fusion, "crf": self._crf, "joint": self._joint}[self.task.kind]
        return prepare(find_rule(self.task.rule))

    def _fusion(self, rule: Rule) -> Prepared:
        def choice(setting: Settings) -> Choice:
            return Choice({name: float(value) for name, value in setting.items()}, None)

        ids, num_ids, device = self.split.tune, self.inputs.num_ids, self.machine.device
        if not rule.swept:
            tune = applied.Gallery(rule, partial(self.inputs.maps, saliency=rule.needs_saliency), ids, device)
            return Prepared(applied.search(tune, num_ids), choice)
        grid = Grid.of([rule.name], self.params.cam_steps, self.params.saliency_steps)
        totals = Tables.build(self.inputs.maps(ids, rule.needs_saliency), num_ids, grid, device).totals()
        return Prepared(fusion_study.search(rule.name, totals, len(ids)), choice, totals)

    def _crf(self, rule: Rule) -> Prepared:
        values = rule.resolve(self.task.values or {})
        trials = self._trials(values)
        return Prepared(trials.search(self.space), lambda setting: Choice(values, self.space.params(setting)))

    def _joint(self, rule: Rule) -> Prepared:
        def choice(setting: Settings) -> Choice:
            return Choice({one.name: float(setting[one.name]) for one in rule.parameters}, self.space.params(setting))

        trials = self._trials(rule.published)
        maps = list(self.inputs.maps([item.name for item in trials.items], rule.needs_saliency))
        search = joint_search(rule.name, rule_space(rule.name, self.params), self.space, maps, trials)
        return Prepared(search, choice)

    def _trials(self, values: Values) -> Trials:
        """Return what scores CRF parameters on the first images of those that choose, labelled with `values`."""
        few = self.split.tune[: self.params.crf_images]
        items = list(Refinement(self.inputs, self.task.rule, values, self.machine).items(few))
        return Trials(items, self.inputs.num_ids, self.machine, self.params.pruner, self.task.timed)

    def points(self, prepared: Prepared, records: Sequence[TrialRecord]) -> dict[str, Any]:
        """Return what summary.json says of the published setting and the choice. A setting is scored once."""
        first, winner = records[0], best(records)
        published = chosen = self._point(prepared, first)
        if prepared.choice(winner.values) != prepared.choice(first.values):
            found = self._point(prepared, winner)
            chosen = found if found["miou"]["tune"] > published["miou"]["tune"] else published
        return {"published": published, "chosen": chosen}

    def _point(self, prepared: Prepared, record: TrialRecord) -> dict[str, Any]:
        """Return what summary.json says of a trial: scored anew on all images that choose, if it saw but some."""
        choice, tune, report = prepared.choice(record.values), self.split.tune, self.split.report
        tuned = record.miou if prepared.search.images == len(tune) else self._reached(choice, tune)
        return {
            "values": choice.values,
            "crf": choice.crf and choice.crf.model_dump(),
            "miou": {"trials": record.miou, "tune": tuned, "report": number(self._reached(choice, report))},
            "seconds": record.cost,
        }

    def _reached(self, choice: Choice, ids: Sequence[str]) -> float:
        """Return the mIoU of a choice on images; NaN without a true pixel."""
        total = np.zeros((self.inputs.num_ids, self.inputs.num_ids + 1), np.int64)
        for conf in self._confusions(choice, ids):
            total += conf
        return float(miou(total))

    def _confusions(self, choice: Choice, ids: Sequence[str]) -> Iterator[Confusion]:
        """Yield the confusion matrix of what a choice makes of each image."""
        if choice.crf is None:
            rule = find_rule(self.task.rule)
            read = partial(self.inputs.maps, saliency=rule.needs_saliency)
            for batch in applied.Gallery(rule, read, ids, self.machine.device, memory=0):
                yield from batch.confusions(rule, choice.values, self.inputs.num_ids)
            return
        labelled = Refinement(self.inputs, self.task.rule, choice.values, self.machine)
        for item, mask in labelled.refined(ids, choice.crf):
            yield confusion(item.truth, mask, self.inputs.num_ids, item.name)


def _split(inputs: StudyInputs, images: TuneImages, seed: int) -> Split:
    """Return the images that choose, and all others: none for an oracle."""
    split = choose_split(inputs.ids, inputs.labels, images, seed)
    check_split(split.tune, inputs.evaluation)
    return replace(split, report=()) if split.oracle else split


def _check(task: Task) -> None:
    rule = find_rule(task.rule)
    if task.kind != "crf" and not rule.parameters:
        raise UserError(f"rule {rule.name} has no parameters to search", "choose --kind crf, or another --rule")
    if task.kind == "fusion" and task.timed:
        raise UserError(
            "every setting of a fusion rule takes the same time: seconds are no objective of --kind fusion",
            "choose --kind crf or joint",
        )
    if not task.images:
        raise UserError("a study needs labelled images to choose by, not 0", "give --images, or edit study.tune_images")


def _clear(folder: Path) -> None:
    """Remove what an earlier study left."""
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    remove_plots(folder)


def _counted(records: Sequence[TrialRecord], timed: bool) -> dict[str, Any]:
    """Return what all trials amount to."""
    return {
        "objectives": ["miou", "seconds"] if timed else ["miou"],
        "pareto": [_on_front(record) for record in pareto(records)] if timed else None,
        "trials": sum(record.state == "complete" for record in records),
        "pruned": sum(record.state == "pruned" for record in records),
        "seconds": sum(record.seconds for record in records),
    }


def _on_front(record: TrialRecord) -> dict[str, Any]:
    return {"values": record.values, "miou": record.miou, "seconds": record.cost}


def _regret(rule: str, swept: Totals | None, reached: float) -> dict[str, Any]:
    """Return how far the choice is from the exact optimum, where that is known."""
    if swept is None:
        return {"optimum": None, "regret": None}
    values = optimum(rule, swept)
    highest = float(miou(swept.confusion_at(rule, values)))
    return {"optimum": {"values": values, "miou": highest}, "regret": shortfall(highest, reached)}
