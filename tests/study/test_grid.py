import numpy as np
import pytest

from seedbed.seeds.fusion import find_gate_rule
from seedbed.study.grid import Grid


def test_every_rule_has_even_values_and_published_ones():
    grid = Grid.of(["saliency-gate", "mcis", "alpha"], 50, 17)
    axes = grid.axes["saliency-gate"]
    assert axes["cam"][:3] == (0.0, 0.02, 0.04)
    assert len(axes["cam"]) == 50
    assert 0.5 in axes["saliency"]
    assert len(axes["saliency"]) == 18
    assert grid.saliency == axes["saliency"]
    assert 16.0 in grid.axes["alpha"]["cam"]
    assert (grid.axes["alpha"]["cam"][0], grid.axes["alpha"]["cam"][-1]) == (1, 64)
    assert 0.2 in Grid.of(["threshold"], 7, 17).cam
    assert Grid.of(["threshold"], 60, 17).saliency == ()
    assert Grid.of(["mcis", "oaa"], 60, 17).axes == {}


def test_the_grid_holds_the_thresholds_of_the_first_release():
    first = [float(f"0.{percent}") for percent in range(15, 35)]
    for steps in (2, 50, 60, 200):
        grid = Grid.of(["threshold"], steps, 17)
        assert set(first) < set(grid.axes["threshold"]["cam"]) == set(grid.cam)
    assert 0.21 not in Grid.of(["saliency-gate"], 60, 17).cam


def test_thresholds_are_the_union_over_the_rules_and_distinct_as_compared():
    grid = Grid.of(["threshold", "alpha", "saliency-gate"], 60, 16)
    assert list(grid.cam) == sorted(grid.cam)
    assert len(np.unique(np.array(grid.cam, np.float32))) == len(grid.cam)
    single = Grid.of(["alpha"], 60, 16)
    assert set(single.cam) < set(grid.cam)
    # 0.1 and the float32 nearest to it are one threshold.
    near = Grid({"threshold": {"cam": (0.1, float(np.float32(0.1)))}})
    assert near.cam == (0.1,)
    assert near.places("threshold")[0].tolist() == [1, 1]


@pytest.mark.parametrize("rule", ["threshold", "alpha", "saliency-gate"])
def test_the_place_of_every_value_is_the_bin_of_its_gate(rule):
    grid = Grid.of(["threshold", "alpha", "saliency-gate"], 9, 5)
    cam, saliency = grid.places(rule)
    assert len(cam) == len(grid.axes[rule]["cam"])
    assert len(saliency) == len(grid.axes[rule].get("saliency", [None]))
    for row in range(len(cam)):
        for column in range(len(saliency)):
            values = grid.values(rule, (row, column), (row, column))
            gates = find_gate_rule(rule).gates(find_gate_rule(rule).resolve(values))
            assert [grid.bins(gate) for gate in gates] == [(cam[row], saliency[column])] * 2


def test_gates_of_a_band_are_told_apart():
    grid = Grid.of(["saliency-gate"], 10, 5)
    values = grid.values("saliency-gate", (4, 3), (2, 1))
    assert values == {"cam_high": 0.4, "cam_low": 0.2, "saliency_high": 0.5, "saliency_low": 0.2}


def test_the_text_of_a_grid_brings_it_back():
    grid = Grid.of(["threshold", "alpha", "saliency-gate"], 60, 16)
    again = Grid.parse(grid.text)
    assert again == grid
    assert again.cam == grid.cam
    assert again.text == grid.text
    with pytest.raises(ValueError, match="rules have changed"):
        Grid.parse(grid.text.replace("0.383333", "0.383334", 1))
