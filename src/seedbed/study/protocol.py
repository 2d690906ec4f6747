"""The protocol of a study: who chooses thresholds, on which images, and what is reported of the choice.

Thresholds picked on the ground truth they are scored on flatter every method. So `tune_images` labelled images choose
(the *tune* split), all others report (the *report* split), and the *oracle*, chosen on all images, stands beside the
choice. With `tune_images: all` the choice is an oracle itself: both splits are all images. Every mIoU is the primary
variant of `seedbed.evaluate.scores`, that of `first_release` excepted.

Layout of `study.json` (numbers are fractions in 0..1, undefined ones null; no timings: equal inputs give equal bytes)::

    {
     "protocol": {
       "statement": str,               # one or two sentences for the page
       "variant": str,                 # name of the mIoU variant
       "seed": int,
       "oracle": bool,                 # whether all images choose, and every point is scored on those that chose it
       "images": {"tune": int, "report": int, "all": int},
       "missing_classes": [int, ...]   # 0-based classes that no tune image shows although another image does
     },
     "grid": {"cam": [float, ...], "saliency": [float, ...]},      # the thresholds behind all sweeps, ascending
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
         "trials": int,                # trials that ended with a score; 0 for a rule without parameters
         "curve": null | [REACHED, ...],     # choices by 0, `curve_images` and all images, in this order; null for
                                       # a rule without parameters
         "regret": null | float,       # tune mIoU of "grid" minus that of "chosen": what Optuna left on the table
         "oracle_gap": null | float,   # mIoU on ALL images of "oracle" minus that of "chosen"
         "optimum": null | {           # 95 % interval of the exact optimum over bootstrap samples of the tune split
           "split": "tune", "values": {<parameter>: [low, high]}, "miou": [low, high], "samples": int
         },
         "per_class": null | [         # the setting with the highest IoU of each class on ALL images: oracles too;
           {"class": int, "values": null | {<parameter>: float}, "iou": null | float}, ...    # null if absent in truth
         ],
         "surface": null | {           # every band-free setting of the sweep: all pixels get a class or background
           "axes": [{"parameter": str, "values": [float, ...]}, ...],    # 1 axis: threshold curve; 2 axes: heat map
           "miou"/"precision"/"recall"/"coverage": {"tune": NESTED, "report": NESTED, "all": NESTED},
           "band": null | {            # the ignore band between the saliency thresholds, the others as chosen
             "axes": [{"parameter": "saliency_low", "values": [...]}, {"parameter": "saliency_high", "values": [...]}],
             "miou"/"precision"/"recall"/"coverage": {"all": NESTED}     # null where low > high
           }
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
       "images": int,                  # tune images each trial was scored on, the first in order of choice
       "tune_images": int, "report_images": int,  # images that the points are scored on
       "subset": {"published": float, "chosen": float},     # mIoU on the images of the trials
                                       # "chosen": the best trial there, if it beats "published" on the whole tune
                                       # split; else as published
       "points": {
         "without"/"published"/"chosen": {        # labels as they are, and refined by two settings
           "params": null | {<name of CrfParams>: float | int},
           "miou": {"tune": float, "report": float},
           "interval": [low, high]}    # as in POINT
       },
       "gain": {"miou": float, "interval": [low, high]},    # report mIoU of "chosen" minus "without", paired by image
       "published_gain": {...},        # the same of "published"
       "trials": int, "pruned": int    # trials that ended with a score; trials stopped early
     }
    }

    POINT = {"values": {<parameter>: float},
             "miou": null | {"tune": float, "report": float, "all": float},
             "interval": null | [low, high]}      # 95 % bootstrap interval of the report mIoU over images
    REACHED = {"tune_images": int | "all", "oracle": bool, "seeds": int, "each": [float, ...],
               "miou": float, "low": float, "high": float}
    NESTED = nested lists, a level per axis, in order

REACHED of n images: drawn with `seeds` seeds as the tune split is, each time the exact optimum on them (of other rules
the best of the published setting and as many settings drawn at random, without a look at any mask, as there were
trials), scored on all *other* images: `each`, their mean and the ends of 95 % of them. With 0 (as published, `seeds` 0)
and "all" (the oracle, `seeds` 0) there is one choice, scored on all images, with its bootstrap interval over images.
Numbers of images that leave none to score on are left out.

Precision and recall are means over object classes in truth or prediction, coverage is the share of pixels that got a
label. For a rule with an ignore band (`saliency-gate`) the axes of the surface are the band-free settings,
`cam_low = cam_high` and `saliency_low = saliency_high`, named "cam" and "saliency"; its points may use the band. Rules
that are not made of gates (`mcis`, `oaa`, `argmax`) are not swept: Optuna's trials apply them to the tune images, and
"grid", "oracle", regret, gap, optimum, per_class and surface are missing or null. With tune_images = 0 they are so for
every rule, there is no "first_release" and no curve, and the choice is as published. A study of imported pseudo-labels
has no rules ("rules" is empty) and no CRF: nothing was chosen.

Beside it in the study's folder: `best.yaml` (`read_best`: the chosen values of every rule, and the CRF parameters or
null), `split.json` ({"tune": [id, ...], "report": [id, ...]}: in order of choice; in list order), `trials.csv` (study,
trial, state, miou, values), `table.npz` (`Tables.load`, if a rule is swept), and `confusion-<rule>-<point>.npz` and
`confusion-crf-<point>.npz` (`evaluate.confusion.load_sparse`: the report split's images, for paired intervals between
methods; one file per point).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from seedbed.errors import UserError
from seedbed.evaluate.scores import PRIMARY
from seedbed.files import write_json, write_text
from seedbed.params import CrfParams, StudyParams
from seedbed.seeds.fusion import find_rule
from seedbed.study.applied import Application
from seedbed.study.curve import Draws
from seedbed.study.inputs import Machine, StudyInputs
from seedbed.study.refinement import Refinement
from seedbed.study.scoring import Reporter, Sweep, unscored
from seedbed.study.split import Split, TuneImages, check_split, choose_split
from seedbed.study.tables import Grid, Tables
from seedbed.study.trials import Runner, TrialRecord

RuleStudy = Callable[[str, Runner, int], tuple[dict[str, Any], list[TrialRecord]]]


@dataclass(frozen=True)
class Best:
    """What a study chose: values by rule, and CRF parameters if it looked for them."""

    rules: dict[str, dict[str, float]]
    crf: CrfParams | None


def run_study(
    inputs: StudyInputs,
    params: StudyParams,
    crf: CrfParams,
    rule: str,
    folder: Path,
    runner: Runner,
    *,
    bootstrap: int,
    machine: Machine = Machine(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Run the study of one method, write its files into `folder`, and return the content of study.json.

    `rule` is the one whose pseudo-labels the CRF trials refine, `crf` the first of these trials; `bootstrap` is the
    number of samples behind each interval. The runner's seed draws the split too; its storage continues a killed study.
    With `params.tune_images` = 0 no mask is read: published values are the choice. Raises UserError for unknown rules,
    images that may not choose, and bad input.
    """
    _check_rules(rule, params.rules)
    split = _open(inputs, params.tune_images, runner.seed, folder)
    grid = Grid.of(params.rules, params.cam_steps, params.saliency_steps)
    rules: dict[str, Any] = {name: unscored(name) for name in params.rules}
    refined: dict[str, Any] | None = None
    best_crf: CrfParams | None = None
    trials: list[TrialRecord] = []
    if split.tune:
        draws = Draws.of(inputs.ids, inputs.labels, params.curve_images, params.curve_seeds, bootstrap, runner.seed)
        reporter = Reporter(folder, split.tune, split.report, draws)
        for name, study in _studies(inputs, params.rules, grid, reporter, machine):
            rules[name], its_trials = study(name, runner, params.trials)
            trials += its_trials
        if params.crf_trials:
            refinement = Refinement(inputs, rule, rules[rule]["points"]["chosen"]["values"], machine)
            refined, best_crf, its_trials = refinement.study(crf, params, runner, reporter)
            trials += its_trials
    result = {
        "protocol": _protocol(inputs, split, runner.seed) | _chosen_by(inputs, split, runner.seed),
        "grid": {"cam": list(grid.cam), "saliency": list(grid.saliency)},
        "rules": rules,
        "crf": refined,
    }
    _write(folder, split, result, best_crf, trials)
    return result


def skip_study(inputs: StudyInputs, tune_images: TuneImages, seed: int, folder: Path) -> dict[str, Any]:
    """Write into `folder` the files of a study of pseudo-labels that are taken as they are: no rule, no trial.

    The split is the one of every other method, so the same images report. Returns and raises what `run_study` does.
    """
    split = _open(inputs, tune_images, seed, folder)
    stated = {
        "statement": "The pseudo-labels are imported and taken as they are: nothing was chosen here.",
        "oracle": False,
    }
    result: dict[str, Any] = {
        "protocol": _protocol(inputs, split, seed) | stated,
        "grid": {"cam": [], "saliency": []},
        "rules": {},
        "crf": None,
    }
    _write(folder, split, result, None, [])
    return result


def _open(inputs: StudyInputs, tune_images: TuneImages, seed: int, folder: Path) -> Split:
    """Return the split of the images, and rid `folder` of the matrices of an earlier study."""
    split = choose_split(inputs.ids, inputs.labels, tune_images, seed)
    if split.tune:
        check_split(inputs.ids, inputs.evaluation)
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.npz"):
        leftover.unlink()
    return split


def _write(
    folder: Path, split: Split, result: dict[str, Any], crf: CrfParams | None, trials: Sequence[TrialRecord]
) -> None:
    write_json(folder / "split.json", asdict(split))
    write_best(folder, {name: entry["points"]["chosen"]["values"] for name, entry in result["rules"].items()}, crf)
    write_trials(folder, trials)
    write_json(folder / "study.json", result)


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


def write_best(folder: Path, rules: dict[str, dict[str, float]], crf: CrfParams | None) -> None:
    """Write what `read_best` reads."""
    choice = {"rules": rules, "crf": crf and crf.model_dump()}
    write_text(folder / "best.yaml", yaml.safe_dump(choice, sort_keys=True))


def write_trials(folder: Path, trials: Sequence[TrialRecord], times: bool = False) -> None:
    """Write the table trials.csv; without `times`, equal studies give equal bytes."""
    rows = [
        [trial.study, trial.number, trial.state, trial.miou, json.dumps(trial.values, sort_keys=True)]
        + ([round(trial.seconds, 3), trial.cost] if times else [])
        for trial in trials
    ]
    header = ["study", "trial", "state", "miou", "values"] + (["seconds", "seconds per image"] if times else [])
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([header, *rows])
    write_text(folder / "trials.csv", table.getvalue())


def _check_rules(rule: str, studied: Sequence[str]) -> None:
    for name in (rule, *studied):
        find_rule(name)
    if rule not in studied:
        raise UserError(
            f"rule {rule} is not among study.rules ({', '.join(studied)})", "add it to study.rules in params.yaml"
        )


def _studies(
    inputs: StudyInputs, rules: Sequence[str], grid: Grid, reporter: Reporter, machine: Machine
) -> Iterator[tuple[str, RuleStudy]]:
    """Yield every rule with the study that can do it. Images are counted once, before the first rule that is swept."""
    sweep: Sweep | None = None
    for name in rules:
        if not find_rule(name).swept:
            read = partial(inputs.maps, saliency=find_rule(name).needs_saliency)
            yield name, Application(read, inputs.ids, inputs.num_ids, reporter, machine.device).study
            continue
        if sweep is None:
            maps = inputs.maps(inputs.ids, saliency=bool(grid.saliency))
            sweep = Sweep(Tables.build(maps, inputs.num_ids, grid, machine.device), reporter)
            sweep.tables.save(reporter.folder / "table.npz")
        yield name, sweep.study


def _chosen_by(inputs: StudyInputs, split: Split, seed: int) -> dict[str, Any]:
    """Return who chose the settings, as the entry `protocol` of study.json states it."""
    tune, report, every = len(split.tune), len(split.report), len(inputs.ids)
    if split.oracle:
        statement = (
            f"Oracle: thresholds are chosen on all {every} images of {inputs.name} and scored on the same images. "
            "Every number here is an upper bound, not a result."
        )
    elif tune:
        statement = (
            f"Thresholds are chosen on {tune} of the {every} images of {inputs.name} (drawn with seed {seed}, "
            f"the same for every method) and reported on the other {report}. "
            f"The oracle is chosen on all {every}: an upper bound, not a result."
        )
    else:
        statement = "Published thresholds; no ground truth was read to choose them."
    return {"statement": statement, "oracle": split.oracle}


def _protocol(inputs: StudyInputs, split: Split, seed: int) -> dict[str, Any]:
    """Return the rest of that entry, which is the same for every method."""
    tune, report, every = len(split.tune), len(split.report), len(inputs.ids)
    return {
        "variant": PRIMARY,
        "seed": seed,
        "images": {"tune": tune, "report": report, "all": every},
        "missing_classes": sorted(inputs.shown(inputs.ids) - inputs.shown(split.tune)) if tune else [],
    }
