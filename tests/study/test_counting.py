import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seedbed.study.counting import count, count_on
from seedbed.study.grid import Grid

NUM_IDS = 6
CAMS, GREYS = (0.0, 0.1, 0.2, 0.201, 0.5, 0.75), (0.0, 0.2, 0.5)
BOTH = Grid({"saliency-gate": {"cam": CAMS, "saliency": GREYS}})
SCORES_ONLY = Grid({"threshold": {"cam": CAMS}})
COUNTERS = {"compiled": count, "torch": lambda *given: count_on(torch.device("cpu"), *given)}

# Values on a threshold, beside it by one float of either width, subnormal, below 0, above 1.
ON = np.array(CAMS, np.float32)
SINGLES = [-0.5, -0.0, 1e-40, 1.0, 1.5, *ON, *np.nextafter(ON, np.float32(0)), *np.nextafter(ON, np.float32(1))]
HALVES = [-0.5, -0.0, 6e-8, 1.0, 1.5, *ON.astype(np.float16), *np.nextafter(ON.astype(np.float16), np.float16(1))]


@st.composite
def pixels(draw):
    dtype, values = draw(st.sampled_from([(np.float16, HALVES), (np.float32, SINGLES), (np.float32, HALVES)]))
    ids = sorted(draw(st.lists(st.integers(1, NUM_IDS - 1), unique=True, max_size=4)))
    size = (draw(st.integers(1, 5)), draw(st.integers(1, 6)))
    elements = st.sampled_from([float(dtype(value)) for value in values])
    cams = draw(hnp.arrays(dtype, (len(ids), *size), elements=elements))
    truth = draw(hnp.arrays(np.uint8, size, elements=st.sampled_from([*range(NUM_IDS), 255])))
    saliency = draw(st.none() | hnp.arrays(np.uint8, size, elements=st.sampled_from([0, 50, 51, 52, 127, 128, 255])))
    return cams, ids, truth, saliency


def slow_count(cams, ids, truth, saliency, grid, num_ids):
    """Count pixel by pixel."""
    found = {}
    for place in np.ndindex(truth.shape):
        if truth[place] == 255:
            continue
        scores = [max(np.float32(score), 0) for score in cams[(slice(None), *place)]]
        score = max(scores, default=0)
        winner = ids[scores.index(score)] if ids else 0
        cam = sum(score > np.float32(threshold) for threshold in grid.cam)
        grey = 0 if saliency is None else np.float32(saliency[place]) / np.float32(255)
        high = 0 if saliency is None else sum(grey > np.float32(threshold) for threshold in grid.saliency)
        code = np.ravel_multi_index((winner, truth[place], cam, high), (num_ids, num_ids, *grid.shape))
        found[int(code)] = found.get(int(code), 0) + 1
    return sorted(found), [found[code] for code in sorted(found)]


@pytest.mark.parametrize("counter", COUNTERS)
@given(image=pixels(), grid=st.sampled_from([BOTH, SCORES_ONLY]))
@settings(max_examples=80)
def test_counts_every_pixel_as_a_slow_loop_does(counter, image, grid):
    if not grid.saliency:
        image = (*image[:3], None)
    codes, counts = COUNTERS[counter](*image, grid, NUM_IDS)
    assert (codes.dtype, counts.dtype) == (np.int32, np.int32)
    assert (codes.tolist(), counts.tolist()) == slow_count(*image, grid, NUM_IDS)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("size", [(90, 91), (64, 64), (1, 4097)])
def test_both_ways_agree_on_maps_of_several_blocks(dtype, size):
    rng = np.random.default_rng(3)
    grid = Grid.of(["threshold", "alpha", "saliency-gate"], 60, 16)
    cams = (rng.random((3, *size)) ** 3).astype(dtype)
    truth, saliency = rng.choice([0, 2, 5, 255], size).astype(np.uint8), rng.integers(0, 256, size, np.uint8)
    given = (cams, [1, 2, 5], truth, saliency, grid, NUM_IDS)
    one, other = (counter(*given) for counter in COUNTERS.values())
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])
    assert one[1].sum() == (truth != 255).sum()


@pytest.mark.parametrize("counter", COUNTERS.values(), ids=COUNTERS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("wrong", [np.nan, -np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_found_in_any_map(counter, dtype, wrong):
    cams = np.full((2, 70, 70), 0.5, dtype)
    cams[1, -1, -1] = wrong
    mask = np.ones((70, 70), np.uint8)
    with pytest.raises(FloatingPointError, match="NaN or infinity"):
        counter(cams, [1, 2], mask, mask, BOTH, NUM_IDS)


def test_maps_that_are_views_are_counted_as_their_copies():
    rng = np.random.default_rng(1)
    cams, mask = rng.random((8, 6, 3), np.float32).transpose(2, 1, 0)[:, ::2], rng.integers(0, 3, (3, 8), np.uint8)
    views = count(cams, [1, 2, 3], mask[:, ::-1], mask[:, ::-1], BOTH, NUM_IDS)
    copies = count(cams.copy(), [1, 2, 3], mask[:, ::-1].copy(), mask[:, ::-1].copy(), BOTH, NUM_IDS)
    assert all(np.array_equal(view, copy) for view, copy in zip(views, copies, strict=True))
