import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seedbed.data.drawing import Canvas, Frame, disc, noise, wave


def test_borders_are_ignored_on_both_sides():
    canvas = Canvas(12, 10)
    canvas.paint((canvas.x > 4) & (canvas.x < 9), (255, 0, 0), 3)
    row = canvas.mask()[5].tolist()
    assert row == [0, 0, 0, 255, 255, 3, 3, 3, 255, 255, 0, 0]
    assert canvas.coverage()[5].tolist() == [0] * 4 + [255] * 5 + [0] * 3


def test_paint_and_blend():
    canvas = Canvas(4, 4)
    canvas.blend(np.full((8, 8), 0.5), (100, 50, 0))
    canvas.paint(canvas.y < 2, (10, 20, 30), 1)
    image = canvas.picture(np.zeros((4, 4)))
    assert image[3, 0].tolist() == [50, 25, 0]
    assert image[0, 0].tolist() == [10, 20, 30]


@given(turn=st.floats(-1, 1), mirrored=st.booleans())
def test_frames_keep_lengths(turn, mirrored):
    canvas = Canvas(8, 6)
    u, v = Frame(3, 2, 2.0, turn, mirrored).local(canvas)
    np.testing.assert_allclose(u * u + v * v, ((canvas.x - 3) ** 2 + (canvas.y - 2) ** 2) / 4, atol=1e-12)


def test_waves_and_noise_stay_in_range():
    phase = np.linspace(-3, 3, 601)
    assert np.abs(wave(phase)).max() == 1
    np.testing.assert_allclose(wave(phase), wave(phase + 1), atol=1e-9)
    values = noise(Canvas(30, 20), np.random.default_rng(0), 7)
    assert values.shape == (40, 60)
    assert -1 <= values.min() < values.max() <= 1
    assert np.abs(np.diff(values)).max() < 0.25


def test_disc_has_the_area_of_a_disc():
    canvas = Canvas(40, 40)
    u, v = Frame(20, 20, 10).local(canvas)
    assert abs(disc(u, v).sum() / 4 / 314.16 - 1) < 0.02
