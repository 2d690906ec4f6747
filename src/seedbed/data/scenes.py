"""What the embedded sample shows: class objects in their contexts, and salient things of other kinds.

The scenes carry the problem that the field works on. An object is told from those of other classes by one small part:
bodies take their colours from one pool and differ little else. Around most objects lies the class's context, a soft
texture of low contrast that gives the class away without being the object. Objects are saturated and sharp-edged before
soft backgrounds, in the saliency pairs too, so that saliency carries over although kinds and backgrounds differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from seedbed.data.drawing import Bools, Canvas, Floats, Frame, box, disc, noise, smooth, wave

WIDTH, HEIGHT = 128, 96
BODY_COLOURS = (
    (205, 60, 50), (215, 130, 40), (200, 175, 50), (70, 150, 70),
    (50, 140, 150), (60, 90, 185), (130, 75, 170), (190, 80, 135),
)  # fmt: skip
_DAYLIGHT = (130, 128, 122)
"""Mean colour of the class images' backgrounds."""
_INDOORS = ((150, 130, 128), (112, 122, 134), (128, 136, 118), (140, 138, 134))
"""Mean colours of the saliency pairs' backgrounds."""

Outline = Callable[[Floats, Floats, float], Bools]
"""(u, v, length) -> inside; v runs over -1..1, u over -length..length, the front at positive u."""
Part = Callable[[Floats, Floats], list[tuple[Bools, ArrayLike]]]
"""(u, v), part at the origin with radius about 1 -> shapes with their colours, from back to front."""
Texture = Callable[[Floats, Floats, Floats], Floats]
"""(x, y, noise) in pixels -> -1..1."""


@dataclass(frozen=True)
class Kind:
    """A class of objects."""

    name: str
    outline: Outline
    length: float
    """Half length of the body over its half height."""
    part: Part
    place: tuple[float, float]
    """Centre of the part: u over the half length, v over the half height."""
    texture: Texture
    tint: tuple[float, float, float]
    """Mean colour of the context."""


def _bird_body(u: Floats, v: Floats, length: float) -> Bools:
    return disc(u, v, radii=(length, 1)) | (box(u, v, (-0.95 * length, -0.1), (0.5, 0.3)))


def _boat_body(u: Floats, v: Floats, length: float) -> Bools:
    return (np.abs(v) < 0.9) & (np.abs(u) < length * (0.82 - 0.18 * v))


def _car_body(u: Floats, v: Floats, length: float) -> Bools:
    return box(u, v, (0, 0.25), (length, 0.65)) | box(u, v, (-0.15 * length, -0.4), (0.55 * length, 0.6))


def _sheep_body(u: Floats, v: Floats, length: float) -> Bools:
    body = disc(u, v, radii=(0.9 * length, 0.85))
    for along in (-0.75, -0.4, 0.0, 0.4, 0.75):
        drop = 0.62 - 0.5 * along * along
        body |= disc(u, v, (along * length, drop), (0.36, 0.36)) | disc(u, v, (along * length, -drop), (0.36, 0.36))
    return body


def _train_body(u: Floats, v: Floats, length: float) -> Bools:
    return box(u, v, radii=(length, 0.9))


def _bird_head(u: Floats, v: Floats) -> list[tuple[Bools, ArrayLike]]:
    beak = (u > 0.6) & (u < 1.7) & (np.abs(v) < 0.55 * (1.7 - u))
    return [(beak, (250, 140, 20)), (disc(u, v), (245, 225, 80)), (disc(u, v, (0.3, -0.25), (0.3, 0.3)), (15, 15, 15))]


def _boat_sail(u: Floats, v: Floats) -> list[tuple[Bools, ArrayLike]]:
    sail = (v < 1.1) & (v > -1.3) & (u > -0.55 * (v + 1.3)) & (u < 0.3 * (v + 1.3))
    stripes = np.floor(v * 2.2) % 2 == 0
    return [(sail & stripes, (250, 250, 250)), (sail & ~stripes, (30, 60, 160))]


def _car_wheel(u: Floats, v: Floats) -> list[tuple[Bools, ArrayLike]]:
    radii = (1.0, 0.62, 0.28)
    colours = ((20, 20, 22), (225, 225, 230), (200, 30, 30))
    return [(disc(u, v, radii=(r, r)), colour) for r, colour in zip(radii, colours, strict=True)]


def _sheep_face(u: Floats, v: Floats) -> list[tuple[Bools, ArrayLike]]:
    ears = disc(u, v, (-0.75, -0.7), (0.55, 0.3)) | disc(u, v, (0.75, -0.7), (0.55, 0.3))
    eyes = disc(u, v, (-0.3, -0.2), (0.2, 0.26)) | disc(u, v, (0.35, -0.2), (0.2, 0.26))
    return [(ears, (235, 170, 170)), (disc(u, v, radii=(0.8, 1.05)), (35, 28, 30)), (eyes, (250, 250, 250))]


def _train_front(u: Floats, v: Floats) -> list[tuple[Bools, ArrayLike]]:
    front = box(u, v, radii=(0.85, 1.2))
    chevrons = np.floor((v + np.abs(u)) * 1.8) % 2 == 0
    return [(front & chevrons, (240, 205, 30)), (front & ~chevrons, (20, 20, 20))]


def _leaves(x: Floats, y: Floats, soft: Floats) -> Floats:
    return wave((x + y) / 9 + 0.4 * soft) * wave((x - y) / 9 + 0.4 * soft)


def _ripples(x: Floats, y: Floats, soft: Floats) -> Floats:
    return wave(y / 6 + 0.5 * soft)


def _lanes(x: Floats, y: Floats, soft: Floats) -> Floats:
    return np.where(wave(x / 13) > 0, wave(y / 10), -0.3 + 0.3 * soft)


def _grass(x: Floats, y: Floats, soft: Floats) -> Floats:
    return wave(x / 4.5 + 0.6 * soft) * (0.7 + 0.3 * wave(y / 11))


def _rails(x: Floats, y: Floats, soft: Floats) -> Floats:
    return np.maximum(wave((x + 0.5 * y) / 8), 1.6 * wave(y / 14) - 0.6) + 0.1 * soft


KINDS = (
    Kind("bird", _bird_body, 1.5, _bird_head, (0.95, -0.6), _leaves, (118, 128, 96)),
    Kind("boat", _boat_body, 1.9, _boat_sail, (0.1, -1.35), _ripples, (104, 124, 138)),
    Kind("car", _car_body, 1.8, _car_wheel, (0.55, 0.8), _lanes, (122, 120, 124)),
    Kind("sheep", _sheep_body, 1.5, _sheep_face, (0.95, -0.2), _grass, (108, 134, 106)),
    Kind("train", _train_body, 2.1, _train_front, (0.85, 0.0), _rails, (136, 122, 108)),
)
"""The classes, in id order."""


def class_scene(rng: np.random.Generator, first: int) -> Canvas:
    """Return a training or validation scene: one to three objects, the first of class index `first`."""
    canvas = Canvas(WIDTH, HEIGHT)
    _paint_background(canvas, rng, _DAYLIGHT)
    kinds = [first, *rng.integers(len(KINDS), size=int(rng.choice(3, p=(0.5, 0.37, 0.13)))).tolist()]
    frames = _frames(rng, len(kinds))
    if rng.random() < 0.15:  # a context without its object
        _paint_context(canvas, rng, KINDS[int(rng.integers(len(KINDS)))], _frames(rng, 1)[0])
    for kind, frame in zip(kinds, frames, strict=True):
        if rng.random() < 0.9:
            _paint_context(canvas, rng, KINDS[kind], frame)
    if rng.random() < 0.2:  # a salient thing of no class
        u, v = Frame(rng.uniform(12, WIDTH - 12), rng.uniform(12, HEIGHT - 12), rng.uniform(5, 8)).local(canvas)
        _paint_body(canvas, rng, disc(u, v), v, 0)
    for kind, frame in zip(kinds, frames, strict=True):
        _paint_object(canvas, rng, KINDS[kind], kind + 1, frame)
    return canvas


def _frames(rng: np.random.Generator, count: int) -> list[Frame]:
    """Return places for `count` objects: side by side, with little overlap, larger where they are few."""
    slots = rng.permutation(count)
    frames = []
    for slot in slots:
        unit = rng.uniform(*((16, 23), (12, 16), (9, 12))[count - 1])
        x = WIDTH * (slot + 0.5 + rng.uniform(-0.12, 0.12)) / count
        y = HEIGHT * (rng.uniform(0.4, 0.65) if count < 3 else rng.uniform(0.3, 0.75))
        frames.append(Frame(x, y, unit, rng.uniform(-0.12, 0.12), bool(rng.random() < 0.5)))
    return frames


def _paint_background(canvas: Canvas, rng: np.random.Generator, mean: tuple[int, int, int]) -> None:
    """Fill the canvas with a soft background of low contrast around the colour `mean`."""
    base = np.array(mean) + rng.uniform(-22, 22) + rng.uniform(-9, 9, 3)
    slope = rng.uniform(-14, 14) * (canvas.y / HEIGHT - 0.5) + rng.uniform(-8, 8) * (canvas.x / WIDTH - 0.5)
    level = slope + 9 * noise(canvas, rng, 34) + 5 * noise(canvas, rng, 13) + 2 * noise(canvas, rng, 4)
    canvas.colour = base + level[..., None] + 4 * noise(canvas, rng, 40)[..., None] * rng.uniform(-1, 1, 3)


def _paint_context(canvas: Canvas, rng: np.random.Generator, kind: Kind, frame: Frame) -> None:
    """Lay the context of `kind` under and around where the object stands, with soft borders."""
    u, v = (canvas.x - frame.x) / (frame.unit * 2.6), (canvas.y - frame.y - 0.5 * frame.unit) / (frame.unit * 1.7)
    soft = noise(canvas, rng, 12)
    alpha = 0.9 * smooth(1.5 * (1.15 + 0.35 * soft - u * u - v * v))
    pattern = kind.texture(canvas.x + rng.uniform(0, 50), canvas.y + rng.uniform(0, 50), soft)
    colour = np.array(kind.tint) + rng.uniform(-14, 14) + 15 * pattern[..., None]
    canvas.blend(alpha, colour)


def _paint_object(canvas: Canvas, rng: np.random.Generator, kind: Kind, class_id: int, frame: Frame) -> None:
    u, v = frame.local(canvas)
    length = kind.length * rng.uniform(0.88, 1.12)
    radius = rng.uniform(0.42, 0.52)
    centre_u, centre_v = kind.place[0] * length, kind.place[1]
    _paint_body(canvas, rng, kind.outline(u, v, length), v, class_id)
    for inside, colour in kind.part((u - centre_u) / radius, (v - centre_v) / radius):
        canvas.paint(inside, np.array(colour) + rng.uniform(-8, 8), class_id)


def _paint_body(canvas: Canvas, rng: np.random.Generator, inside: Bools, v: Floats, class_id: int) -> None:
    """Paint a body: a colour of the common pool, lit from above, with a texture that tells nothing of the class."""
    base = np.array(BODY_COLOURS[int(rng.integers(len(BODY_COLOURS)))]) + rng.uniform(-18, 18, 3)
    texture = rng.uniform(6, 14) * noise(canvas, rng, rng.uniform(3, 7))
    canvas.paint(inside, base + (texture - 20 * v)[..., None], class_id)


def salient_scene(rng: np.random.Generator) -> Canvas:
    """Return a scene for a saliency pair: one or two things of no class before other backgrounds; their id is 1."""
    canvas = Canvas(WIDTH, HEIGHT)
    _paint_background(canvas, rng, _INDOORS[int(rng.integers(len(_INDOORS)))])
    for _ in range(int(rng.integers(1, 4))):
        _paint_pattern(canvas, rng)
    count = 1 + int(rng.random() < 0.4)
    for frame in _frames(rng, count):
        u, v = Frame(frame.x, frame.y, frame.unit * 1.15, rng.uniform(-1, 1)).local(canvas)
        things = _things(u, v)
        _paint_body(canvas, rng, things[int(rng.integers(len(things)))], v, 1)
        if rng.random() < 0.7:
            _paint_badge(canvas, rng, u, v)
    return canvas


def _paint_pattern(canvas: Canvas, rng: np.random.Generator) -> None:
    """Lay a soft patch of some pattern, none of the contexts: what is patterned but soft is not salient."""
    x, y, size = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(20, 55)
    u, v = (canvas.x - x) / size, (canvas.y - y) / size
    soft = noise(canvas, rng, 12)
    across = (canvas.x * rng.uniform(-1, 1) + canvas.y * rng.uniform(-1, 1)) / rng.uniform(4, 9)
    rings = (u * u + v * v) * rng.uniform(2, 5)
    pattern = (wave(across + 0.3 * soft), wave(rings + 0.3 * soft), noise(canvas, rng, 3))[int(rng.integers(3))]
    tint = np.array((124, 124, 122)) + rng.uniform(-16, 16) + rng.uniform(-12, 12, 3)
    canvas.blend(0.9 * smooth(1.5 * (1.15 + 0.35 * soft - u * u - v * v)), tint + 15 * pattern[..., None])


def _things(u: Floats, v: Floats) -> list[Bools]:
    """Return the outlines of all kinds of salient things, about 1 in radius."""
    lean = 0.87 * u
    triangle = (v < 0.8) & (v - 2 * lean > -1) & (v + 2 * lean > -1)
    upturned = (v > -0.8) & (v - 2 * lean < 1) & (v + 2 * lean < 1)
    return [
        triangle | upturned,
        disc(u, v, radii=(1.2, 1.2)) & ~disc(u, v, radii=(0.5, 0.5)),
        disc(u, v, radii=(1.2, 1.2)) & ~disc(u, v, (0.6, 0), (0.9, 0.9)),
        box(u, v, radii=(1.4, 0.42)) | box(u, v, radii=(0.42, 1.4)),
        (np.abs(u) + np.abs(v)) < 1.3,
        disc(u, v, (-0.6, 0), (0.8, 0.8)) | disc(u, v, (0.7, 0.2), (0.9, 0.7)),
        box(u, v, radii=(0.9, 1.1)) | (disc(u, v, (1.1, 0), (0.6, 0.6)) & ~disc(u, v, (1.1, 0), (0.3, 0.3))),
    ]


def _paint_badge(canvas: Canvas, rng: np.random.Generator, u: Floats, v: Floats) -> None:
    """Paint a small sharp mark on the thing, as parts are on the class objects."""
    centre = (rng.uniform(-0.7, 0.7), rng.uniform(-0.7, 0.7))
    mark = disc(u, v, centre, (rng.uniform(0.25, 0.45), rng.uniform(0.25, 0.45)))
    colours = ((245, 245, 245), (20, 20, 25), (250, 210, 40), (40, 200, 220))
    stripes = np.floor((u + v) * 5) % 2 == 0
    first, second = (colours[int(place)] for place in rng.permutation(len(colours))[:2])
    canvas.paint(mark & (canvas.ids > 0) & stripes, first, 1)
    canvas.paint(mark & (canvas.ids > 0) & ~stripes, second, 1)
