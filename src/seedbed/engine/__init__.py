"""Training: one loop for every network, resumable and reproducible."""

from seedbed.engine.checkpoint import discard
from seedbed.engine.device import is_main_process, resolve_device
from seedbed.engine.loader import Batch
from seedbed.engine.loop import Task, TrainResult, train
from seedbed.engine.optim import parameter_groups
from seedbed.engine.seeding import rng, seed_modules, seed_torch
from seedbed.engine.watch import PriorWatch

__all__ = [
    "Batch",
    "PriorWatch",
    "Task",
    "TrainResult",
    "discard",
    "is_main_process",
    "parameter_groups",
    "resolve_device",
    "rng",
    "seed_modules",
    "seed_torch",
    "train",
]
