"""Loss of the segmenter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from seedbed import IGNORE
from seedbed.params import SegmenterParams

Loss = Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]]


def build_loss(params: SegmenterParams) -> Loss:
    """Return the function of network and batch (`image` [N,3,H,W], `mask` int64 [N,H,W]) that training minimises.

    Cross entropy at the resolution of the image; with `params.loss_scales` the sum of the cross entropies of the logits
    at every scale and of their maximum (see `Segmenter.forward`), each at the resolution of its logits.
    """
    average, scales = params.average, params.loss_scales

    def single(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"total": cross_entropy(network(batch["image"]), batch["mask"], average)}

    def multi(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        pyramid = network(batch["image"], scales)
        terms = [cross_entropy(logits, resize_mask(batch["mask"], logits), average) for logits in pyramid]
        return {"total": torch.stack(terms).sum()}

    return multi if scales else single


def cross_entropy(logits: Tensor, mask: Tensor, average: Literal["batch", "image"]) -> Tensor:
    """Return the mean cross entropy of `logits` [N,K,h,w] against `mask` int64 [N,h,w], ignore pixels (255) left out.

    `average`: over all pixels of the `batch`, or over those of each `image` and then over the images, which is what
    gradients accumulated over batches of one image amount to (Caffe). Images or batches of ignore alone count as 0
    (the plain mean would be NaN).
    """
    pixels = functional.cross_entropy(logits.float(), mask, ignore_index=IGNORE, reduction="none")
    summed, valid = pixels.sum(dim=(1, 2)), (mask != IGNORE).sum(dim=(1, 2))
    if average == "batch":
        summed, valid = summed.sum(), valid.sum()
    return (summed / valid.clamp(min=1)).mean()


def resize_mask(mask: Tensor, like: Tensor) -> Tensor:
    """Resize `mask` int64 [N,H,W] to the height and width of `like` [N,K,h,w] without mixing ids (as Pillow does)."""
    return functional.interpolate(mask[:, None].float(), like.shape[-2:], mode="nearest-exact")[:, 0].long()
