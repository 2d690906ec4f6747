"""Which images make up a step: a function of seed and step alone, so that a resumed run meets the same batches."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

from seedbed.engine.seeding import rng
from seedbed.errors import UserError
from seedbed.params import TrainParams

Item = tuple[int, int]
"""Epoch and index of an image in the data set."""


class StepSampler(Sampler[list[Item]]):
    """Batches of items for the steps `start` to `params.steps` - 1 of one process.

    Every epoch is a fresh shuffle of the `length` images. Its last incomplete batch is dropped or, with
    `params.keep_last`, a step of its own. With `world` processes a step takes `world * params.batch` images, and
    process `rank` the rank-th slice of them: two processes with batch 4 see together what one sees with batch 8.
    Raises UserError when the images do not fill one step, and for `keep_last` with several processes.
    """

    def __init__(
        self, length: int, params: TrainParams, *, seed: int, start: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.length, self.batch, self.seed, self.rank, self.world = length, params.batch, seed, rank, world
        self.steps = range(start, params.steps)
        if params.keep_last and world > 1:
            raise UserError(
                f"keep_last needs a single process, not {world}: an incomplete batch does not share out evenly",
                "set keep_last: false in the train block of params.yaml, or train in one process",
            )
        full, rest = divmod(length, params.batch * world)
        self.steps_per_epoch = full + (params.keep_last and rest > 0)
        if self.steps_per_epoch == 0:
            raise UserError(
                f"{length} training images do not fill one step of {params.batch * world}",
                f"set train.batch to at most {max(length // world, 1)} in params.yaml, or add images",
            )
        self._epoch = -1
        self._order: list[int] = []

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[Item]]:
        return map(self.at, self.steps)

    def at(self, step: int) -> list[Item]:
        """Return the items of `step`."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, rng(self.seed, "order", epoch).permutation(self.length).tolist()
        first = (position * self.world + self.rank) * self.batch
        return [(epoch, index) for index in self._order[first : first + self.batch]]
