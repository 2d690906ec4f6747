"""What every backbone is: a network from an image to feature maps, from fine to coarse."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn


class Backbone(nn.Module):
    """A network from images [N,3,h,w] to a list of feature maps, one per stride, from fine to coarse.

    Map i is [N, channels[i], ceil(h / strides[i]), ceil(w / strides[i])], or up to a pixel off that where the published
    poolings round otherwise. Strides rise strictly; the last one is the output stride. A subclass sets `channels` and
    `strides` and writes `forward(x) -> list[Tensor]`.
    """

    untrained: ClassVar[tuple[str, ...]] = ()
    """Submodules that the published recipe of this backbone never trains (see `freeze.freeze_untrained`)."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of `x`."""
        maps: list[Tensor] = super().__call__(x)
        return maps

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Translate the names of a state dict published for this architecture to those of this module."""
        return state

    def level(self, stride: int) -> int:
        """Return the index of the finest map whose stride is at least `stride` (the last map if none is)."""
        return next((i for i, own in enumerate(self.strides) if own >= stride), len(self.strides) - 1)
