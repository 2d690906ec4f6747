"""Measures of saliency maps, as PySODMetrics computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from py_sod_metrics import MAE, Emeasure, FmeasureHandler, FmeasureV2, Smeasure

from seedbed.errors import UserError

_BETA_SQUARED = 0.3
_SALIENT = 128


class _SMeasure(Smeasure):
    """Smeasure, defined also for objects centred on the last row or column, where an empty quadrant weighs nothing."""

    def ssim(self, pred: npt.NDArray[Any], gt: npt.NDArray[Any]) -> float:
        return super().ssim(pred, gt) if pred.size else 0.0


class SaliencyScores:
    """Running measures over the images of one test set.

    As in the field's evaluation code each map is first stretched to 0..1 on its own (min-max); a constant map stays.
    """

    def __init__(self) -> None:
        self._mae = MAE()
        self._f = FmeasureV2({"f": FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=_BETA_SQUARED)})
        self._s = _SMeasure()
        self._e = Emeasure()
        self.images = 0

    def add(self, prediction: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], name: str = "image") -> None:
        """Count one image: saliency map and ground truth, both uint8 [H,W] grey; salient is a truth of 128 and more.

        Raises UserError, beginning with `name`, when the sizes differ.
        """
        if prediction.shape != mask.shape:
            raise UserError(f"{name}: the saliency map is {prediction.shape} [H,W], its ground truth {mask.shape}")
        truth = np.where(mask >= _SALIENT, np.uint8(255), np.uint8(0))
        for measure in (self._mae, self._f, self._s, self._e):
            measure.step(prediction, truth)
        self.images += 1

    def result(self) -> dict[str, float]:
        """Return the means over the images, each in 0..1 (higher is better except for mae).

        mae; max_f, mean_f (F-measure with beta^2 = 0.3: maximum and mean over 256 thresholds of the mean curve),
        adaptive_f (each map at twice its mean); s_measure; max_e, mean_e, adaptive_e (E-measure likewise).
        Raises UserError when no image was counted.
        """
        if self.images == 0:
            raise UserError("no saliency map to score")
        f, e = self._f.get_results()["f"], self._e.get_results()["em"]
        return {
            "mae": float(self._mae.get_results()["mae"]),
            "max_f": float(f["dynamic"].max()),
            "mean_f": float(f["dynamic"].mean()),
            "adaptive_f": float(f["adaptive"]),
            "s_measure": float(self._s.get_results()["sm"]),
            "max_e": float(e["curve"].max()),
            "mean_e": float(e["curve"].mean()),
            "adaptive_e": float(e["adp"]),
        }
