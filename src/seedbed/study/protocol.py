"""The protocol of a study: who chooses thresholds, on which images, and what is reported of the choice.

Thresholds picked on the ground truth they are scored on flatter every method. So `tune_images` labelled images choose
(the *tune* split), all others report (the *report* split), and the *oracle*, chosen on all images, stands beside the
choice. Every mIoU is the primary variant of `seedbed.evaluate.scores`, that of `first_release` excepted.

Layout of `study.json` (numbers are fractions in 0..1, undefined ones null; no timings: equal inputs give equal bytes)::

    {
     "protocol": {
       "statement": str,               # one or two sentences for the page
       "variant": str,                 # name of the mIoU variant
       "seed": int,
       "images": {"tune": int, "report": int, "all": int},
       "missing_classes": [int, ...]   # 0-based classes that no tune image shows although another image does
     },
     "grid": {"cam": [float, ...], "saliency": [float, ...]},      # the swept thresholds, ascending
     "rules": {
       <rule>: {
         "summary": str,
         "parameters": {<name>: {"low": float, "high": float, "published": float, "meaning": str}},
         "points": {
           "published": POINT,         # as published
           "chosen": POINT,            # the best trial of Optuna on the tune split: what `choose: study` uses
           "grid": POINT,              # if swept: the exact optimum on the tune split, over every setting on the grid
           "oracle": POINT             # if swept: the exact optimum on ALL images: an upper bound, never a result
         },
         "regret": float | null,       # tune mIoU of "grid" minus that of "chosen": what Optuna left on the table
         "trials": int,                # trials that ended with a score
         "surface": null | {
           "axes": [{"parameter": str, "values": [float, ...]}, ...],    # 1 axis: threshold curve; 2 axes: heat map
           "miou": {"tune": NESTED, "report": NESTED, "all": NESTED}     # nested lists, a level per axis, in order
         },
         "first_release": {            # of rule `threshold` alone: the sweep of EPS's first release; never a result
           "thresholds": [float, ...],
           "miou": {"tune": [float, ...], "report": [float, ...], "all": [float, ...]},     # one per threshold
           "variant": str              # of the mIoU here: ignored pixels left out, absent classes 0
         }
       }
     },
     "crf": null | {                   # null when there were no CRF trials
       "rule": str, "values": {<name>: float},    # the pseudo-labels that were refined
       "images": int,                  # tune images each trial was scored on
       "without": float,               # mIoU of these images before the CRF
       "published": {"params": {<name of CrfParams>: float | int}, "miou": float},
       "chosen": {"params": {...}, "miou": float},
       "trials": int, "pruned": int    # trials that ended with a score; trials stopped early
     }
    }

    POINT = {"values": {<parameter>: float},
             "miou": null | {"tune": float, "report": float, "all": float},
             "interval": null | [low, high]}      # 95 % bootstrap interval of the report mIoU over images

For a rule with an ignore band (`saliency-gate`) the axes are the band-free settings, `cam_low = cam_high` and
`saliency_low = saliency_high`, named "cam" and "saliency"; its points may use the band. Rules that are not made of
gates (`mcis`, `oaa`) are not swept: Optuna's trials apply them to the tune images, and "grid", "oracle", regret and
surface are missing or null. With tune_images = 0 they are so for every rule, there is no "first_release", and the
choice is as published.

Beside it in the study's folder: `best.yaml` (`read_best`: the chosen values of every rule, and the CRF parameters or
null), `split.json` ({"tune": [id, ...], "report": [id, ...]}: in order of choice; in list order), `trials.csv` (study,
trial, state, miou, values), `table.npz` (`Tables.load`, if a rule is swept), and `confusion-<rule>-<point>.npz`
(`evaluate.load_confusions`: the report split's images, for paired intervals between methods under the same rule; one
file per rule and point).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from seedbed.errors import UserError, named
from seedbed.evaluate.scores import PRIMARY
from seedbed.files import write_json, write_text
from seedbed.params import CrfParams, StudyParams
from seedbed.seeds.fusion import find_rule
from seedbed.study.applied import Application
from seedbed.study.crf_study import CrfItem, CrfStudy, study_crf
from seedbed.study.scoring import Reporter, Sweep, unscored
from seedbed.study.tables import Grid, ImageMaps, Tables
from seedbed.study.trials import Runner, TrialRecord

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class StudyInputs:
    """The images of a study and how to read them, by id.

    `name`: of the image list, for people; `labels`: 0/1 vectors [C]; `cams`: class maps [K,H,W] and their 0-based
    classes [K]; `saliency`, `mask`: uint8 [H,W]; `image`: RGB uint8 [H,W,3]. `num_ids` is C + 1.
    """

    name: str
    ids: Sequence[str]
    num_ids: int
    labels: Mapping[str, Array]
    cams: Callable[[str], tuple[Array, Array]]
    saliency: Callable[[str], Array]
    mask: Callable[[str], Array]
    image: Callable[[str], Array]


@dataclass(frozen=True)
class Split:
    """Images that choose (in order of choice) and images that report (in list order)."""

    tune: tuple[str, ...]
    report: tuple[str, ...]


@dataclass(frozen=True)
class Best:
    """What a study chose: values by rule, and CRF parameters if it looked for them."""

    rules: dict[str, dict[str, float]]
    crf: CrfParams | None


def choose_split(ids: Sequence[str], labels: Mapping[str, Array], tune_images: int, seed: int) -> Split:
    """Draw `tune_images` of the `ids`, the same for every method: at random, but every class that fits in is shown.

    Rare classes first, each class not shown yet gets the first image of the random order that has it; random images
    fill up. Only image labels are looked at. Raises UserError when no image would be left to report on.
    """
    if tune_images and tune_images >= len(ids):
        raise UserError(
            f"study.tune_images ({tune_images}) leaves none of the {len(ids)} images to report on",
            "edit study.tune_images in params.yaml",
        )
    order = [ids[index] for index in np.random.default_rng(seed).permutation(len(ids))]
    classes = {name: set(np.flatnonzero(labels[name]).tolist()) for name in order} if tune_images else {}
    holders = {index: [name for name in order if index in classes[name]] for index in set().union(*classes.values())}
    tune: dict[str, None] = {}  # an ordered set
    shown: set[int] = set()
    for index in sorted(holders, key=lambda index: (len(holders[index]), index)):
        if index not in shown and len(tune) < tune_images:
            tune[holders[index][0]] = None
            shown |= classes[holders[index][0]]
    for name in order:
        if len(tune) < tune_images:
            tune[name] = None
    return Split(tuple(tune), tuple(name for name in ids if name not in tune))


def run_study(
    inputs: StudyInputs,
    params: StudyParams,
    crf: CrfParams,
    rule: str,
    folder: Path,
    runner: Runner,
    *,
    bootstrap: int,
    jobs: int = 1,
) -> dict[str, Any]:
    """Run the study of one method, write its files into `folder`, and return the content of study.json.

    `rule` is the one whose pseudo-labels the CRF trials refine, `crf` the first of these trials; `bootstrap` is the
    number of samples behind each interval, `jobs` the number of CRF processes (0 = one per core). The runner's seed
    draws the split too; its journal continues a killed study. With `params.tune_images` = 0 no mask is read: published
    values are the choice. Raises UserError for unknown rules and bad input.
    """
    _check_rules(rule, params.rules)
    split = choose_split(inputs.ids, inputs.labels, params.tune_images, runner.seed)
    grid = Grid.of(params.rules, params.cam_steps, params.saliency_steps)
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.npz"):
        leftover.unlink()
    rules: dict[str, Any] = {name: unscored(name) for name in params.rules}
    refined: CrfStudy | None = None
    trials: list[TrialRecord] = []
    if split.tune:
        reporter = Reporter(folder, split.tune, split.report, bootstrap, runner.seed)
        for name, study in _studies(inputs, params.rules, grid, reporter):
            rules[name], its_trials = study(name, runner, params.trials)
            trials += its_trials
        if params.crf_trials:
            items = _crf_items(inputs, split.tune[: params.crf_images], rule, rules[rule]["points"]["chosen"]["values"])
            refined = study_crf(items, inputs.num_ids, crf, runner, params.crf_trials, jobs)
            trials += refined.trials
    result = {
        "protocol": _protocol(inputs, split, runner.seed),
        "grid": {"cam": list(grid.cam), "saliency": list(grid.saliency)},
        "rules": rules,
        "crf": refined and {"rule": rule, "values": rules[rule]["points"]["chosen"]["values"]} | refined.describe(),
    }
    _write(folder, result, split, trials, refined)
    return result


def read_best(path: Path) -> Best:
    """Read best.yaml. Raises UserError when it is missing or not what a study writes."""
    fix = "seedbed study --method METHOD"
    try:
        content = yaml.safe_load(path.read_text())
        crf = content["crf"]
        return Best(content["rules"], None if crf is None else CrfParams.model_validate(crf))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", fix) from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not the choice of a study ({error})", f"rm {path}, then {fix}") from None


def _check_rules(rule: str, studied: Sequence[str]) -> None:
    for name in (rule, *studied):
        find_rule(name)
    if rule not in studied:
        raise UserError(
            f"rule {rule} is not among study.rules ({', '.join(studied)})", "add it to study.rules in params.yaml"
        )


def _studies(
    inputs: StudyInputs, rules: Sequence[str], grid: Grid, reporter: Reporter
) -> Iterator[tuple[str, Callable[[str, Runner, int], tuple[dict[str, Any], list[TrialRecord]]]]]:
    """Yield every rule with the study that can do it. Images are counted once, before the first rule that is swept."""
    sweep: Sweep | None = None
    for name in rules:
        if not find_rule(name).swept:
            read = partial(_read, inputs, saliency=find_rule(name).needs_saliency)
            yield name, Application(read, inputs.ids, inputs.num_ids, reporter).study
            continue
        if sweep is None:
            maps = _read(inputs, inputs.ids, saliency=bool(grid.saliency))
            sweep = Sweep(Tables.build(maps, inputs.num_ids, grid), reporter)
            sweep.tables.save(reporter.folder / "table.npz")
        yield name, sweep.study


def _read(inputs: StudyInputs, ids: Sequence[str], saliency: bool) -> Iterator[ImageMaps]:
    """Yield the maps of images, one at a time."""
    for name in ids:
        yield ImageMaps(name, *inputs.cams(name), inputs.mask(name), inputs.saliency(name) if saliency else None)


def _crf_items(inputs: StudyInputs, ids: Sequence[str], rule: str, values: Mapping[str, float]) -> list[CrfItem]:
    """Return images with the pseudo-labels that `rule` gives them."""
    entry = find_rule(rule)
    items = []
    for name in ids:
        cams, classes = inputs.cams(name)
        with named(name):
            labels = entry.apply(cams, classes, inputs.saliency(name) if entry.needs_saliency else None, values)
        candidates = [0, *(int(index) + 1 for index in classes)]
        items.append(CrfItem(name, inputs.image(name), labels, inputs.mask(name), candidates))
    return items


def _protocol(inputs: StudyInputs, split: Split, seed: int) -> dict[str, Any]:
    """Return the entry `protocol` of study.json."""
    tune, report, every = len(split.tune), len(split.report), len(inputs.ids)
    if tune:
        statement = (
            f"Thresholds are chosen on {tune} of the {every} images of {inputs.name} (drawn with seed {seed}, "
            f"the same for every method) and reported on the other {report}. "
            f"The oracle is chosen on all {every}: an upper bound, not a result."
        )
    else:
        statement = "Published thresholds; no ground truth was read to choose them."
    return {
        "statement": statement,
        "variant": PRIMARY,
        "seed": seed,
        "images": {"tune": tune, "report": report, "all": every},
        "missing_classes": sorted(_shown(inputs, inputs.ids) - _shown(inputs, split.tune)) if tune else [],
    }


def _shown(inputs: StudyInputs, ids: Sequence[str]) -> set[int]:
    """Return the 0-based classes in the image labels of `ids`."""
    return {int(index) for name in ids for index in np.flatnonzero(inputs.labels[name])}


def _write(
    folder: Path, result: dict[str, Any], split: Split, trials: list[TrialRecord], refined: CrfStudy | None
) -> None:
    """Write everything but the .npz files; study.json last."""
    chosen = {name: entry["points"]["chosen"]["values"] for name, entry in result["rules"].items()}
    choice = {"rules": chosen, "crf": refined.chosen.model_dump() if refined else None}
    write_text(folder / "best.yaml", yaml.safe_dump(choice, sort_keys=True))
    write_json(folder / "split.json", asdict(split))
    rows = [
        [trial.study, trial.number, trial.state, trial.miou, json.dumps(trial.values, sort_keys=True)]
        for trial in trials
    ]
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([["study", "trial", "state", "miou", "values"], *rows])
    write_text(folder / "trials.csv", table.getvalue())
    write_json(folder / "study.json", result)
