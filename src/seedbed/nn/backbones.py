"""Backbones by name: the published networks of the methods, and the convolutional ones of torchvision and timm."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from seedbed.errors import UserError
from seedbed.nn.adapters import TimmBackbone, TorchvisionBackbone, check_maps, timm_names, torchvision_names
from seedbed.nn.caffe_resnet import CaffeResNet101
from seedbed.nn.features import Backbone
from seedbed.nn.resnet38d import ResNet38d
from seedbed.nn.vgg import Vgg16
from seedbed.nn.weights import load_state, read_state

__all__ = ["Backbone", "build_backbone", "known_backbones", "resolve_backbone"]

_LIBRARIES: dict[str, Callable[[str, int], Backbone]] = {"torchvision": TorchvisionBackbone, "timm": TimmBackbone}
_PUBLISHED: dict[str, type[Backbone]] = {
    "resnet38d": ResNet38d,
    "vgg16-dilated": Vgg16,
    "resnet101-caffe": CaffeResNet101,
}
_CANNOT_BUILD = (AssertionError, RuntimeError, TypeError, ValueError)


@cache
def known_backbones() -> tuple[str, ...]:
    """Return every known name: `resnet38d` and others of fixed stride, then `torchvision/...`, then `timm/...`."""
    return (
        *_PUBLISHED,
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
    raise UserError(
        f"unknown backbone '{name}'{hint} (known: {', '.join(_PUBLISHED)}, and the networks of torchvision and timm)"
    )


def build_backbone(name: str, output_stride: int, weights: Path | None = None) -> Backbone:
    """Build backbone `name` whose last feature map has `output_stride` (8, 16 or 32 input pixels per map pixel).

    `weights`: file with initial weights (safetensors, or a torch file without code) under the library's own names;
    entries beyond the backbone, such as those of the ImageNet classifier, are left out. Without a file the weights are
    random, from torch's generator. Raises UserError for an unknown name, an impossible stride, or a file that lacks a
    tensor of the backbone.
    """
    try:
        backbone = _build(resolve_backbone(name), output_stride)
    except _CANNOT_BUILD as error:
        raise UserError(
            f"backbone '{name}' cannot run at output stride {output_stride}: {error}",
            "set another output_stride or backbone in params.yaml "
            f"({', '.join(_PUBLISHED)}: 8; mobilenet_v2, resnet50: 8, 16 or 32)",
        ) from error
    if weights is not None:
        load_state(backbone, backbone.own_names(read_state(weights)), source=weights, allow_extra=True)
    return backbone


def _build(full_name: str, output_stride: int) -> Backbone:
    """Build the backbone of a resolved name. Raises one of `_CANNOT_BUILD` if it cannot have that stride."""
    library, _, model = full_name.rpartition("/")
    if library:
        backbone = _LIBRARIES[library](model, output_stride)
        check_maps(backbone, output_stride)
        return backbone
    network = _PUBLISHED[model]
    if network.strides[-1] != output_stride:
        raise ValueError(f"its stride is {network.strides[-1]}")
    return network()
