"""The training loop of every network: reads top to bottom.

A result depends on the parameters, the data and the seed, and on nothing else: not on the number of loader workers, not
on whether and where the run was killed (on the CPU: bit for bit). So each source of randomness is a function of the
step: the batch (`StepSampler`), the augmentation of an item, of (seed, epoch, index), and torch's generators, which are
set before every step. A checkpoint holds weights, optimiser state and curve, and no generator.

Under `torchrun` or `accelerate launch` every process calls `train` with the same arguments. Each takes `params.batch`
images per step, gradients and losses are averaged over the processes, the learning rate is not scaled, batch statistics
are those of the process (process 0's running statistics are kept), and process 0 alone logs and writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from seedbed.engine.checkpoint import Identity, digest
from seedbed.engine.loader import Batch, EpochDataset, batches
from seedbed.engine.optim import build_optimizer
from seedbed.engine.recorder import Log, Recorder
from seedbed.engine.sampler import StepSampler
from seedbed.engine.schedule import Schedule
from seedbed.engine.seeding import seed_torch
from seedbed.params import Precision, TrainParams
from seedbed.progress import Meter


@dataclass
class Task:
    """What to train.

    `loss(network, batch)` returns scalars: `total`, which is minimised, and its parts. It must reach the network by
    calling it, `network(images)`: autocast and the exchange of gradients hang on that. `groups` come
    from `parameter_groups`.
    """

    network: nn.Module
    dataset: EpochDataset
    loss: Callable[[nn.Module, Batch], dict[str, Tensor]]
    groups: list[dict[str, Any]]


@dataclass(frozen=True)
class TrainResult:
    """Outcome of `train`: steps in all and before this run, time and speed of this run, the curve's last losses."""

    steps: int
    resumed_from: int
    seconds: float
    images_per_second: float
    losses: dict[str, float]


def train(
    task: Task,
    params: TrainParams,
    *,
    seed: int,
    device: torch.device,
    workers: int,
    checkpoint: Path,
    fingerprint: str,
    log: Log,
    curves: Path | None = None,
    progress: str = "train",
) -> TrainResult:
    """Train `task.network` in place for `params.steps` steps, continuing from `checkpoint` if it is of this training.

    That is: of the same `fingerprint` (of data and settings), parameters, seed, initial weights, number of images and
    of processes; else it starts anew. `log` gets (steps done, {lr, losses}) of every point of the curve, on resume of
    the earlier ones again; `curves` is their CSV. The checkpoint stays until the caller has put the weights elsewhere
    and calls `discard`. Raises UserError for a loss that is not finite, a full disk, and what the data set raises.
    """
    accelerator = _accelerator(device, params.precision)
    network, rank, world = task.network, accelerator.process_index, accelerator.num_processes
    identity = _identity(task, params, seed, fingerprint, world)
    layout = torch.channels_last if params.channels_last else torch.contiguous_format
    network.to(accelerator.device).to(memory_format=layout).train()
    optimizer = build_optimizer(task.groups, params)
    schedule = Schedule(optimizer, params)
    recorder = Recorder(accelerator, params, network, optimizer, checkpoint, identity, log, curves)
    start = recorder.resume()
    model = accelerator.prepare_model(network)
    sampler = StepSampler(len(task.dataset), params, seed=seed, start=start, rank=rank, world=world)
    stream = batches(task.dataset, sampler, workers=workers, device=accelerator.device, memory_format=layout)
    images = params.batch * world  # of one full step: with keep_last an epoch has one that is smaller
    with Meter(progress, params.steps * images, done=start * images, enabled=accelerator.is_main_process) as meter:
        for step, batch in enumerate(stream, start):
            lr = schedule.set(step)
            seed_torch(seed, "step", step, rank)  # dropout draws from it
            losses = task.loss(model, batch)
            optimizer.zero_grad()
            accelerator.backward(losses["total"])
            if params.clip_norm is not None:
                accelerator.clip_grad_norm_(network.parameters(), params.clip_norm)
            optimizer.step()
            recorder.record(losses, lr)
            meter.advance(images, recorder.note())

    accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    network.to(memory_format=torch.contiguous_format)
    return TrainResult(params.steps, start, meter.seconds, meter.rate, recorder.latest())


def _accelerator(device: torch.device, precision: Precision) -> Accelerator:
    """Return an Accelerator for `device`. Its state is global: that of an earlier training is dropped."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=device.type == "cpu", mixed_precision="bf16" if precision == "bf16" else "no")


def _identity(task: Task, params: TrainParams, seed: int, fingerprint: str, world: int) -> Identity:
    """Return all that the result depends on."""
    return {
        "fingerprint": fingerprint,
        "parameters": params.model_dump(),
        "seed": seed,
        "initial weights": digest(task.network),
        "images": len(task.dataset),
        "processes": world,
    }
