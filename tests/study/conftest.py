"""A small study: maps that hold part of the truth, with ties, thresholds met exactly, and ignored pixels."""

import numpy as np
import pytest

from seedbed.study.protocol import StudyInputs

NUM_IDS = 4


def make_inputs(images=12, size=(10, 13), forbidden=()):
    """Return inputs of random images; reading one of the `forbidden` kinds fails."""
    rng = np.random.default_rng(5)
    content = {}
    for index in range(images):
        classes = np.sort(rng.choice(NUM_IDS - 1, rng.integers(1, 3), replace=False))
        truth = rng.choice([0, 0, 255, *(classes + 1)], size).astype(np.uint8)
        hit = np.stack([truth == number + 1 for number in classes])
        cams = np.clip(rng.choice([0, 0.2, 0.25, 0.5], hit.shape) + 0.5 * hit * rng.random(hit.shape), 0, 1)
        saliency = np.clip(255 * (truth > 0) * rng.random(size) + rng.integers(0, 90, size), 0, 255)
        label = np.zeros(NUM_IDS - 1, np.float32)
        label[classes] = 1
        photo = np.repeat((truth * 60)[..., None], 3, axis=2) + rng.integers(0, 30, (*size, 3))
        content[f"img{index:02d}"] = {
            "cams": (cams.astype(np.float16).astype(np.float32), classes),
            "saliency": saliency.astype(np.uint8),
            "mask": truth,
            "image": photo.astype(np.uint8),
            "label": label,
        }

    def reader(kind):
        def read(name):
            assert kind not in forbidden, f"{kind} of {name} was read"
            return content[name][kind]

        return read

    labels = {name: entry["label"] for name, entry in content.items()}
    kinds = {kind: reader(kind) for kind in ("cams", "saliency", "mask", "image")}
    return StudyInputs("train_aug", tuple(content), NUM_IDS, labels, **kinds)


@pytest.fixture(name="make_inputs")
def _make_inputs():
    return make_inputs


@pytest.fixture
def inputs():
    return make_inputs()
