from __future__ import annotations

import os
import signal

import pytest
import torch

from seedbed.engine.loader import Batch, batches
from seedbed.engine.sampler import Item, StepSampler
from seedbed.errors import UserError
from seedbed.params import TrainParams

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with a single core


class Images:
    """Eight images; `bad` is what happens at index 5."""

    def __init__(self, bad: str = "") -> None:
        self.bad = bad

    def __len__(self) -> int:
        return 8

    def __getitem__(self, item: Item) -> Batch:
        epoch, index = item
        if index == 5 and self.bad == "raise":
            raise UserError("image 5.jpg is truncated", "seedbed data check")
        if index == 5 and self.bad == "bug":
            raise ValueError("not a user's fault")
        if index == 5 and self.bad == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return {
            "image": torch.full((3, 2, 2), float(index)),
            "index": torch.tensor(index),
            "epoch": torch.tensor(epoch),
        }


def stream(dataset: Images, workers: int, memory_format: torch.memory_format = torch.channels_last):
    sampler = StepSampler(len(dataset), TrainParams(steps=4, batch=4), seed=0)
    return batches(dataset, sampler, workers=workers, device=torch.device("cpu"), memory_format=memory_format)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_sampler(workers):
    sampler = StepSampler(8, TrainParams(steps=4, batch=4), seed=0)
    seen = list(stream(Images(), workers))
    assert [list(zip(b["epoch"].tolist(), b["index"].tolist(), strict=True)) for b in seen] == list(sampler)
    assert all(batch["image"].is_contiguous(memory_format=torch.channels_last) for batch in seen)
    assert all(torch.equal(batch["image"][:, 0, 0, 0], batch["index"].float()) for batch in seen)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_user_error_arrives_whole_at_the_step_that_meets_it(workers):
    steps = [5 in [index for _, index in items] for items in StepSampler(8, TrainParams(steps=4, batch=4), seed=0)]
    received = stream(Images("raise"), workers)
    for _ in range(steps.index(True)):
        next(received)
    with pytest.raises(UserError) as caught:
        next(received)
    assert (caught.value.message, caught.value.fix) == ("image 5.jpg is truncated", "seedbed data check")


@pytest.mark.parametrize("workers", [0, 2])
def test_other_errors_stay_what_they_are(workers):
    with pytest.raises(ValueError, match="not a user's fault"):
        list(stream(Images("bug"), workers))


def test_a_worker_that_dies_is_a_user_error():
    with pytest.raises(UserError, match="a data loader process died") as caught:
        list(stream(Images("die"), 2))
    assert "workers: 0" in str(caught.value.fix)
