"""What every stage starts from: checked parameters, paths, data, device, and its MLflow run."""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from seedbed.data.voc import VocData
from seedbed.engine.device import resolve_device
from seedbed.errors import UserError, unknown_name
from seedbed.methods import Method, get_method
from seedbed.nn.deeplab import HEADS
from seedbed.params import FusionParams, LocaliserParams, Params, load_params
from seedbed.paths import Paths
from seedbed.saliency import get_source
from seedbed.seeds.fusion import find_rule
from seedbed.tracking.environment import data_hash
from seedbed.tracking.run import Run, start_run


@dataclass(frozen=True)
class Context:
    """Parameters and paths of one experiment; names in the parameters are known to their registries."""

    params: Params
    paths: Paths

    @classmethod
    def load(cls, params_file: Path, root: Path = Path()) -> Context:
        """Read and check the parameters. Raises UserError on anything unknown or out of range."""
        params = load_params(params_file)
        get_source(params.saliency.source)
        if params.segmenter.head not in HEADS:
            raise unknown_name("segmenter head", params.segmenter.head, HEADS)
        for rule in params.study.rules:
            find_rule(rule)
        for name in params.methods:
            get_method(name).check_options(dict(params.localiser[name].options))
            find_rule(params.fusion[name].rule)
        return cls(params, Paths(root))

    @cached_property
    def voc(self) -> VocData:
        """The images, masks and image labels."""
        return VocData(self.paths.data, self.params.data)

    @cached_property
    def device(self) -> torch.device:
        """The device asked for. Raises UserError when CUDA is asked for but absent."""
        return resolve_device(self.params.device)

    @property
    def num_ids(self) -> int:
        """Number of mask ids: the object classes and background."""
        return self.voc.num_classes + 1

    def method(self, name: str) -> tuple[Method, LocaliserParams, FusionParams]:
        """Return a method of `params.methods` and its blocks. Raises UserError when it is not among them."""
        method = get_method(name)
        if name not in self.params.localiser or name not in self.params.fusion:
            raise UserError(
                f"method '{name}' has no blocks localiser.{name} and fusion.{name}",
                "copy them from a file in profiles/ into params.yaml",
            )
        return method, self.params.localiser[name], self.params.fusion[name]

    def fingerprint(self, *parts: BaseModel | Path | str | None) -> str:
        """Return a hash of all that a result depends on: parameter blocks, files and folders, and the data."""
        described = [_describe(part) for part in (*parts, self.params.data)]
        described.append(data_hash(self.paths.root) or "untracked data")
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def run(self, stage: str, method: str | None = None, **blocks: BaseModel | Any) -> AbstractContextManager[Run]:
        """Start the MLflow run of `stage`; `blocks` are the parameter blocks that it depends on, by name."""
        params = {name: block.model_dump() if isinstance(block, BaseModel) else block for name, block in blocks.items()}
        tags = {"data": self.params.data.name, "saliency source": self.params.saliency.source}
        return start_run(
            stage,
            method=method,
            params={"seed": self.params.seed, **params},
            tags=tags,
            root=self.paths.root,
            record=self.paths.record(stage, method),
        )

    def log_dataset(self, run: Run) -> None:
        """Log the data set as input of `run`."""
        digest = data_hash(self.paths.root) or "untracked"
        run.dataset(self.params.data.name, digest, str(self.paths.data))


def _describe(part: BaseModel | Path | str | None) -> Any:
    if isinstance(part, BaseModel):
        return part.model_dump()
    if isinstance(part, Path):
        files = sorted(part.rglob("*")) if part.is_dir() else [part]
        return [(str(file.relative_to(part)), file.stat().st_size, _digest(file)) for file in files if file.is_file()]
    return part


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()
