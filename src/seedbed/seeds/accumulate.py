"""Online attention accumulation: the class maps of OAA, the baseline of MCIS (Jiang et al., ICCV 2019).

OAA does not take the class maps of a trained network: it adds up, image by image and class by class, what the network
saw in every epoch of its training. MCIS keeps this code but never runs it, and neither does any method here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

_GATE = 0.1  # least probability of the class, by the mean of its map, for an epoch to count
_NORMALISATION_EPSILON = 1e-8


def accumulate(
    stored: npt.NDArray[np.uint8] | None, cam: npt.NDArray[np.float32], epoch: int, epochs: int
) -> npt.NDArray[np.uint8] | None:
    """Return the accumulated map uint8 [h,w] of a labelled class of an image after an epoch; None = nothing yet.

    `stored`: what it was after the epoch before; `cam`: raw class map float32 [h,w] of the 0-based `epoch` of `epochs`.
    From the second epoch on the map, clipped at 0 and divided by its maximum, is merged by the maximum, unless the
    sigmoid of its mean is below 0.1. In the last epoch it is stored all the same if nothing was before. A single
    epoch stores nothing: it is the first.
    """
    missing_at_the_end = stored is None and epoch == epochs - 1
    confident = expit(cam.mean()) >= _GATE
    if epoch == 0 or not (confident or missing_at_the_end):
        return stored
    clipped = np.maximum(cam, 0)
    levels = np.rint(clipped / (clipped.max() + _NORMALISATION_EPSILON) * 255).astype(np.uint8)
    return levels if stored is None else np.maximum(stored, levels)
