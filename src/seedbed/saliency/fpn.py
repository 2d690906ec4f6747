"""The saliency network trained here: a feature pyramid over any backbone, with BCE and IoU loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from seedbed import IGNORE
from seedbed.data.augment import normalise
from seedbed.data.batches import image_batches
from seedbed.nn.backbones import build_backbone
from seedbed.nn.fpn import SaliencyFpn
from seedbed.nn.weights import load_weights
from seedbed.params import SaliencyParams

_STRIDE = 32


def build(params: SaliencyParams, pretrained: bool = True) -> SaliencyFpn:
    """Build the network; `pretrained` loads the encoder's initial weights."""
    weights = Path(params.weights) if params.weights and pretrained else None
    return SaliencyFpn(build_backbone(params.backbone, _STRIDE, weights), params.channels)


def iou_loss(probabilities: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """One minus the soft IoU of each image over its valid pixels, averaged; all [N,H,W], target and valid 0 or 1."""
    intersection = (probabilities * target * valid).sum(dim=(1, 2))
    union = ((probabilities + target) * valid).sum(dim=(1, 2)) - intersection
    return 1 - ((intersection + 1) / (union + 1)).mean()


def loss(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """BCE plus IoU loss of `image` [N,3,H,W] against `mask` int64 [N,H,W] (1 salient, 0 not, 255 ignore)."""
    logits = network(batch["image"]).float()[:, 0]
    valid = (batch["mask"] != IGNORE).float()
    target = (batch["mask"] == 1).float()
    pixelwise = nn.functional.binary_cross_entropy_with_logits(logits, target, weight=valid, reduction="sum")
    cross_entropy = pixelwise / valid.sum().clamp(min=1)
    overlap = iou_loss(logits.sigmoid(), target, valid)
    return {"total": cross_entropy + overlap, "bce": cross_entropy, "iou": overlap}


class FpnSource:
    """Predicts saliency maps by a trained network."""

    def __init__(self, params: SaliencyParams, model: Path, device: torch.device) -> None:
        network = build(params, pretrained=False)
        load_weights(network, model)
        self.network = network.to(device).to(memory_format=torch.channels_last).eval()
        self.params = params
        self.device = device

    def maps(self, paths: Mapping[str, Path]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (id, saliency map uint8 [H,W]) for every image of `paths`, at the image's own size."""
        for batch in image_batches(paths, self.params.batch):
            yield from zip(batch.ids, self.predict(batch.images), strict=True)

    @torch.inference_mode()
    def predict(self, images: list[Image.Image]) -> np.ndarray:
        """Return saliency maps uint8 [N,H,W] of RGB images of one size.

        The input's long side is `params.size` pixels; the probability, averaged with that of the mirror image where
        `params.flip` says so, is resized to the image and rounded to 0..255.
        """
        width, height = images[0].size
        unit = self.params.size / max(width, height)
        size = (max(_STRIDE, round(width * unit)), max(_STRIDE, round(height * unit)))
        batch = torch.stack([normalise(image.resize(size, Image.Resampling.BICUBIC)) for image in images])
        batch = batch.to(self.device, memory_format=torch.channels_last)
        probabilities = self.network(batch).float().sigmoid()
        if self.params.flip:
            probabilities = (probabilities + self.network(batch.flip(-1)).float().sigmoid().flip(-1)) / 2
        full = nn.functional.interpolate(probabilities, size=(height, width), mode="bilinear", align_corners=False)
        maps: np.ndarray = (full[:, 0] * 255).round().to(torch.uint8).cpu().numpy()
        return maps
