"""Registry of saliency sources: where the saliency maps come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from seedbed.errors import UserError, unknown_name
from seedbed.params import SaliencyParams
from seedbed.saliency.folder import FolderSource
from seedbed.saliency.fpn import FpnSource


class MapSource(Protocol):
    """Anything that yields (id, uint8 [H,W]) for images given as id -> file."""

    def maps(self, paths: Mapping[str, Path]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the saliency map of every image, in any order."""


@dataclass(frozen=True)
class Source:
    """An entry of the registry. `trained`: the source has a network that the stage train-saliency makes.

    `open(params, data, model, device)` returns the maps' reader; `data` and `model` are folders.
    """

    name: str
    summary: str
    trained: bool
    open: Callable[[SaliencyParams, Path, Path, torch.device], MapSource]


def _open_folder(params: SaliencyParams, data: Path, model: Path, device: torch.device) -> MapSource:
    if params.folder is None:
        raise UserError(
            "saliency.source is folder but saliency.folder is not set", "set saliency.folder in params.yaml"
        )
    return FolderSource(data / params.folder)


def _open_fpn(params: SaliencyParams, data: Path, model: Path, device: torch.device) -> MapSource:
    return FpnSource(params, model, device)


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source("fpn", "feature pyramid network trained here on saliency_train", True, _open_fpn),
        Source("folder", "ready-made maps in a folder of data/", False, _open_folder),
    )
}


def get_source(name: str) -> Source:
    """Return the saliency source of that name. Raises UserError with the nearest known name."""
    if name not in SOURCES:
        raise unknown_name("saliency source", name, SOURCES)
    return SOURCES[name]
