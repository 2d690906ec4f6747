"""Refining the same images again and again."""

import itertools

import numpy as np
import pytest
import torch

from seedbed.crf.dense import infer, refine
from seedbed.crf.refiner import Refiner
from seedbed.errors import UserError
from seedbed.params import CrfParams

TRIALS = [
    CrfParams(iterations=3),
    CrfParams(iterations=2, bilateral_rgb=5, gaussian_weight=1),
    CrfParams(iterations=3),
    CrfParams(iterations=1, gaussian_xy=1, confidence=0.9),
]


@pytest.fixture
def images(image):
    return [np.roll(image, shift, axis=1) for shift in range(5)] + [image[:30]]


@pytest.fixture
def masks(labels):
    return [np.roll(labels, shift, axis=1) for shift in range(5)] + [labels[:30]]


CANDIDATES = [[0, 7], [0, 7, 9], [7, 0], [0, 7], [0, 3, 7], [0, 7]]


@pytest.mark.parametrize("backend", ["auto", "pydensecrf", "torch"])
@pytest.mark.parametrize("jobs", [1, 3])
def test_every_trial_is_refine_of_each_image(images, masks, backend, jobs):
    refiner = Refiner(images, backend, jobs)
    order = [5, 0, 3, 3, 1]
    for params in TRIALS:
        found = refiner.refine(order, [masks[i] for i in order], [CANDIDATES[i] for i in order], params)
        for i, mask in zip(order, found, strict=True):
            np.testing.assert_array_equal(mask, refine(images[i], masks[i], CANDIDATES[i], params, backend))


@pytest.mark.parametrize("jobs", [1, 3])
def test_infer(images, jobs):
    rng = np.random.default_rng(0)
    scores = [rng.dirichlet([1] * 4, image.shape[:2]).transpose(2, 0, 1).astype(np.float32) for image in images]
    refiner = Refiner(images, "torch", jobs)
    for params in TRIALS:
        for i, found in enumerate(refiner.infer(range(len(images)), scores, params)):
            np.testing.assert_array_equal(found, infer(images[i], scores[i], params))


def test_a_cache_too_small_changes_nothing(images, masks):
    free, without = Refiner(images, jobs=2), Refiner(images, jobs=2, cache_bytes=0)
    for params in TRIALS:
        both = (one.refine(range(6), masks, CANDIDATES, params) for one in (free, without))
        np.testing.assert_equal(*map(list, both))


def test_closing_early_leaves_the_rest_alone(images, masks):
    read = itertools.count()
    labels = (masks[0 * next(read)] for _ in itertools.count())
    refined = Refiner(images, jobs=2).refine(itertools.repeat(0), labels, itertools.repeat([0, 7]), TRIALS[0])
    next(refined)
    refined.close()
    assert next(read) <= 9


def test_lists_of_unequal_length_are_refused(images, masks):
    with pytest.raises(ValueError, match="zip"):
        list(Refiner(images, jobs=1).refine([0, 1], masks[:1], CANDIDATES, TRIALS[0]))


def test_what_is_not_there_is_a_clear_error(images, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="unknown CRF backend 'cuda'"):
        Refiner(images, "cuda")
    with pytest.raises(UserError, match="torch finds no GPU"):
        Refiner(images, device=torch.device("cuda"))
