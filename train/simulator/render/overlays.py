"""Overlays of the platform: header, gifts, comment bubbles, the spinner of a stalled network, transitions."""

import math
from collections.abc import Sequence

from kuaihl.records import Comment
from train.simulator.render.canvas import Canvas, Color
from train.simulator.render.moment import ACCENTS

_WHITE = (255, 255, 255)
_SHADE = (18, 16, 30, 150)
_GOLD = (255, 202, 40)
_ROSE = (240, 76, 110)
_BANNERS = ((200, 60, 140), (120, 80, 220), (230, 130, 40), (40, 150, 210), (60, 170, 90))
_MAX_LETTERS = 38


def draw_header(canvas: Canvas, name: str, time_s: float) -> None:
    """Draw the streamer's name and a live badge."""
    canvas.box(0.3, 0.25, 4.1, 0.92, _SHADE, r=0.33)
    canvas.disc(0.66, 0.58, 0.26, ACCENTS[len(name) % 6])
    canvas.text(1.1, 0.58, name, _WHITE, 0.36, anchor="lm")
    canvas.box(14.2, 0.25, 15.7, 0.85, (226, 44, 60) if time_s % 2 < 1.4 else (180, 30, 50), r=0.2)
    canvas.text(14.95, 0.55, "LIVE", _WHITE, 0.38)


def draw_gifts(canvas: Canvas, count: int, senders: Sequence[str], time_s: float) -> None:
    """Draw ``count`` gifts: rising hearts, banners, confetti, a glow, a combo counter."""
    if count:
        glow = min(12 * count, 110)
        canvas.box(-1, -1, 17, 0.1 + 0.12 * count, (*_GOLD, glow))
        canvas.box(-1, 8.9 - 0.12 * count, 17, 10, (*_GOLD, glow))
    for k in range(9 * count):
        x = (k * 2.63 + 0.5 * math.sin(time_s + k)) % 16
        y = (k * 1.37 + time_s * 1.5) % 9
        canvas.box(x, y, x + 0.34, y + 0.34, ACCENTS[k % 6])
    for k in range(min(2 * count, 14)):
        rise = (time_s * 0.45 + k * 0.37) % 1.0
        x = 15.0 - 0.9 * (k % 3) / 2 + 0.25 * math.sin(6 * rise + k)
        color = (_ROSE, _GOLD, (170, 110, 240))[k % 3]
        canvas.heart(x, 8.0 - 5.2 * rise, 0.42 * (1.1 - 0.5 * rise), (*color, int(255 * (1 - rise * 0.7))))
    for k in range(min(count, 5)):
        y = 1.5 + 0.82 * k
        canvas.box(0.3, y, 3.7, y + 0.7, (*_BANNERS[k], 225), r=0.38)
        canvas.star(3.35, y + 0.35, 0.36, _GOLD, turn=time_s)
        if canvas.readable:
            name = senders[k % len(senders)] if senders else "a fan"
            canvas.text(0.6, y + 0.36, f"{name[:13]}", _WHITE, 0.32, anchor="lm")
    if count >= 3:
        pulse = 1.0 + 0.12 * math.sin(time_s * 8)
        canvas.text(4.0, 1.9, f"x{3 * count + int(time_s) % 10}", _GOLD, 0.9 * pulse, anchor="lm")


def draw_bubbles(canvas: Canvas, comments: Sequence[Comment]) -> None:
    """Draw the newest comments at the lower left, the last one at the bottom."""
    for k, comment in enumerate(reversed(comments)):
        y = 8.15 - 0.62 * k
        line = f"{comment.user}: {comment.text}" if comment.kind == "message" else f"{comment.user} {comment.text}"
        shown = line if len(line) <= _MAX_LETTERS else line[: _MAX_LETTERS - 1] + "…"
        width = 0.6 + 0.15 * len(shown)
        ground: Color = _SHADE if comment.kind == "message" else (210, 120, 30, 200)
        canvas.box(0.3, y, 0.3 + width, y + 0.54, ground, r=0.26)
        if canvas.readable:
            canvas.text(0.52, y + 0.28, shown, _WHITE, 0.31, anchor="lm")
        else:
            canvas.box(0.55, y + 0.2, 0.05 + width, y + 0.36, (235, 235, 245, 130))


def draw_spinner(canvas: Canvas, time_s: float) -> None:
    """Draw the ring of dots of a stalled stream."""
    canvas.disc(8, 4.5, 1.25, (0, 0, 0, 120))
    for k in range(8):
        angle = math.pi * k / 4 + 4 * time_s
        canvas.disc(8 + 0.75 * math.cos(angle), 4.5 + 0.75 * math.sin(angle), 0.15, (255, 255, 255, 60 + 25 * k))


def draw_wipe(canvas: Canvas, progress: float, accent: Color) -> None:
    """Draw the slanted band of a transition between two shots; ``progress`` is in [0, 1]."""
    x = -4.5 + 23.0 * progress
    canvas.shape([(x - 1.6, 9.2), (x + 0.4, -0.2), (x + 2.6, -0.2), (x + 0.6, 9.2)], accent)
    canvas.shape([(x - 0.4, 9.2), (x + 1.6, -0.2), (x + 2.0, -0.2), (x, 9.2)], _WHITE)


def wipe_edge(progress: float) -> tuple[float, float]:
    """Return x of the band at the top and the bottom; the next shot is to its left."""
    x = -4.5 + 23.0 * progress
    return x + 1.5, x - 0.5
