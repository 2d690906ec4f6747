import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydensecrf import densecrf
from pydensecrf import utils as published

from seedbed.crf.dense import infer, label_many, mean_field, refine, refine_many
from seedbed.errors import UserError
from seedbed.params import CrfParams

PARAMS = CrfParams(iterations=5)
BACKENDS = ("pydensecrf", "torch")
TOLERANCE = 1e-4
IDS = [0, 7, 12]


@pytest.fixture(scope="module")
def probabilities():
    return np.random.default_rng(1).dirichlet([0.3] * 4, size=(40, 50)).transpose(2, 0, 1).astype(np.float32)


def direct(image, energies, params):
    """Mean field by pydensecrf, called as its documentation shows."""
    height, width = image.shape[:2]
    crf = densecrf.DenseCRF2D(width, height, len(energies))
    crf.setUnaryEnergy(np.ascontiguousarray(energies.reshape(len(energies), -1)))
    crf.addPairwiseGaussian(sxy=params.gaussian_xy, compat=params.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=params.bilateral_xy, srgb=params.bilateral_rgb, rgbim=image, compat=params.bilateral_weight
    )
    return np.array(crf.inference(params.iterations)).reshape(-1, height, width)


SETTINGS = [
    CrfParams(),
    CrfParams(confidence=0.9, iterations=1, gaussian_xy=1, bilateral_xy=67, bilateral_rgb=3, bilateral_weight=4),
    CrfParams(confidence=0.55, iterations=3, gaussian_weight=0, bilateral_xy=10, bilateral_rgb=30),
]


@pytest.mark.parametrize("params", SETTINGS)
@pytest.mark.parametrize("candidates", [[0, 7], IDS, range(21)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_refine_agrees_with_pydensecrf_called_directly(image, labels, candidates, params, backend):
    numbered = np.zeros(labels.shape, int)  # 0 = unsure, then the classes from 1 on, as unary_from_labels reads them
    for number, label in enumerate(candidates, start=1):
        numbered[labels == label] = number
    energies = published.unary_from_labels(numbered, len(candidates), params.confidence)
    expected = np.array(candidates)[direct(image, energies, params).argmax(axis=0)]
    np.testing.assert_array_equal(refine(image, labels, candidates, params, backend), expected)


@pytest.mark.parametrize("params", SETTINGS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_infer_agrees_with_pydensecrf_called_directly(image, probabilities, params, backend):
    refined = infer(image, probabilities, params, backend)
    assert refined.dtype == np.float32
    assert refined.flags.c_contiguous
    expected = direct(image, published.unary_from_softmax(probabilities), params)
    np.testing.assert_allclose(refined, expected, atol=0 if backend == "pydensecrf" else TOLERANCE)
    np.testing.assert_allclose(refined.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_mean_field_takes_any_energies(image, probabilities, backend):
    params = CrfParams(gaussian_xy=3 / 12, bilateral_xy=80 / 12)  # SGAN trains so: minus the probability is the energy
    found = mean_field(image, -probabilities, params, backend)
    np.testing.assert_allclose(found, direct(image, -probabilities, params), atol=TOLERANCE)
    np.testing.assert_array_equal(mean_field(image, -probabilities[:1], params, backend), np.ones((1, 40, 50)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_permuted_labels_give_the_permuted_result(image, probabilities, backend):
    order = [2, 0, 3, 1]
    found = infer(image, probabilities[order], PARAMS, backend)
    np.testing.assert_allclose(found, infer(image, probabilities, PARAMS, backend)[order], atol=1e-5)


def test_labels_move_to_the_edge_of_the_object_and_fill_what_was_ignored(image, labels):
    truth = np.zeros_like(labels)
    truth[10:30, 10:30] = 7
    np.testing.assert_array_equal(refine(image, labels, [0, 7], CrfParams()), truth)


small_images = hnp.arrays(np.uint8, (6, 7, 3))
small_labels = hnp.arrays(np.uint8, (6, 7), elements=st.sampled_from([*IDS, 255]))


@given(small_images, small_labels, st.permutations(IDS))
@settings(max_examples=30)
def test_the_order_of_the_candidates_does_not_matter(image, labels, candidates):
    np.testing.assert_array_equal(
        refine(image, labels, candidates, PARAMS), refine(image, labels, IDS, PARAMS), strict=True
    )


@given(small_images, small_labels)
@settings(max_examples=30)
def test_only_the_order_of_ids_matters_not_their_values(image, labels):
    other = np.arange(256, dtype=np.uint8)
    other[IDS] = [3, 5, 80]
    expected = other[refine(image, labels, IDS, PARAMS)]
    np.testing.assert_array_equal(refine(image, other[labels], [3, 5, 80], PARAMS), expected)


@given(small_images, small_labels)
@settings(max_examples=30)
def test_without_pairwise_weight_labels_stay(image, labels):
    free = CrfParams(gaussian_weight=0, bilateral_weight=0)
    np.testing.assert_array_equal(refine(image, labels, IDS, free), np.where(labels == 255, 0, labels))


@given(small_images, small_labels)
@settings(max_examples=30)
def test_every_pixel_gets_a_candidate(image, labels):
    assert set(np.unique(refine(image, labels, IDS, PARAMS))) <= set(IDS)


@pytest.mark.parametrize("label", [0, 7])
def test_one_class_comes_back_unchanged(image, label):
    labels = np.full((40, 50), label, np.uint8)
    labels[3:6] = 255
    np.testing.assert_array_equal(refine(image, labels, [label], PARAMS), labels)
    certain = np.ones((1, 40, 50), np.float32)
    np.testing.assert_array_equal(infer(image, certain, PARAMS), certain)


def test_memory_layout_does_not_matter_and_inputs_stay(image, labels):
    expected = refine(image, labels, [0, 7], PARAMS)
    frozen = image.copy(), labels.copy()
    for array in frozen:
        array.flags.writeable = False
    np.testing.assert_array_equal(refine(*frozen, [0, 7], PARAMS), expected)
    np.testing.assert_array_equal(refine(np.asfortranarray(image), np.asfortranarray(labels), [0, 7], PARAMS), expected)
    view = np.repeat(image, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(refine(view, labels, [0, 7], PARAMS), expected)


def test_a_label_outside_the_candidates_is_refused(image, labels):
    with pytest.raises(ValueError, match=r"ids \[7\] that are not among the candidates \[0, 3\]"):
        refine(image, labels, [0, 3], PARAMS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_image_that_does_not_fit_is_a_clear_error(image, labels, probabilities, backend):
    with pytest.raises(UserError, match="does not fit labels of height 40"):
        refine(image[1:], labels, [0, 7], PARAMS, backend)
    with pytest.raises(UserError, match="does not fit"):
        infer(image.astype(np.float32), probabilities, PARAMS, backend)
    with pytest.raises(UserError, match="does not fit"):
        list(label_many([(image[..., 0], probabilities)], PARAMS, 1, backend))


def test_an_unknown_backend_is_a_clear_error(image, labels):
    with pytest.raises(UserError, match="did you mean 'pydensecrf'"):
        refine(image, labels, [0, 7], PARAMS, "pydensecf")


def test_cuda_that_is_not_there_is_a_clear_error(image, labels, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds no GPU"):
        refine_many([(image, labels, [0, 7])], PARAMS, device=torch.device("cuda"))
    assert refine(image, labels, [0, 7], PARAMS, "pydensecrf", torch.device("cuda")).shape == labels.shape


def test_kernels_too_narrow_for_the_lattice_are_a_clear_error(image, labels):
    with pytest.raises(UserError, match="too narrow for 50 x 40 pixels"):
        refine(image, labels, [0, 7], CrfParams(bilateral_rgb=0.001))


def varied(image, labels, count):
    """Items that each refine to something else: the image and its labels rolled by another number of columns."""
    for shift in range(count):
        yield np.roll(image, shift, axis=1), np.roll(labels, shift, axis=1), [0, 7] if shift % 3 else IDS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("jobs", [1, 2])
def test_many_come_back_in_order_and_equal_to_one_by_one(image, labels, jobs, backend):
    expected = [refine(*item, PARAMS, backend) for item in varied(image, labels, 20)]
    actual = list(refine_many(varied(image, labels, 20), PARAMS, jobs, backend))
    assert len(actual) == 20
    for mask, reference in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(mask, reference, strict=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_endless_source_is_read_only_a_little_ahead(image, labels, jobs, backend):
    read = itertools.count()
    masks = refine_many(((image, labels, [0, 7 + 0 * next(read)]) for _ in itertools.count()), PARAMS, jobs, backend)
    for _ in range(5):
        next(masks)
    masks.close()
    assert next(read) <= 5 + 4 * jobs


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("jobs", [1, 2])
def test_failures_of_the_source_and_of_an_image_are_raised(image, labels, jobs, backend):
    def broken():
        yield image, labels, [0, 7]
        raise UserError("truncated JPEG")

    with pytest.raises(UserError, match="truncated JPEG"):
        list(refine_many(broken(), PARAMS, jobs, backend))
    with pytest.raises(ValueError, match="not among the candidates"):
        list(refine_many([(image, labels, [0, 7]), (image, labels, [0, 3])], PARAMS, jobs, backend))


def test_label_many_gives_the_strongest_class(image, probabilities):
    expected = [infer(image, scores, PARAMS).argmax(axis=0) for scores in (probabilities, probabilities[:2])]
    found = list(label_many([(image, probabilities), (image, probabilities[:2]), (image, probabilities[:1])], PARAMS))
    assert [mask.dtype for mask in found] == [np.uint8] * 3
    np.testing.assert_array_equal(found[:2], expected)
    assert not found[2].any()


def test_no_images_give_no_masks():
    for backend in BACKENDS:
        assert list(refine_many([], PARAMS, 2, backend)) == []
