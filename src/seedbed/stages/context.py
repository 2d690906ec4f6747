"""What every stage starts from: checked parameters, paths, data, device, and its MLflow run."""

from __future__ import annotations

import re
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
from seedbed.methods import METHODS, AnyMethod, method_of
from seedbed.methods.imported import Import, ImportedMethod
from seedbed.nn.backbones import resolve_backbone
from seedbed.nn.deeplab import HEADS
from seedbed.params import FusionParams, LocaliserParams, Params, StudyParams, load_params
from seedbed.paths import Paths
from seedbed.saliency import get_source
from seedbed.seeds.fusion import find_rule, resolve_values
from seedbed.stages.fingerprint import fingerprint, listing
from seedbed.tracking.environment import data_hash
from seedbed.tracking.run import Run, start_run

NO_RULE = "none"
"""The fusion rule of imported pseudo-labels."""

_BLOCK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SEARCHES = re.compile(r"(fusion|crf|joint)-.*|.*-searches")  # record and journal of a search beside the pipeline


def _check_names(params: Params) -> None:
    """Raise UserError for any name that its registry does not know, before hours of work are spent on the others."""
    get_source(params.saliency.source)
    if params.segmenter.head not in HEADS:
        raise unknown_name("segmenter head", params.segmenter.head, HEADS)
    for rule in params.study.rules:
        find_rule(rule)
    for name in params.methods:
        localiser = params.localiser[name]
        method = method_of(name, localiser)
        _check_block(name, method)
        method.check_options(localiser.options, name)
        resolve_backbone(localiser.backbone)
        if isinstance(method, ImportedMethod) and method.content(localiser.options).kind == "pseudo":
            _check_no_fusion(name, params.fusion[name])
        else:
            _check_fusion(name, params.fusion[name], params.study)
    for backbone in (params.saliency.backbone, params.segmenter.backbone):
        resolve_backbone(backbone)


def _check_block(name: str, method: AnyMethod) -> None:
    """Raise UserError for a name of a block that would mislead, or that files and stages cannot be called by."""
    rename = f"give the block another name, in methods, localiser and fusion of params.yaml: {method.name}-2, say"
    if not _BLOCK.fullmatch(name) or _SEARCHES.fullmatch(name):
        raise UserError(
            f"a method cannot be called '{name}': letters, digits, - and _ make a name, and names of searches "
            "(fusion-..., crf-..., joint-..., ...-searches) are taken",
            rename,
        )
    if name in METHODS and name != method.name:
        raise UserError(f"localiser.{name}.method is {method.name}, but {name} is another method", rename)


def _check_no_fusion(name: str, fusion: FusionParams) -> None:
    """Raise UserError for fusion parameters that imported pseudo-labels would pass over.

    The block and its rule must be there all the same: DVC runs no stage one of whose parameters is missing.
    """
    if fusion.rule != NO_RULE:
        raise UserError(
            f"fusion.{name}.rule is {fusion.rule}, but the pseudo-labels of {name} are imported: no rule makes them",
            f"set fusion.{name}: {{rule: {NO_RULE}}} in params.yaml (crf: true works)",
        )
    if fusion.values:
        raise UserError(
            f"fusion.{name}.values are given, but the pseudo-labels of {name} are imported: no rule makes them",
            f"remove fusion.{name}.values from params.yaml (crf: true works)",
        )


def _check_fusion(name: str, fusion: FusionParams, study: StudyParams) -> None:
    find_rule(fusion.rule)
    resolve_values(fusion.rule, fusion.values)
    if fusion.values and fusion.choose != "given":
        raise UserError(
            f"fusion.{name}.values are given, but fusion.{name}.choose is {fusion.choose}",
            f"set fusion.{name}.choose: given, or remove the values, in params.yaml",
        )
    if fusion.rule not in study.rules:
        raise UserError(
            f"rule {fusion.rule} of fusion.{name} is not among study.rules", f"add {fusion.rule} to study.rules"
        )


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

    def method(self, name: str) -> tuple[AnyMethod, LocaliserParams, FusionParams]:
        """Return the method of the blocks called `name`, and the blocks. Raises UserError when there are none."""
        localiser, fusion = self.params.localiser.get(name), self.params.fusion.get(name)
        if localiser is None or fusion is None:
            if name not in METHODS:
                raise unknown_name("method", name, {*METHODS, *self.params.methods})
            raise UserError(
                f"method '{name}' has no blocks localiser.{name} and fusion.{name}",
                "copy them from a file in profiles/ into params.yaml",
            )
        return method_of(name, localiser), localiser, fusion

    def import_of(self, name: str) -> Import | None:
        """Return the results of others that the blocks called `name` take; None for a method that is trained here."""
        method, localiser, _ = self.method(name)
        return method.content(localiser.options, name) if isinstance(method, ImportedMethod) else None

    def ready_made(self, name: str) -> Import | None:
        """Return the pseudo-labels that the blocks called `name` take as they are; None for what a rule fuses."""
        given = self.import_of(name)
        return given if given and given.kind == "pseudo" else None

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
