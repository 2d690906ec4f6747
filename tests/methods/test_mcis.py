from __future__ import annotations

import numpy as np
import pytest
import torch

from seedbed.errors import UserError
from seedbed.methods.mcis import COPIES, MCIS, McisOptions, losses, pair_labels, prior
from seedbed.nn.coattention import PairScores

BOTH = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
SHARED = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
ALWAYS = ["single", "common", *(f"{kind}_{copy}" for copy in COPIES for kind in ("single", "common"))]


@pytest.fixture
def scores() -> PairScores:
    generator = torch.Generator().manual_seed(0)
    shapes = {"single": (4, 4, 3), "common": (4, 4, 3), "difference": (4, 3)}
    return PairScores(
        **{name: torch.randn(shape, generator=generator).requires_grad_() for name, shape in shapes.items()}
    )


def total_of(terms, *more: str) -> torch.Tensor:
    return sum(terms[name] for name in (*ALWAYS, *more))


def test_labels_split_into_common_and_difference() -> None:
    targets = pair_labels(torch.tensor([[1.0, 1, 0]]), torch.tensor([[1.0, 0, 1]]))
    assert targets.single.tolist() == [[1, 1, 0], [1, 0, 1]]
    assert targets.common.tolist() == [[1, 0, 0]]
    assert targets.difference1.tolist() == [[0, 1, 0]]
    assert targets.difference2.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    ("label", "related", "epoch", "counted"),
    [
        (BOTH, SHARED, 1, []),
        (BOTH, SHARED, 2, ["difference1"]),
        (SHARED, BOTH, 2, ["difference2"]),
        (BOTH, BOTH, 9, []),
        (torch.eye(3)[:2], torch.eye(3)[1:], 3, ["difference1", "difference2"]),
    ],
)
def test_difference_terms_count_late_and_where_the_batch_has_some(scores, label, related, epoch, counted) -> None:
    terms = losses(scores, label, related, torch.tensor([epoch, epoch]), McisOptions())
    torch.testing.assert_close(terms["total"], total_of(terms, *counted))
    terms["total"].backward()
    first, second = scores.difference.grad.chunk(2)
    assert [name for name, grad in (("difference1", first), ("difference2", second)) if grad.any()] == counted


def test_rows_without_difference_are_told_to_be_silent(scores) -> None:
    losses(scores, BOTH, SHARED, torch.tensor(2), McisOptions())["total"].backward()
    assert (scores.difference.grad[1] > 0).all()


def test_the_epoch_of_the_first_difference_term_is_an_option(scores) -> None:
    terms = losses(scores, BOTH, SHARED, torch.tensor(0), McisOptions(difference_from=0))
    torch.testing.assert_close(terms["total"], total_of(terms, "difference1"))


def test_left_out_terms_cannot_spoil_the_total(scores) -> None:
    broken = PairScores(scores.single, scores.common, torch.full((4, 3), torch.inf))
    terms = losses(broken, BOTH, BOTH, torch.tensor(5), McisOptions())
    assert torch.isfinite(terms["total"])


def test_the_network_sees_every_copy(small, random_batch) -> None:
    torch.manual_seed(0)
    params = small.model_copy(update={"batchnorm": "frozen", "options": {"width": 16}})
    network = MCIS.network(params, num_classes=3)
    assert network.coattention.extra_gate.weight.shape == (3, 16, 1, 1)
    loss, batch = MCIS.training_loss(params), random_batch(MCIS)
    before = loss(network, batch)
    for copy in COPIES:
        changed = loss(network, {**batch, copy: torch.flip(batch[copy], [2])})
        differing = {name for name in before if not torch.allclose(changed[name], before[name], rtol=0, atol=1e-7)}
        assert differing == {"total", f"single_{copy}", f"common_{copy}"}


def test_dropout_is_refused(small) -> None:
    with pytest.raises(UserError, match=r"localiser.mcis.dropout: mcis has no dropout, not 0.5"):
        MCIS.network(small.model_copy(update={"dropout": 0.5}), 3)


def test_prior_knows_that_common_classes_are_rarer() -> None:
    rng = np.random.default_rng(0)
    labels = np.eye(20, dtype=np.float32)[rng.integers(20, size=400)]
    assert prior(labels)["common"] == pytest.approx(prior(labels)["single"], rel=0.02)  # one class each: all is common
    labels = np.maximum(labels, np.eye(20, dtype=np.float32)[rng.integers(20, size=400)])
    levels = prior(labels)
    assert list(levels) == ALWAYS
    assert levels["common"] < 0.85 * levels["single"]
    assert {levels[name] for name in ALWAYS if name != "common"} == {levels["single"]}


def test_images_without_class_make_no_pairs() -> None:
    labels = np.array([[1, 0], [0, 0], [0, 0]], np.float32)
    assert prior(labels)["common"] == pytest.approx(0, abs=1e-9)


def test_maps_pass_as_they_are() -> None:
    maps = torch.tensor([-1.0, 2])
    assert MCIS.class_maps(maps) is maps
