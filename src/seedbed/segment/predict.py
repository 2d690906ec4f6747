"""Predictions of a segmenter for photographs of any size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from seedbed.data.augment import normalise, scaled_size
from seedbed.data.batches import image_batches
from seedbed.params import EvaluateParams


class Predictor:
    """Multi-scale prediction: softmax probabilities averaged over scales and mirror images, then the strongest id."""

    def __init__(self, network: nn.Module, params: EvaluateParams, device: torch.device) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last).eval()
        self.params = params
        self.device = device

    @torch.inference_mode()
    def probabilities(self, images: Sequence[Image.Image]) -> Tensor:
        """Return probabilities float32 [N,K,H,W] of RGB images of one size."""
        width, height = images[0].size
        total: Tensor | None = None
        for scale in self.params.scales:
            size = scaled_size((width, height), scale)
            batch = torch.stack([normalise(image.resize(size, Image.Resampling.BICUBIC)) for image in images])
            batch = batch.to(self.device, memory_format=torch.channels_last)
            scores = self.network(batch).float().softmax(dim=1)
            if self.params.flip:
                scores = (scores + self.network(batch.flip(-1)).float().softmax(dim=1).flip(-1)) / 2
            scores = nn.functional.interpolate(scores, size=(height, width), mode="bilinear", align_corners=False)
            total = scores if total is None else total + scores
        assert total is not None  # EvaluateParams asks for at least one scale
        return total / len(self.params.scales)

    def masks(self, paths: Mapping[str, Path]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, mask uint8 [H,W] of ids 0..C) for every image file of `paths`, grouped by size."""
        for batch in image_batches(paths, self.params.batch):
            masks = self.probabilities(batch.images).argmax(dim=1).to(torch.uint8).cpu().numpy()
            yield from zip(batch.ids, masks, strict=True)

    def scores(self, paths: Mapping[str, Path]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, probabilities float32 [K,H,W]) for every image file of `paths`, grouped by size."""
        for batch in image_batches(paths, self.params.batch):
            yield from zip(batch.ids, self.probabilities(batch.images).cpu().numpy(), strict=True)
