"""What every stage starts from: checked parameters, paths, data, device, and its MLflow run."""

from __future__ import annotations

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
from seedbed.nn.backbones import resolve_backbone
from seedbed.nn.deeplab import HEADS
from seedbed.params import FusionParams, LocaliserParams, Params, load_params
from seedbed.paths import Paths
from seedbed.saliency import get_source
from seedbed.seeds.fusion import find_rule, resolve_values
from seedbed.stages.fingerprint import fingerprint, listing
from seedbed.tracking.environment import data_hash
from seedbed.tracking.run import Run, start_run


def _check_names(params: Params) -> None:
    """Raise UserError for any name that its registry does not know, before hours of work are spent on the others."""
    get_source(params.saliency.source)
    if params.segmenter.head not in HEADS:
        raise unknown_name("segmenter head", params.segmenter.head, HEADS)
    for rule in params.study.rules:
        find_rule(rule)
    for name in params.methods:
        localiser, fusion = params.localiser[name], params.fusion[name]
        get_method(name).check_options(dict(localiser.options))
        resolve_backbone(localiser.backbone)
        find_rule(fusion.rule)
        resolve_values(fusion.rule, fusion.values)
        if fusion.values and fusion.choose != "given":
            raise UserError(
                f"fusion.{name}.values are given, but fusion.{name}.choose is {fusion.choose}",
                f"set fusion.{name}.choose: given, or remove the values, in params.yaml",
            )
        if fusion.rule not in params.study.rules:
            raise UserError(
                f"rule {fusion.rule} of fusion.{name} is not among study.rules", f"add {fusion.rule} to study.rules"
            )
    for backbone in (params.saliency.backbone, params.segmenter.backbone):
        resolve_backbone(backbone)


@dataclass(frozen=True)
class Context:
    """Parameters and paths of one experiment; names in the parameters are known to their registries."""

    params: Params
    paths: Paths

    @classmethod
    def load(cls, params_file: Path, root: Path = Path()) -> Context:
        """Read and check the parameters. Raises UserError on anything unknown or out of range."""
        params = load_params(params_file)
        _check_names(params)
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
        """Return a hash of all that a result depends on: `parts` (blocks, files, folders, texts), data and code."""
        data = data_hash(self.paths.root) or listing(self.paths.data)
        return fingerprint(*parts, self.params.data, data)

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
