"""What a study should say, found by labelling every image anew."""

import json

import numpy as np

from seedbed.crf.dense import refine
from seedbed.evaluate.bootstrap import interval
from seedbed.evaluate.confusion import confusion, load_confusions
from seedbed.seeds.fusion import find_rule
from seedbed.study.optima import miou


def per_image(inputs, rule, values, ids=None):
    """Return the confusion matrices of a setting, by image."""
    return {
        name: confusion(
            inputs.mask(name),
            find_rule(rule).apply(*inputs.cams(name), inputs.saliency(name), values),
            inputs.num_ids,
        )
        for name in (ids or inputs.ids)
    }


def check_points(inputs, folder, result, samples=100, seed=0):
    """Compare mIoU, matrices and intervals of every rule's points with their masks."""
    split = json.loads((folder / "split.json").read_text())
    groups = {"tune": split["tune"], "report": split["report"], "all": inputs.ids}
    for rule, entry in result["rules"].items():
        for name, point in entry["points"].items():
            found = per_image(inputs, rule, point["values"])
            assert point["miou"] == {
                group: float(miou(sum(found[image] for image in ids))) for group, ids in groups.items()
            }
            ids, stored = load_confusions(folder / f"confusion-{rule}-{name}.npz")
            assert ids == split["report"]
            assert np.array_equal(stored, [found[image] for image in ids])
            low, high = point["interval"]
            assert (low, high) == interval(stored, samples, seed)
            assert low < high


def confused(inputs, rule, values, params, ids):
    """Return the confusion matrices of images whose labels a CRF refined."""
    found = []
    for name in ids:
        cams, classes = inputs.cams(name)
        labels = find_rule(rule).apply(cams, classes, inputs.saliency(name), values)
        refined = refine(inputs.image(name), labels, [0, *(classes + 1)], params)
        found.append(confusion(inputs.mask(name), refined, inputs.num_ids))
    return found
