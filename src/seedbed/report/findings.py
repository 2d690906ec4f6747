"""What the studies found, per method and rule, each number with the images it is on: compare.json's entry `studies`.

::

    {<method>: {
      "rule": str,                        # the method's own: what its pseudo-labels are made by
      "oracle": bool,                     # whether all images chose, those reported on too
      "images": {"tune": int, "report": int, "all": int},
      "rules": {<rule>: {
        "tune": {                         # on the tune split, whose masks were read to choose
          "chosen": SCORED,               # by Optuna
          "optimum": SCORED | null,       # of the exact sweep
          "interval": null | {"values": {<parameter>: [low, high]}, "miou": [low, high], "samples": int},
          "regret": float | null},        # mIoU of "optimum" minus that of "chosen"
        "all": {                          # on all images
          "chosen": SCORED,
          "oracle": SCORED | null,        # an upper bound, never a result
          "oracle_gap": float | null,     # mIoU of "oracle" minus that of "chosen"
          "per_class": null | [{"class": str, "values": {...} | null, "iou": float | null}]},      # oracles too
        "curve": [REACHED]}},             # of choices by different numbers of labelled images
      "crf": null | {...}}}               # as seedbed.study.protocol states it

SCORED = {"values": {...}, "miou": float}, `interval` is the 95 % bootstrap interval of the optimal setting, and
REACHED = {"tune_images": int | "all", "oracle": bool, "seeds": int, "miou": float, "low": float, "high": float}: with 0
the published setting on all images, with n the mean of the choices of several draws of n images, each scored on all
other images, with "all" the oracle. A rule that no mask was read for is left out, and so is what is undefined of a
curve; all else that a study did not measure is null.
"""

from __future__ import annotations

from collections.abc import Sequence

from seedbed.report.results import Json, Results

_REACHED = ("tune_images", "oracle", "seeds", "miou", "low", "high")


def study_findings(results: Results) -> Json:
    """Return what the study of every method found (see the module)."""
    return {method: _findings(results, method) for method in results.methods}


def _findings(results: Results, method: str) -> Json:
    study = results.studies[method]
    refined = study.get("crf")
    return {
        "rule": results.measured["pseudo"][method].metrics["rule"],
        "oracle": bool(study["protocol"].get("oracle")),
        "images": study["protocol"]["images"],
        "rules": {
            rule: _rule(found, results.data["classes"])
            for rule, found in study["rules"].items()
            if found["points"]["chosen"].get("miou") or found.get("curve")
        },
        "crf": refined if refined and "points" in refined else None,
    }


def _rule(found: Json, classes: Sequence[str]) -> Json:
    return {
        "tune": {
            "chosen": _scored(found, "chosen", "tune"),
            "optimum": _scored(found, "grid", "tune"),
            "interval": _interval(found.get("optimum")),
            "regret": found.get("regret"),
        },
        "all": {
            "chosen": _scored(found, "chosen", "all"),
            "oracle": _scored(found, "oracle", "all"),
            "oracle_gap": found.get("oracle_gap"),
            "per_class": _per_class(found.get("per_class"), classes),
        },
        "curve": [reached for one in found.get("curve") or () if None not in (reached := _reached(one)).values()],
    }


def _reached(point: Json) -> Json:
    return {name: point[name] for name in _REACHED}


def _scored(found: Json, point: str, split: str) -> Json | None:
    """Return a setting and its mIoU on a split; None where there is no such setting or no mask was read."""
    one = found["points"].get(point) or {}
    miou = (one.get("miou") or {}).get(split)
    return None if miou is None else {"values": one["values"], "miou": miou}


def _interval(optimum: Json | None) -> Json | None:
    return optimum and {name: optimum[name] for name in ("values", "miou", "samples")}


def _per_class(optima: Sequence[Json] | None, classes: Sequence[str]) -> list[Json] | None:
    return None if optima is None else [one | {"class": classes[one["class"]]} for one in optima if one is not None]
