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
from seedbed.segment.windows import predict_windows


class Predictor:
    """Multi-scale prediction: softmax probabilities averaged over scales and mirror images, then the strongest id.

    The network sees whole images, or with `params.window` sliding windows.
    """

    def __init__(self, network: nn.Module, params: EvaluateParams, device: torch.device) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last).eval()
        self.params = params
        self.device = device

    @torch.inference_mode()
    def probabilities(self, images: Sequence[Image.Image]) -> Tensor:
        """Return probabilities float32 [N,K,H,W] of RGB images of one size.

        A pixel's add up to 1, or are all 0 where windows as published leave it without any.
        """
        if self.params.window is None:
            return self._whole(images)
        return self._windows(images, self.params.window)

    def _whole(self, images: Sequence[Image.Image]) -> Tensor:
        width, height = images[0].size
        total: Tensor | None = None
        for scale in self.params.scales:
            size = scaled_size((width, height), scale)
            batch = torch.stack([normalise(image.resize(size, Image.Resampling.BICUBIC)) for image in images])
            batch = batch.to(self.device)
            scores = self._softmax(batch)
            if self.params.flip:
                scores = (scores + self._softmax(batch.flip(-1)).flip(-1)) / 2
            scores = nn.functional.interpolate(scores, size=(height, width), mode="bilinear", align_corners=False)
            total = scores if total is None else total + scores
        assert total is not None  # EvaluateParams asks for at least one scale
        return total / len(self.params.scales)

    def _windows(self, images: Sequence[Image.Image], side: int) -> Tensor:
        batch = torch.stack([normalise(image) for image in images]).to(self.device)
        published = self.params.overlap == "published"
        found = predict_windows(batch, self._softmax, side, self.params.scales, self.params.flip, published)
        total = found.sum(dim=1, keepdim=True)
        return found / total.where(total > 0, 1)

    def _softmax(self, batch: Tensor) -> Tensor:
        """Return the network's probabilities float32 [N,K,h,w] of normalised images [N,3,h,w]."""
        return self.network(batch.to(memory_format=torch.channels_last)).float().softmax(dim=1)

    def masks(self, paths: Mapping[str, Path]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, mask uint8 [H,W] of ids 0..C) for every image file of `paths`, grouped by size."""
        for batch in image_batches(paths, self.params.batch):
            masks = self.probabilities(batch.images).argmax(dim=1).to(torch.uint8).cpu().numpy()
            yield from zip(batch.ids, masks, strict=True)

    def scores(self, paths: Mapping[str, Path]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, probabilities float32 [K,H,W]) for every image file of `paths`, grouped by size."""
        for batch in image_batches(paths, self.params.batch):
            yield from zip(batch.ids, self.probabilities(batch.images).cpu().numpy(), strict=True)
