"""Loss of the segmenter."""

from __future__ import annotations

from torch import Tensor, nn

from seedbed import IGNORE


def loss(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cross entropy of `image` [N,3,H,W] against `mask` int64 [N,H,W], averaged over pixels that are not ignore (255).

    A batch of ignore pixels alone has loss 0 (the plain mean would be NaN).
    """
    mask = batch["mask"]
    summed = nn.functional.cross_entropy(network(batch["image"]).float(), mask, ignore_index=IGNORE, reduction="sum")
    return {"total": summed / (mask != IGNORE).sum().clamp(min=1)}
