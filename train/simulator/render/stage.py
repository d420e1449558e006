"""Scenes of people: chatting, singing, dancing, a PK, and the empty chair of an idle stretch."""

import math

from train.simulator.render.canvas import Canvas, Color, mix, shade
from train.simulator.render.moment import ACCENTS, WALLS, Moment
from train.simulator.render.people import Pose, draw_figure, draw_portrait

_WHITE = (255, 255, 255)
_GOLD = (255, 202, 40)
_RED = (226, 66, 88)
_BLUE = (54, 108, 222)


def draw_chatting(canvas: Canvas, now: Moment) -> None:
    """Draw a living room and a portrait."""
    canvas.fill(now.wall)
    canvas.box(-2, 7.2, 18, 11, shade(now.wall, 0.82))
    left = 1.0 if now.shot % 2 else 10.6
    canvas.box(left, 0.9, left + 4.4, 4.6, _WHITE, r=0.1)
    canvas.box(left + 0.2, 1.1, left + 4.2, 4.4, mix((150, 205, 250), (40, 50, 110), (now.shot % 3) / 2), r=0.05)
    canvas.disc(left + 3.2, 2.0, 0.5, (255, 244, 190))
    canvas.box(left + 2.1, 0.9, left + 2.3, 4.6, _WHITE)
    canvas.box(left, 2.65, left + 4.4, 2.85, _WHITE)
    shelf = 10.8 if now.shot % 2 else 0.8
    for row in (2.3, 4.2):
        canvas.box(shelf, row, shelf + 4.4, row + 0.18, shade(now.accent, 0.6))
        for k in range(6):
            tall = 0.7 + 0.12 * ((k * 7 + now.shot) % 5)
            canvas.box(
                shelf + 0.3 + k * 0.62, row - tall, shelf + 0.8 + k * 0.62, row, ACCENTS[(k + now.theme) % 6], r=0.05
            )
    canvas.box(shelf + 1.4, 6.2, shelf + 2.6, 7.6, (214, 140, 96), r=0.15)
    for k in range(5):
        angle = math.pi * (1.15 + 0.175 * k) + 0.04 * math.sin(now.time_s + k)
        tip = (shelf + 2 + 1.5 * math.cos(angle), 6.3 + 1.6 * math.sin(angle))
        canvas.stroke([(shelf + 2, 6.3), tip], (76, 150, 92), 0.34)
    canvas.box(6.0, 6.3, 10.0, 11, shade(now.accent, 0.75), r=0.5)
    y = 4.3 - 0.12 * now.intensity * math.sin(now.time_s * 4)
    draw_portrait(canvas, 8, y, 1.6, now.host, time_s=now.time_s, mouth=now.mouth)
    if now.intensity > 0.35:
        reach = 0.4 * math.sin(now.time_s * 3)
        canvas.stroke([(10.2, 8.6), (11.3, 6.6 + reach), (11.0, 5.0 + reach)], now.host.shirt, 0.8)
        canvas.disc(11.0, 4.9 + reach, 0.5, now.host.skin)


def _draw_stage(canvas: Canvas, now: Moment, top: Color, floor: Color, beams: int) -> None:
    canvas.gradient(shade(top, 0.75), mix(top, now.accent, 0.5))
    canvas.shape([(-2, 7.0), (18, 7.0), (18, 11), (-2, 11)], floor)
    for k in range(beams):
        foot = 8 + (k - (beams - 1) / 2) * 3.4 + 1.2 * math.sin(now.time_s * 0.4 + k)
        x = 8 + (k - (beams - 1) / 2) * 3.0
        glow = (*ACCENTS[(now.theme + k) % 6], 60 + int(50 * now.intensity))
        canvas.shape([(x - 0.15, -0.6), (x + 0.15, -0.6), (foot + 1.5, 8.0), (foot - 1.5, 8.0)], glow)


def draw_singing(canvas: Canvas, now: Moment) -> None:
    """Draw a stage, a microphone and a singer."""
    _draw_stage(canvas, now, (44, 26, 84), (62, 34, 70), 3)
    canvas.disc(8, 7.7, 3.4, (255, 240, 200, 90), ry=0.7)
    for side in (-1, 1):
        canvas.box(8 + side * 6.2 - 1.1, 4.2, 8 + side * 6.2 + 1.1, 7.6, (34, 30, 44), r=0.15)
        for y in (5.0, 6.5):
            canvas.disc(8 + side * 6.2, y, 0.62, (70, 66, 84))
            canvas.disc(8 + side * 6.2, y, 0.24 + 0.1 * now.intensity * math.sin(now.time_s * 6), (120, 116, 138))
    lift = 50 + 90 * now.intensity * (0.5 + 0.5 * math.sin(now.time_s))
    pose = Pose((30, 140), (lift, lift + 20), (8, 4), (10, 2), 0.0, 0.15 * math.sin(now.time_s * 2))
    draw_figure(canvas, 8, 7.9, 5.9, now.host, pose, time_s=now.time_s)
    canvas.stroke([(7.15, 7.9), (7.15, 4.2)], (190, 190, 205), 0.12)
    canvas.disc(7.15, 7.95, 0.7, (150, 150, 165), ry=0.14)
    canvas.stroke([(7.15, 4.2), (7.55, 3.6)], (60, 60, 72), 0.26)
    canvas.disc(7.62, 3.5, 0.24, (210, 210, 222))
    for k in range(2 + int(5 * now.intensity)):
        drift = (now.time_s * 0.7 + k * 1.7) % 6
        x, y = 3.2 + (k * 3.1) % 9.8 + 0.3 * math.sin(now.time_s + k), 6.2 - drift
        canvas.disc(x, y, 0.24, _GOLD, ry=0.18)
        canvas.stroke([(x + 0.2, y), (x + 0.2, y - 0.9), (x + 0.55, y - 0.7)], _GOLD, 0.09)
    _draw_crowd(canvas, now, (24, 16, 40))


def _draw_crowd(canvas: Canvas, now: Moment, color: Color) -> None:
    for k in range(int(9 * now.intensity)):
        x = 1.0 + (k * 5.3) % 15
        y = 8.8 - 0.25 * abs(math.sin(now.time_s * 3 + k))
        canvas.disc(x, y, 0.42, color)
        canvas.box(x - 0.65, y + 0.3, x + 0.65, 11, color, r=0.3)
        canvas.stroke([(x + 0.5, y + 0.6), (x + 0.75, y - 0.9)], color, 0.2)


def draw_dancing(canvas: Canvas, now: Moment) -> None:
    """Draw a dance floor, and a figure that moves faster with intensity."""
    canvas.gradient(mix(now.accent, _WHITE, 0.35), mix(now.accent, (250, 120, 200), 0.6))
    for row in range(2):
        for k in range(8):
            lit = (k + row + int(now.phase(0.4, 0.6))) % 3 == 0
            tile = mix(ACCENTS[(k + row) % 6], _WHITE, 0.6 if lit else 0.15)
            y0, y1 = 6.6 + row * 1.2, 7.8 + row * 1.8
            spread0, spread1 = 1.0 + row * 0.17, 1.17 + row * 0.26
            canvas.shape([(8 + (k - 4) * 2.1 * spread0, y0), (8 + (k - 3) * 2.1 * spread0, y0),
                          (8 + (k - 3) * 2.1 * spread1, y1), (8 + (k - 4) * 2.1 * spread1, y1)], tile)  # fmt: skip
    ball_x = 3.2 if now.shot % 2 else 12.8
    canvas.stroke([(ball_x, -1), (ball_x, 1.0)], (230, 230, 240), 0.06)
    canvas.disc(ball_x, 1.7, 0.9, (214, 220, 236))
    for k in range(6):
        canvas.disc(ball_x - 0.5 + 0.5 * (k % 3), 1.4 + 0.5 * (k // 3), 0.14, ACCENTS[(k + int(now.time_s)) % 6])
    for k in range(3 + int(7 * now.intensity)):
        canvas.disc(1 + (k * 4.7 + now.time_s) % 14, 1 + (k * 2.9) % 5, 0.22, (255, 255, 255, 110))
    swing = math.sin(now.phase(2.5, 2.5))
    reach = 40 + 60 * now.intensity
    pose = Pose(
        (90 + reach * swing, 120 + reach * swing), (90 - reach * swing, 120 - reach * swing),
        (24 + 22 * swing, 4 - 16 * swing), (24 - 22 * swing, 4 + 16 * swing),
        0.35 * abs(swing) * (0.4 + now.intensity), 0.6 * swing,
    )  # fmt: skip
    if now.shot % 3 == 2:
        draw_figure(canvas, 3.7, 7.4, 4.4, now.guest, pose, time_s=now.time_s)
        draw_figure(canvas, 12.3, 7.4, 4.4, now.guest, pose, time_s=now.time_s)
    draw_figure(canvas, 8, 8.2, 6.6, now.host, pose, time_s=now.time_s)


def draw_pk(canvas: Canvas, now: Moment) -> None:
    """Draw two hosts side by side, and the bar of their points."""
    canvas.box(-2, -2, 8, 11, mix(_RED, now.wall, 0.35))
    canvas.box(8, -2, 18, 11, mix(_BLUE, WALLS[(now.theme + 2) % 6], 0.35))
    for k in range(7):
        rays = [(8 + 12 * math.cos(k * 0.9 + turn), 4.4 + 12 * math.sin(k * 0.9 + turn)) for turn in (0.2, 0.5)]
        canvas.shape([(8, 4.4), *rays], (255, 255, 255, 26))
    y = 4.7 - 0.15 * now.intensity * math.sin(now.time_s * 5)
    draw_portrait(canvas, 4.6, y, 1.35, now.host, time_s=now.time_s, mouth=now.mouth)
    draw_portrait(
        canvas, 11.4, 4.7, 1.35, now.guest, time_s=now.time_s + 9, mouth=0.6 * (math.sin(now.time_s * 2) > 0.6)
    )
    canvas.box(7.93, -2, 8.07, 11, _WHITE)
    if now.intensity > 0.45:
        for k in range(int(8 * now.intensity)):
            x = 0.6 + k * 2.1
            tall = 1.0 + 1.4 * now.intensity * abs(math.sin(now.time_s * 3 + k * 1.3))
            canvas.shape([(x - 0.7, 9.6), (x + 0.7, 9.6), (x + 0.1, 9.2 - tall)], (255, 140, 40, 220))
            canvas.shape([(x - 0.35, 9.6), (x + 0.35, 9.6), (x, 9.3 - tall * 0.55)], (255, 220, 90, 230))
    draw_points(canvas, now)


def draw_points(canvas: Canvas, now: Moment) -> None:
    """Draw the bar, the points and the clock of a PK."""
    canvas.box(1.2, 1.15, 14.8, 1.75, _BLUE, r=0.3)
    canvas.box(1.2, 1.15, 1.2 + 13.6 * now.lead, 1.75, _RED, r=0.3)
    canvas.disc(1.2 + 13.6 * now.lead, 1.45, 0.42, _GOLD)
    total = int(800 + 9000 * now.intensity)
    canvas.text(1.6, 1.45, str(int(total * now.lead)), _WHITE, 0.42, anchor="lm")
    canvas.text(14.4, 1.45, str(int(total * (1 - now.lead))), _WHITE, 0.42, anchor="rm")
    canvas.disc(8, 3.0, 0.85, (32, 26, 48))
    canvas.text(8, 3.0, "VS", _GOLD, 0.8)
    left_s = int(300 - now.time_s % 300)
    canvas.box(7.1, 1.85, 8.9, 2.25, (32, 26, 48), r=0.2)
    canvas.text(8, 2.06, f"{left_s // 60}:{left_s % 60:02d}", _WHITE, 0.34)


def draw_idle(canvas: Canvas, now: Moment) -> None:
    """Draw an empty chair."""
    canvas.fill(mix(now.wall, (70, 74, 96), 0.6))
    canvas.box(-2, 7.2, 18, 11, (64, 62, 80))
    canvas.box(5.9, 2.6, 10.1, 6.4, shade(now.accent, 0.6), r=0.8)
    canvas.box(5.4, 6.0, 10.6, 7.3, shade(now.accent, 0.5), r=0.4)
    canvas.box(7.8, 7.2, 8.2, 8.4, (40, 40, 52))
    canvas.stroke([(6.4, 8.6), (8, 8.2), (9.6, 8.6)], (40, 40, 52), 0.25)
    draw_pause(canvas, now.time_s)


def draw_pause(canvas: Canvas, time_s: float) -> None:
    """Draw the banner of an idle stretch."""
    canvas.box(3.4, 0.9, 12.6, 2.1, (24, 24, 36, 200), r=0.5)
    canvas.text(8, 1.5, "BE RIGHT BACK" + "." * (1 + int(time_s) % 3), _WHITE, 0.62)
