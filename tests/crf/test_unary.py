"""Unary energies: arrays and tensors of them are the same."""

import numpy as np
import pytest
import torch
from pydensecrf import utils as published

from seedbed.crf.unary import GivenUnary, LabelUnary, Problem, ScoreUnary, label_ids
from seedbed.errors import UserError

IDS = np.uint8([0, 7, 12])
LABELS = np.uint8([[0, 7, 12, 255], [255, 12, 7, 7]])
SCORES = np.random.default_rng(0).dirichlet([0.1] * 3, (2, 4)).transpose(2, 0, 1).astype(np.float32)
UNARY = {
    "labels": LabelUnary(LABELS, IDS, 0.7),
    "scores": ScoreUnary(SCORES, 1e-5),
    "given": GivenUnary(SCORES[:, ::-1]),
}


@pytest.mark.parametrize("unary", UNARY.values(), ids=UNARY)
def test_the_tensor_is_the_array(unary):
    energies = unary.energies()
    assert energies.shape == unary.shape == (3, 2, 4)
    assert energies.dtype == np.float32
    tensor = unary.tensor(torch.device("cpu"))
    np.testing.assert_allclose(tensor.numpy().T.reshape(3, 2, 4), energies, rtol=1e-6)


def test_energies_are_those_of_pydensecrfs_helpers():
    numbered = np.searchsorted(IDS, LABELS) + 1
    numbered[LABELS == 255] = 0
    expected = published.unary_from_labels(numbered, 3, 0.7).reshape(3, 2, 4)
    np.testing.assert_array_equal(UNARY["labels"].energies(), expected)
    expected = published.unary_from_softmax(SCORES, clip=1e-5).reshape(3, 2, 4)
    np.testing.assert_allclose(UNARY["scores"].energies(), expected, rtol=1e-6)


def test_read_only_labels_make_a_tensor_without_a_warning():
    labels = LABELS.copy()
    labels.flags.writeable = False
    assert LabelUnary(labels, IDS, 0.7).tensor(torch.device("cpu")).shape == (8, 3)


def test_candidates_become_ascending_ids():
    assert label_ids(LABELS, [12, 0, 7, 7]).tolist() == [0, 7, 12]
    with pytest.raises(ValueError, match=r"ids \[7, 12\] that are not among the candidates \[0, 9\]"):
        label_ids(LABELS, [9, 0])


def test_a_problem_must_fit():
    image = np.zeros((2, 4, 3), np.uint8)
    assert Problem(image, UNARY["given"]).key is None
    for wrong in (image[:1], image[..., 0], image.astype(float), image[..., :2]):
        with pytest.raises(UserError, match="does not fit labels of height 2 and width 4"):
            Problem(wrong, UNARY["given"])
