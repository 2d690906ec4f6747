"""Random images of two of three classes, for tests of sweeps."""

import numpy as np

from seedbed.study.tables import ImageMaps


def random_images(seed, ids=(0, 0, 1, 2, 3, 255), count=3, size=(6, 7)):
    """Return images with random maps and saliency, and true ids drawn from `ids`."""
    rng = np.random.default_rng(seed)
    return [
        ImageMaps(
            str(index),
            rng.random((2, *size)).astype(np.float16),
            rng.choice(3, 2, replace=False),
            rng.choice(ids, size).astype(np.uint8),
            rng.integers(0, 256, size).astype(np.uint8),
        )
        for index in range(count)
    ]
