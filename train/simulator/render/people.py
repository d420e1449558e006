"""People: a portrait with shoulders, and a whole figure with moving limbs."""

import math
from dataclasses import dataclass

from train.simulator.render.canvas import Canvas, Color, Point, shade

_WHITE = (255, 255, 255)
_DARK = (48, 40, 52)


@dataclass(frozen=True, slots=True)
class Person:
    """Looks of a person: colours and one of four hair styles (short, long, bun, curly)."""

    skin: Color
    hair: Color
    shirt: Color
    hair_style: int


def draw_portrait(canvas: Canvas, x: float, y: float, r: float, person: Person, *, time_s: float, mouth: float) -> None:
    """Draw head and shoulders; (x, y) is the centre of the face, ``r`` its radius, ``mouth`` its opening in [0, 1]."""
    sway = 0.05 * r * math.sin(time_s * 1.3)
    x += sway
    if person.hair_style == 1:
        canvas.box(x - 1.08 * r, y - 0.6 * r, x + 1.08 * r, y + 1.7 * r, shade(person.hair, 0.85), r=r * 0.8)
    canvas.box(x - 1.75 * r, y + 1.35 * r, x + 1.75 * r, y + 6.0 * r, person.shirt, r=r * 0.9)
    canvas.box(x - 0.34 * r, y + 0.6 * r, x + 0.34 * r, y + 1.6 * r, shade(person.skin, 0.9), r=r * 0.3)
    canvas.pie(x, y + 1.34 * r, 0.55 * r, 0, 180, shade(person.skin, 0.95))
    draw_face(canvas, x, y, r, person, time_s=time_s, mouth=mouth)


def draw_face(canvas: Canvas, x: float, y: float, r: float, person: Person, *, time_s: float, mouth: float) -> None:
    """Draw a head only, as in `draw_portrait`."""
    if person.hair_style == 2:
        canvas.disc(x, y - 1.15 * r, 0.42 * r, person.hair)
    if person.hair_style == 3:
        for k in range(7):
            angle = math.pi * (1.0 + k / 6)
            canvas.disc(x + 0.85 * r * math.cos(angle), y - 0.1 * r + 0.85 * r * math.sin(angle), 0.45 * r, person.hair)
    canvas.disc(x - 0.95 * r, y + 0.1 * r, 0.18 * r, shade(person.skin, 0.92))
    canvas.disc(x + 0.95 * r, y + 0.1 * r, 0.18 * r, shade(person.skin, 0.92))
    canvas.disc(x, y, 0.95 * r, person.skin, ry=1.05 * r)
    canvas.pie(x, y - 0.12 * r, 1.0 * r, 190, 350, person.hair)
    if person.hair_style in {1, 2}:
        canvas.shape(
            [(x - 0.98 * r, y - 0.25 * r), (x + 0.3 * r, y - 0.72 * r), (x - 0.75 * r, y + 0.25 * r)], person.hair
        )
    blink = 0.02 if math.sin(time_s * 2.1) > 0.985 else 0.15
    for side in (-1, 1):
        canvas.disc(x + side * 0.38 * r, y + 0.05 * r, 0.12 * r, _DARK, ry=blink * r)
        canvas.disc(x + side * 0.55 * r, y + 0.4 * r, 0.16 * r, (240, 120, 120, 90), ry=0.1 * r)
    if mouth > 0.05:
        canvas.disc(x, y + 0.55 * r, 0.24 * r, (150, 50, 60), ry=(0.06 + 0.2 * mouth) * r)
    else:
        canvas.stroke(
            [(x - 0.2 * r, y + 0.52 * r), (x, y + 0.6 * r), (x + 0.2 * r, y + 0.52 * r)], (150, 60, 60), 0.07 * r
        )


@dataclass(frozen=True, slots=True)
class Pose:
    """Angles of each limb (upper, lower) in degrees, 0 down, positive outwards; ``bounce`` lifts and ``lean`` tilts."""

    left_arm: tuple[float, float]
    right_arm: tuple[float, float]
    left_leg: tuple[float, float]
    right_leg: tuple[float, float]
    bounce: float = 0.0
    lean: float = 0.0


def draw_figure(
    canvas: Canvas, x: float, ground: float, height: float, person: Person, pose: Pose, *, time_s: float
) -> None:
    """Draw a person person stands at ``ground`` and is ``height`` units tall."""
    u = height / 8.0
    hip_y = ground - 3.7 * u - pose.bounce * u
    hip = (x, hip_y)
    neck = (x + pose.lean * u, hip_y - 2.6 * u)
    trousers = (58, 66, 110)
    canvas.disc(x, ground, 1.6 * u, (0, 0, 0, 60), ry=0.22 * u)
    for side, (upper, lower) in ((-1, pose.left_leg), (1, pose.right_leg)):
        foot = _draw_limb(canvas, (hip[0] + side * 0.4 * u, hip[1]), side, upper, lower, 1.85 * u, trousers, 0.72 * u)
        canvas.disc(foot[0] + side * 0.2 * u, foot[1], 0.45 * u, _WHITE, ry=0.24 * u)
    canvas.stroke([hip, neck], person.shirt, 1.5 * u)
    for side, (upper, lower) in ((-1, pose.left_arm), (1, pose.right_arm)):
        shoulder = (neck[0] + side * 0.75 * u, neck[1] + 0.15 * u)
        hand = _draw_limb(canvas, shoulder, side, upper, lower, 1.35 * u, person.shirt, 0.5 * u, end=person.skin)
        canvas.disc(*hand, 0.3 * u, person.skin)
    head = (neck[0] + 0.2 * pose.lean * u, neck[1] - 1.35 * u)
    if person.hair_style == 1:
        canvas.box(head[0] - 0.98 * u, head[1] - 0.5 * u, head[0] + 0.98 * u, head[1] + 1.5 * u, person.hair, r=0.6 * u)
    draw_face(canvas, head[0], head[1], 0.9 * u, person, time_s=time_s, mouth=0.4)


def _draw_limb(
    canvas: Canvas,
    start: Point,
    side: int,
    upper: float,
    lower: float,
    length: float,
    color: Color,
    width: float,
    *,
    end: Color | None = None,
) -> Point:
    joint = _move(start, side, upper, length)
    tip = _move(joint, side, lower, length)
    canvas.stroke([joint, tip], color if end is None else end, width * 0.85)
    canvas.stroke([start, joint], color, width)
    return tip


def _move(start: Point, side: int, angle: float, length: float) -> Point:
    turn = math.radians(angle)
    return start[0] + side * length * math.sin(turn), start[1] + length * math.cos(turn)
