"""Batches for the training loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from seedbed.engine.sampler import Item, StepSampler
from seedbed.errors import UserError

Batch = dict[str, Tensor]


class EpochDataset(Protocol):
    """A data set whose items are functions of (epoch, index), with 0 <= index < len: no other randomness."""

    def __len__(self) -> int: ...

    def __getitem__(self, item: Item, /) -> Batch: ...


class _Carrier(Dataset[Batch | UserError]):
    """Hands a UserError on as an item: raised in a worker process, it would arrive as a traceback in words."""

    def __init__(self, dataset: EpochDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, item: Item) -> Batch | UserError:
        try:
            return self.dataset[item]
        except UserError as error:
            return error


def _collate(items: list[Batch | UserError]) -> Batch | UserError:
    """Stack the items of a batch, or return the first error among them."""
    for item in items:
        if isinstance(item, UserError):
            return item
    batch: Batch = default_collate(items)
    return batch


def batches(
    dataset: EpochDataset,
    sampler: StepSampler,
    *,
    workers: int,
    device: torch.device,
    memory_format: torch.memory_format,
) -> Iterator[Batch]:
    """Start the `workers` and return the batches of `sampler` on `device`, [N,C,H,W] floats in `memory_format`.

    The workers live as long as the iterator. It raises the UserError that the data set raised, at the step that needs
    the item, and a UserError when a worker dies.
    """
    loader = DataLoader(
        _Carrier(dataset),
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=device.type == "cuda",
    )
    return _placed(iter(loader), device, memory_format)


def _placed(
    stream: Iterator[Batch | UserError], device: torch.device, memory_format: torch.memory_format
) -> Iterator[Batch]:
    try:
        for batch in stream:
            if isinstance(batch, UserError):
                raise batch
            yield {name: _place(tensor, device, memory_format) for name, tensor in batch.items()}
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise UserError(
            f"a data loader process died: {error}", "set workers: 0 in params.yaml, or give it more (shared) memory"
        ) from error


def _place(tensor: Tensor, device: torch.device, memory_format: torch.memory_format) -> Tensor:
    if tensor.ndim == 4 and tensor.is_floating_point():
        return tensor.to(device, non_blocking=True, memory_format=memory_format)
    return tensor.to(device, non_blocking=True)
