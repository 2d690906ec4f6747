import numpy as np
import pytest

from seedbed.data.scenes import KINDS, class_scene, salient_scene


@pytest.fixture(scope="module")
def scenes():
    return [class_scene(np.random.default_rng((9, seed)), seed % len(KINDS)) for seed in range(40)]


def test_the_first_class_is_shown_and_objects_take_a_fair_part(scenes):
    for seed, canvas in enumerate(scenes):
        assert (canvas.mask() == seed % len(KINDS) + 1).sum() > 60
    shown = np.mean([(canvas.ids > 0).mean() for canvas in scenes])
    assert 0.1 < shown < 0.35


def test_some_images_show_several_classes(scenes):
    counts = [len(set(np.unique(canvas.ids)) - {0}) for canvas in scenes]
    assert max(counts) >= 2
    assert 0.2 < np.mean(np.array(counts) > 1) < 0.8


def test_objects_are_more_saturated_than_backgrounds(scenes):
    """What saliency has to go by, in class images and in saliency pairs."""
    pairs = [salient_scene(np.random.default_rng((8, seed))) for seed in range(10)]
    for canvas in scenes + pairs:
        saturation = canvas.colour.max(axis=2) - canvas.colour.min(axis=2)
        assert np.median(saturation[canvas.ids > 0]) > np.median(saturation[canvas.ids == 0]) + 30


def test_parts_cover_little_of_their_object():
    grid = np.mgrid[-3:3:0.02, -4:4:0.02]
    for kind in KINDS:
        v, u = grid
        body = kind.outline(u, v, kind.length)
        centre_u, centre_v = kind.place[0] * kind.length, kind.place[1]
        shapes = [inside for inside, _ in kind.part((u - centre_u) / 0.47, (v - centre_v) / 0.47)]
        part = np.logical_or.reduce(shapes)
        assert part.any()
        assert part.sum() < 0.3 * (body | part).sum(), kind.name
