"""Sliding-window prediction."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from seedbed.segment.windows import predict_windows, resize_by, window_starts

WEIGHT = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def pixelwise(images: Tensor) -> Tensor:
    """A network without neighbourhood: the probabilities of a pixel depend on its colour alone."""
    return torch.einsum("kc,nchw->nkhw", WEIGHT.to(images.dtype), images).softmax(dim=1)


def positional(images: Tensor) -> Tensor:
    """A network whose answer depends on the place in the window, too."""
    ramp = torch.linspace(0, 3, images.shape[-1]).to(images.dtype)
    return (pixelwise(images).log() + WEIGHT[:, 0, None, None] * ramp).softmax(dim=1)


class Case(NamedTuple):
    images: Tensor
    crop: int
    scales: list[float]


@st.composite
def cases(draw: st.DrawFn, count: int = 1) -> Case:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    images = torch.randn(count, 3, height, width, generator=generator, dtype=torch.float64)
    scales = draw(st.lists(st.sampled_from([0.3, 0.5, 0.75, 1.0, 1.25, 1.6]), min_size=1, max_size=3))
    return Case(images, draw(st.integers(1, 30)), scales)


CASES = settings(deadline=None, max_examples=40)


@CASES
@given(case=cases(count=2), flip=st.booleans())
def test_probabilities_add_up_to_one(case: Case, flip: bool) -> None:
    found = predict_windows(case.images, positional, case.crop, case.scales, flip, published=False)
    height, width = case.images.shape[-2:]
    assert found.shape == (2, 5, height, width)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, height, width, dtype=torch.float64))


@CASES
@given(case=cases(), flip=st.booleans())
def test_published_probabilities_are_finite_and_never_add_up_to_more(case: Case, flip: bool) -> None:
    found = predict_windows(case.images, positional, case.crop, [1.0], flip, published=True)
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.sum(dim=1).max() <= 1 + 1e-9


@CASES
@given(case=cases(), flip=st.booleans())
def test_windows_do_not_show_in_the_average_of_a_pixelwise_network(case: Case, flip: bool) -> None:

    def whole(images: Tensor) -> Tensor:
        resized = [pixelwise(resize_by(images, scale)) for scale in case.scales]
        return sum(functional.interpolate(one, images.shape[-2:], mode="bicubic") for one in resized) / len(resized)

    expected = (whole(case.images) + whole(case.images.flip(-1)).flip(-1)) / 2 if flip else whole(case.images)
    found = predict_windows(case.images, pixelwise, case.crop, case.scales, flip, published=False)
    torch.testing.assert_close(found, expected)


@CASES
@given(case=cases())
def test_flip_makes_the_result_of_the_mirror_image_the_mirrored_result(case: Case) -> None:
    found = predict_windows(case.images, positional, case.crop, case.scales, True, published=False)
    mirrored = predict_windows(case.images.flip(-1), positional, case.crop, case.scales, True, published=False)
    torch.testing.assert_close(mirrored.flip(-1), found)


@CASES
@given(side=st.integers(1, 400), crop=st.integers(1, 120))
def test_windows_cover_the_side_and_stay_inside(side: int, crop: int) -> None:
    starts = window_starts(side, crop)
    assert starts[0] == 0
    assert starts[-1] == max(side - crop, 0)
    assert starts == sorted(set(starts))
    steps = [after - before for before, after in itertools.pairwise(starts)]
    assert all(step <= max(1, crop * 2 // 3) for step in steps)
    assert {*steps[:-1]} <= {max(1, crop * 2 // 3)}


def test_windows_of_the_published_test() -> None:
    assert [window_starts(side, 401) for side in (100, 134, 401, 402, 668, 669, 750)] == [
        [0],
        [0],
        [0],
        [0, 1],
        [0, 267],
        [0, 267, 268],
        [0, 267, 349],
    ]


def constant(level: float, images: Tensor) -> Tensor:
    return images.new_full((len(images), 1, *images.shape[-2:]), level)


def test_published_overlaps_are_the_last_window_over_their_number() -> None:
    levels = iter([1.0, 3.0])
    images = torch.zeros(1, 3, 6, 8)
    found = predict_windows(images, lambda x: constant(next(levels), x), 6, [1.0], False, published=True)
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([1.0, 1, 1.5, 1.5, 1.5, 1.5, 3, 3]))
    levels = iter([1.0, 3.0])
    found = predict_windows(images, lambda x: constant(next(levels), x), 6, [1.0], False, published=False)
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([1.0, 1, 2, 2, 2, 2, 3, 3]))


@pytest.mark.parametrize(("height", "width"), [(134, 300), (300, 134), (20, 30)])
def test_published_scales_without_a_window_count_as_zero(height: int, width: int) -> None:
    images = torch.zeros(1, 3, height, width)
    alone, half = (
        predict_windows(images, lambda x: constant(1.0, x), 401, scales, True, published=True)
        for scales in ([1.0], [1.0, 2.99])
    )
    assert (alone == 0).all()
    expected = 0.5 if min(height, width) == 134 else 0.0
    assert half.max().item() == pytest.approx(expected, abs=0.05)  # the cubic overshoots
    averaged = predict_windows(images, lambda x: constant(1.0, x), 401, [1.0], True, published=False)
    torch.testing.assert_close(averaged, torch.ones(1, 1, height, width))


def test_one_window_more_than_a_third_is_enough_as_published() -> None:
    images = torch.randn(1, 3, 135, 300)
    published, averaged = (predict_windows(images, pixelwise, 401, [1.0], False, overlap) for overlap in (True, False))
    torch.testing.assert_close(published, averaged)


def test_windows_are_padded_by_zeros_at_the_right_and_bottom() -> None:
    seen: list[Tensor] = []

    def remember(windows: Tensor) -> Tensor:
        seen.append(windows)
        return pixelwise(windows)

    predict_windows(torch.ones(2, 3, 4, 5), remember, 7, [1.0], False, published=False)
    (window,) = seen
    assert window.shape == (2, 3, 7, 7)
    assert (window[..., :4, :5] == 1).all()
    assert window.sum() == 2 * 3 * 4 * 5


@pytest.mark.parametrize(
    ("side", "factor", "expected"), [(30, 0.75, 22), (46, 0.75, 34), (46, 1.25, 58), (3, 0.5, 2), (1, 0.3, 1)]
)
def test_sides_are_rounded_half_to_even(side: int, factor: float, expected: int) -> None:
    assert resize_by(torch.zeros(1, 1, side, side), factor).shape[-2:] == (expected, expected)


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.25, 1.5])
def test_samples_stand_a_factor_apart(factor: float) -> None:
    ramp = torch.arange(46.0, dtype=torch.float64).expand(1, 1, 46, 46)
    found = resize_by(ramp, factor)[0, 0, 10, 4:-4]
    expected = (torch.arange(len(found), dtype=torch.float64) + 4.5) / factor - 0.5
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)  # the kernel bends straight lines a little
