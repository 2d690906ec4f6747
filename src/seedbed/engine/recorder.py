"""What a training leaves behind while it runs: the loss curve and the checkpoints."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from seedbed.engine import checkpoint
from seedbed.engine.checkpoint import Identity, Point, State
from seedbed.errors import UserError
from seedbed.files import write_text
from seedbed.params import TrainParams

Log = Callable[[int, dict[str, float]], None]
"""Receives every point of the curve: the steps done, and lr and losses by name."""


@dataclass
class Recorder:
    """Keeps the curve and the checkpoints of one training; files and log lines come from the main process alone.

    A point of the curve is the mean of each loss over the steps since the point before, and over the processes. The
    losses of single steps stay on the device until a point or a checkpoint is due: a GPU need not wait at every step.
    """

    accelerator: Accelerator
    params: TrainParams
    network: nn.Module
    optimizer: torch.optim.Optimizer
    folder: Path
    identity: Identity
    log: Log
    curves: Path | None
    state: State = field(default_factory=State)
    _names: list[str] = field(default_factory=list)
    _pending: list[Tensor] = field(default_factory=list)

    def resume(self) -> int:
        """Continue from the checkpoint of this training, if any: log the curve so far again, return the steps done."""
        self.state = checkpoint.load(self.folder, self.identity, self.network, self.optimizer) or State()
        for point in self.state.curve:
            self._log(point)
        self._write_curve()
        return self.state.step

    def record(self, losses: dict[str, Tensor], lr: float) -> None:
        """Take the losses of one more step, done at the rate `lr`; make the point and the checkpoint that are due.

        Raises UserError naming step and losses where they are not finite; no checkpoint is made of such a step.
        """
        self.state.step += 1
        self._names = sorted(losses)
        self._pending.append(torch.stack([losses[name].detach().float() for name in self._names]))
        last = self.state.step == self.params.steps
        if last or self.state.step % self.params.log_every == 0:
            self._add_point(lr)
        if last or self.state.step % self.params.checkpoint_every == 0:
            self._fetch()
            if self.accelerator.is_main_process:
                checkpoint.save(self.folder, self.identity, self.state, self.network, self.optimizer)

    def latest(self) -> dict[str, float]:
        """Return the losses of the last point; none before the first."""
        point = self.state.curve[-1] if self.state.curve else {}
        return {name: value for name, value in point.items() if name not in ("step", "lr")}

    def note(self) -> str:
        """Return the latest losses in a few words."""
        return " ".join(f"{name} {value:.4f}" for name, value in self.latest().items())

    def _fetch(self) -> None:
        """Move the losses of the last steps into the state."""
        if not self._pending:
            return
        rows: Tensor = self.accelerator.reduce(torch.stack(self._pending), reduction="mean")
        first = self.state.step - len(self._pending) + 1
        self._pending.clear()
        for step, row in enumerate(rows.tolist(), first):
            if not all(map(math.isfinite, row)):
                values = ", ".join(f"{name} {value}" for name, value in zip(self._names, row, strict=True))
                raise UserError(
                    f"the loss is not finite at step {step}: {values} (the checkpoint before it is kept)",
                    "lower train.lr, set train.clip_norm or take precision: fp32 in params.yaml",
                )
            self.state.window.append(row)

    def _add_point(self, lr: float) -> None:
        self._fetch()
        means = [math.fsum(column) / len(column) for column in zip(*self.state.window, strict=True)]
        point: Point = {"step": self.state.step, "lr": lr, **dict(zip(self._names, means, strict=True))}
        self.state.curve.append(point)
        self.state.window = []
        self._log(point)
        self._write_curve()

    def _log(self, point: Point) -> None:
        if self.accelerator.is_main_process:
            self.log(int(point["step"]), {name: value for name, value in point.items() if name != "step"})

    def _write_curve(self) -> None:
        if self.curves is not None and self.state.curve and self.accelerator.is_main_process:
            text = io.StringIO()
            table = csv.DictWriter(text, ["step", "lr", *sorted(self.latest())], lineterminator="\n")
            table.writeheader()
            table.writerows(self.state.curve)
            write_text(self.curves, text.getvalue())
