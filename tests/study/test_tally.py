import numpy as np
import pytest

from seedbed.study.tally import Tally

NAMES = list("abcde")


@pytest.mark.parametrize(("tune", "report"), [("c", "abde"), ("ca", "acd"), ("abcde", "abcde")])
def test_images_are_added_to_their_splits_and_those_of_the_report_come_back(tune, report):
    rng = np.random.default_rng(0)
    matrices = dict(zip(NAMES, rng.integers(0, 3, (5, 3, 4)) * rng.integers(0, 2, (5, 3, 4)), strict=True))
    tally = Tally(3, tuple(tune), tuple(report))
    for name in reversed(NAMES):
        tally.add(name, matrices[name])
    assert np.array_equal(tally.per_image.dense(), [matrices[name] for name in report])
    for split, names in {"tune": tune, "report": report, "all": NAMES}.items():
        assert np.array_equal(tally.totals[split], sum(matrices[name] for name in names))
