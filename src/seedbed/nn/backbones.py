"""Backbones by name: ResNet38d, and the convolutional networks of torchvision and timm."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from seedbed.errors import UserError
from seedbed.nn.adapters import TimmBackbone, TorchvisionBackbone, check_maps, timm_names, torchvision_names
from seedbed.nn.features import Backbone
from seedbed.nn.resnet38d import ResNet38d
from seedbed.nn.weights import load_state, read_state

__all__ = ["Backbone", "build_backbone", "known_backbones", "resolve_backbone"]

RESNET38D = "resnet38d"
_CANNOT_BUILD = (AssertionError, RuntimeError, TypeError, ValueError)


@cache
def known_backbones() -> tuple[str, ...]:
    """Return every known name: `resnet38d`, then `torchvision/...`, then `timm/...`."""
    return (
        RESNET38D,
        *(f"torchvision/{name}" for name in torchvision_names()),
        *(f"timm/{name}" for name in timm_names()),
    )


def resolve_backbone(name: str) -> str:
    """Return the full name of backbone `name`; without a prefix torchvision goes before timm.

    Raises UserError for an unknown name.
    """
    known = known_backbones()
    for candidate in (name, f"torchvision/{name}", f"timm/{name}"):
        if candidate in known:
            return candidate
    near = difflib.get_close_matches(name, {full.rpartition("/")[2] for full in known}, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise UserError(f"unknown backbone '{name}'{hint} (known: {RESNET38D}, and the networks of torchvision and timm)")


def build_backbone(name: str, output_stride: int, weights: Path | None = None) -> Backbone:
    """Build backbone `name` whose last feature map has `output_stride` (8, 16 or 32 input pixels per map pixel).

    `weights`: file with initial weights (safetensors, or a torch file without code) under the library's own names;
    entries beyond the backbone, such as those of the ImageNet classifier, are left out. Without a file the weights are
    random, from torch's generator. Raises UserError for an unknown name, an impossible stride, or a file that lacks a
    tensor of the backbone.
    """
    library, _, model = resolve_backbone(name).rpartition("/")
    try:
        backbone = _LIBRARIES[library](model, output_stride)
        check_maps(backbone, output_stride)
    except _CANNOT_BUILD as error:
        raise UserError(
            f"backbone '{name}' cannot run at output stride {output_stride}: {error}",
            "set another output_stride or backbone in params.yaml (resnet38d: 8; mobilenet_v2, resnet50: 8, 16 or 32)",
        ) from error
    if weights is not None:
        load_state(backbone, backbone.own_names(read_state(weights)), source=weights, allow_extra=True)
    return backbone


_LIBRARIES: dict[str, Callable[[str, int], Backbone]] = {
    "torchvision": TorchvisionBackbone,
    "timm": TimmBackbone,
    "": lambda _name, _output_stride: ResNet38d(),
}
