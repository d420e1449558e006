"""Scenes of things and places: gaming, eating, outdoors, selling."""

import math

from train.simulator.render.canvas import Canvas, Color, mix, shade
from train.simulator.render.moment import ACCENTS, Moment
from train.simulator.render.people import Pose, draw_face, draw_figure, draw_portrait

_WHITE = (255, 255, 255)
_GOLD = (255, 202, 40)


def draw_gaming(canvas: Canvas, now: Moment) -> None:
    """Draw a game with its displays, and the streamer in a corner."""
    night = now.shot % 2
    sky = ((74, 160, 232), (180, 224, 250)) if not night else ((36, 28, 78), (112, 66, 130))
    canvas.gradient(*sky)
    scroll = now.phase(0.5, 0.7)
    for k in range(5):
        x = (k * 5.1 - scroll * 0.3) % 24 - 4
        canvas.disc(x, 8.4, 3.2, (64, 148, 104) if not night else (58, 44, 96), ry=2.4)
    canvas.box(-2, 7.3, 18, 11, (150, 96, 60) if not night else (72, 52, 88))
    canvas.box(-2, 7.3, 18, 7.65, (98, 190, 84) if not night else (120, 84, 160))
    for k in range(5):
        x = (k * 4.6 - scroll) % 23 - 3
        y = 5.6 - 1.4 * ((k * 5 + now.shot) % 3) / 2
        for b in range(3):
            canvas.box(x + b * 0.78, y, x + b * 0.78 + 0.74, y + 0.62, (206, 120, 64), r=0.08)
        canvas.disc(x + 1.1, y - 0.55, 0.28, _GOLD)
    hop = abs(math.sin(now.phase(1.5, 2))) * (0.4 + 1.4 * now.intensity)
    canvas.box(4.5, 5.85 - hop, 5.7, 7.3 - hop, now.accent, r=0.3)
    canvas.disc(5.1, 5.6 - hop, 0.6, (255, 220, 180))
    canvas.pie(5.1, 5.5 - hop, 0.66, 180, 360, (220, 50, 50))
    for k in range(1 + int(5 * now.intensity)):
        x = 9.2 + k * 1.5 + 0.3 * math.sin(now.time_s * 2 + k)
        canvas.disc(x, 6.85, 0.55, (130, 60, 170))
        canvas.disc(x - 0.2, 6.7, 0.14, _WHITE)
        canvas.disc(x + 0.2, 6.7, 0.14, _WHITE)
    if now.intensity > 0.55:
        canvas.star(8.0, 5.4 - 0.5 * hop, 0.9, (255, 236, 120), turn=now.time_s)
        canvas.box(4.6, 2.1, 11.4, 2.45, (40, 20, 40), r=0.15)
        canvas.box(4.65, 2.15, 4.65 + 6.7 * (1.1 - now.intensity), 2.4, (220, 60, 80), r=0.12)
    for k in range(5):
        health = k < 5 - 3 * now.intensity
        canvas.heart(6.0 + k * 0.8, 1.2, 0.32, (232, 60, 80) if health else (60, 60, 70))
    canvas.box(12.6, 6.0, 15.6, 8.7, shade(now.accent, 0.7), r=0.2)
    canvas.box(12.75, 6.15, 15.45, 8.55, now.wall, r=0.15)
    draw_face(canvas, 14.1, 7.35, 0.85, now.host, time_s=now.time_s, mouth=now.mouth)
    canvas.stroke([(13.2, 7.2), (13.4, 6.6), (14.1, 6.35), (14.8, 6.6), (15.0, 7.2)], (40, 40, 50), 0.14)
    canvas.box(12.9, 0.9, 15.5, 2.9, (20, 30, 40, 170), r=0.15)
    for k in range(5):
        canvas.disc(13.2 + (k * 1.13 + now.shot) % 2.1, 1.2 + (k * 0.71) % 1.5, 0.13, ACCENTS[k % 6])


def draw_eating(canvas: Canvas, now: Moment) -> None:
    """Draw a table with dishes in front of the streamer."""
    canvas.fill(mix(now.wall, (255, 236, 200), 0.5))
    for k in range(9):
        canvas.box(k * 2 - 1, -2, k * 2, 6, mix(now.wall, (255, 246, 222), 0.7))
    canvas.stroke([(3.2, -1), (3.2, 0.6)], (90, 70, 60), 0.08)
    canvas.pie(3.2, 1.5, 1.2, 180, 360, now.accent)
    canvas.stroke([(12.8, -1), (12.8, 0.6)], (90, 70, 60), 0.08)
    canvas.pie(12.8, 1.5, 1.2, 180, 360, now.accent)
    chew = 0.5 + 0.5 * math.sin(now.time_s * 5)
    draw_portrait(canvas, 8, 3.3, 1.35, now.host, time_s=now.time_s, mouth=max(now.mouth, chew * now.intensity))
    canvas.disc(8, 9.4, 12, (158, 98, 60), ry=3.2)
    canvas.disc(8, 9.6, 11.6, (186, 120, 76), ry=3.0)
    plates = 3 + int(3 * now.intensity)
    for k in range(plates):
        x = 8 + (k - (plates - 1) / 2) * (12.0 / plates)
        y = 7.7 - 0.35 * (k % 2)
        canvas.disc(x, y + 0.1, 1.15, _WHITE, ry=0.55)
        canvas.disc(x, y, 0.92, shade(_WHITE, 0.92), ry=0.4)
        _draw_dish(canvas, x, y, (k + now.shot) % 4)
    reach = 0.5 + 0.5 * math.sin(now.time_s * 1.6)
    hand = (9.6 + 0.9 * reach, 4.6 + 1.9 * reach)
    canvas.stroke([(10.4, 6.9), hand], now.host.shirt, 0.7)
    canvas.stroke([hand, (8.2 + 1.6 * reach, 4.05 + 2.9 * reach)], (120, 70, 40), 0.1)
    canvas.stroke([(hand[0] + 0.15, hand[1]), (8.5 + 1.6 * reach, 4.15 + 2.9 * reach)], (120, 70, 40), 0.1)
    canvas.disc(*hand, 0.36, now.host.skin)
    for k in range(2 + int(4 * now.intensity)):
        drift = (now.time_s * 0.5 + k * 0.37) % 1.0
        canvas.disc(4 + (k * 2.9) % 9, 6.9 - 2.2 * drift, 0.25 + 0.3 * drift, (255, 255, 255, int(110 * (1 - drift))))


def _draw_dish(canvas: Canvas, x: float, y: float, kind: int) -> None:
    if kind == 0:  # noodles
        canvas.disc(x, y - 0.15, 0.8, (244, 206, 110), ry=0.42)
        for k in range(4):
            canvas.stroke(
                [(x - 0.6, y - 0.3 + 0.1 * k), (x, y - 0.5 + 0.12 * k), (x + 0.6, y - 0.25 + 0.1 * k)],
                (222, 164, 60),
                0.07,
            )
        canvas.disc(x + 0.2, y - 0.45, 0.24, _WHITE, ry=0.18)
        canvas.disc(x + 0.2, y - 0.45, 0.11, (255, 170, 40))
    elif kind == 1:  # pizza
        canvas.disc(x, y - 0.1, 0.85, (226, 160, 70), ry=0.4)
        canvas.disc(x, y - 0.14, 0.7, (250, 210, 100), ry=0.32)
        for k in range(4):
            canvas.disc(x - 0.4 + 0.27 * k, y - 0.1 - 0.14 * (k % 2), 0.13, (206, 50, 40), ry=0.09)
    elif kind == 2:  # soup
        canvas.pie(x, y - 0.35, 0.95, 0, 180, (200, 70, 60))
        canvas.disc(x, y - 0.35, 0.95, (236, 236, 236), ry=0.3)
        canvas.disc(x, y - 0.35, 0.8, (230, 110, 50), ry=0.23)
        canvas.disc(x + 0.25, y - 0.38, 0.14, (80, 160, 70), ry=0.08)
    else:  # dumplings
        for k in range(3):
            canvas.pie(x - 0.5 + 0.5 * k, y + 0.05, 0.42, 180, 360, (250, 238, 214))
            canvas.stroke([(x - 0.8 + 0.5 * k, y - 0.12), (x - 0.2 + 0.5 * k, y - 0.12)], (220, 196, 160), 0.05)


def draw_outdoors(canvas: Canvas, now: Moment) -> None:
    """Draw a landscape with a walker."""
    evening = now.shot % 3 == 2
    sky = ((255, 150, 110), (255, 220, 160)) if evening else ((86, 170, 236), (206, 236, 252))
    canvas.gradient(*sky)
    canvas.disc(12.4 if now.shot % 2 else 3.6, 2.3, 0.9 + 0.2 * now.intensity, (255, 240, 160))
    for k in range(3):
        x = (k * 6.3 + now.time_s * 0.12) % 20 - 2
        for dx, r in ((0, 0.6), (0.7, 0.8), (1.5, 0.55)):
            canvas.disc(x + dx, 1.5 + 0.7 * k, r, (255, 255, 255, 220), ry=r * 0.7)
    far = (122, 140, 190) if not evening else (150, 110, 140)
    for x, tall in ((1, 3.2), (5.5, 4.4), (10.5, 3.6), (14.8, 4.6)):
        canvas.shape([(x - 4, 7), (x, 6.8 - tall), (x + 4, 7)], far)
        canvas.shape([(x - 0.8, 6.8 - tall * 0.79), (x, 6.8 - tall), (x + 0.8, 6.8 - tall * 0.79)], _WHITE)
    canvas.box(-2, 6.3, 18, 11, (110, 176, 88))
    canvas.disc(3, 7.1, 6, (126, 192, 98), ry=1.1)
    if now.shot % 2:
        canvas.disc(12, 7.2, 4.4, (90, 170, 220), ry=0.62)
        canvas.box(10.5, 7.1, 12.9, 7.16, (255, 255, 255, 150))
    canvas.shape([(7.4, 6.4), (8.4, 6.4), (12.0, 11), (4.6, 11)], (222, 196, 150))
    stride = now.time_s * 0.5
    for k in range(5):
        x = (k * 4.4 - stride) % 22 - 3
        size = 0.8 + 0.3 * ((k * 3) % 3)
        canvas.box(x - 0.14, 6.2, x + 0.14, 7.4, (110, 74, 50))
        canvas.shape([(x - size, 6.5), (x + size, 6.5), (x, 4.3)], (46, 120, 74))
        canvas.shape([(x - size * 0.8, 5.6), (x + size * 0.8, 5.6), (x, 3.6)], (58, 140, 84))
    step = math.sin(now.time_s * 3)
    wave = 1.0 if now.intensity > 0.6 else 0.0
    pose = Pose(
        left_arm=(20 * step, 20 * step + 10),
        right_arm=(90 * wave - 20 * step, 30 + 100 * wave),
        left_leg=(4 + 18 * step, 4),
        right_leg=(4 - 18 * step, 4),
        bounce=0.1 * abs(step),
    )
    canvas.box(7.5, 5.4, 8.9, 7.1, now.accent, r=0.4)
    draw_figure(canvas, 8.2, 8.9, 4.9, now.host, pose, time_s=now.time_s)
    for k in range(int(6 * now.intensity)):
        x, y = (k * 3.3 + now.time_s * 0.9) % 18 - 1, 2.0 + (k * 1.3) % 2.4
        canvas.stroke([(x - 0.35, y - 0.18), (x, y), (x + 0.35, y - 0.18)], (60, 60, 80), 0.08)


def draw_selling(canvas: Canvas, now: Moment) -> None:
    """Draw goods on shelves with price tags."""
    canvas.fill(mix(now.wall, _WHITE, 0.4))
    for row in range(3):
        y = 3.0 + row * 2.1
        canvas.box(0.4, y, 10.0, y + 0.22, (156, 112, 78))
        for k in range(5):
            sold = (k * 3 + row * 5 + now.shot) % 10 < 5 * now.intensity
            if not sold:
                _draw_goods(canvas, 1.4 + k * 1.85, y, (k + row + now.shot) % 5, ACCENTS[(k + 2 * row) % 6])
            canvas.box(1.0 + k * 1.85, y + 0.05, 1.8 + k * 1.85, y + 0.5, (255, 240, 120), r=0.06)
            if canvas.readable:
                canvas.text(1.4 + k * 1.85, y + 0.28, f"${9 + (k * 17 + row * 11) % 80}", (150, 30, 30), 0.3)
    draw_portrait(canvas, 12.9, 4.2, 1.3, now.host, time_s=now.time_s, mouth=now.mouth)
    lift = 0.3 * math.sin(now.time_s * 2)
    canvas.stroke([(11.5, 7.6), (10.5, 6.0 + lift)], now.host.shirt, 0.7)
    canvas.disc(10.4, 5.8 + lift, 0.36, now.host.skin)
    _draw_goods(canvas, 10.3, 5.6 + lift, now.shot % 5, now.accent)
    canvas.box(-2, 7.9, 18, 11, (176, 128, 90))
    if now.intensity > 0.3:
        size = 1.1 + 0.5 * now.intensity + 0.08 * math.sin(now.time_s * 6)
        canvas.star(9.9, 1.9, size, (236, 54, 62), turn=0.15 * math.sin(now.time_s))
        canvas.disc(9.9, 1.9, size * 0.62, (236, 54, 62))
        canvas.text(9.9, 1.9, f"-{10 * int(2 + 5 * now.intensity)}%", _WHITE, 0.55)
        left_s = int(60 - now.time_s % 60)
        canvas.box(6.6, 8.1, 11.4, 8.75, (236, 54, 62), r=0.3)
        canvas.text(9.0, 8.42, f"SALE ENDS 0:{left_s:02d}", _WHITE, 0.4)


def _draw_goods(canvas: Canvas, x: float, y: float, kind: int, color: Color) -> None:
    """Draw a product on a shelf at ``y``."""
    if kind == 0:  # bag
        canvas.disc(x, y - 1.05, 0.3, shade(color, 0.7), ry=0.35)
        canvas.disc(x, y - 1.05, 0.2, (250, 246, 240), ry=0.25)
        canvas.box(x - 0.55, y - 0.95, x + 0.55, y, color, r=0.15)
    elif kind == 1:  # lamp
        canvas.box(x - 0.06, y - 0.7, x + 0.06, y, (110, 90, 80))
        canvas.box(x - 0.35, y - 0.12, x + 0.35, y, (110, 90, 80), r=0.05)
        canvas.shape([(x - 0.3, y - 1.3), (x + 0.3, y - 1.3), (x + 0.6, y - 0.6), (x - 0.6, y - 0.6)], color)
    elif kind == 2:  # bottle
        canvas.box(x - 0.32, y - 0.9, x + 0.32, y, color, r=0.12)
        canvas.box(x - 0.13, y - 1.25, x + 0.13, y - 0.85, shade(color, 0.7))
        canvas.box(x - 0.32, y - 0.6, x + 0.32, y - 0.25, _WHITE)
    elif kind == 3:  # box
        canvas.box(x - 0.6, y - 0.9, x + 0.6, y, (212, 168, 120), r=0.05)
        canvas.box(x - 0.12, y - 0.9, x + 0.12, y, color)
    else:  # shoe
        canvas.shape([(x - 0.6, y - 0.75), (x - 0.1, y - 0.75), (x + 0.6, y - 0.3), (x + 0.6, y), (x - 0.6, y)], color)
        canvas.box(x - 0.65, y - 0.16, x + 0.7, y, _WHITE, r=0.06)
