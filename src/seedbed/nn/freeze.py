"""Keeping parts of a network fixed during training."""

from __future__ import annotations

from functools import cache

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from seedbed.nn.features import Backbone


class _Frozen:
    """Mixin that keeps a normalisation layer in evaluation mode, whatever mode its network is put in."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)  # type: ignore[misc]


@cache
def _frozen(kind: type) -> type:
    return type(f"Frozen{kind.__name__}", (_Frozen, kind), {})


def freeze(module: nn.Module) -> None:
    """Take every parameter of `module` out of training; modes and buffers stay as they are."""
    module.requires_grad_(False)


def freeze_batchnorm(module: nn.Module) -> None:
    """Fix all batch normalisation in `module`: running statistics used and never updated, scale and shift not trained.

    Holds through later calls of `module.train()`, copies and moves to other devices.
    """
    for layer in list(module.modules()):
        if isinstance(layer, _BatchNorm) and not isinstance(layer, _Frozen):
            layer.eval()
            kind: type = type(layer)
            layer.__class__ = _frozen(kind)
            freeze(layer)


def freeze_untrained(backbone: Backbone) -> None:
    """Freeze the submodules that the published recipe of `backbone` never trains (often there are none)."""
    for name in backbone.untrained:
        freeze(backbone.get_submodule(name))
