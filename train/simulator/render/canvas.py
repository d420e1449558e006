"""Drawing in units of a sixteenth of the width and a ninth of the height."""

import math
from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, ...]
Point = tuple[float, float]
WIDTH = 16.0
HEIGHT = 9.0


@cache
def _font(pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(pixels)


class Canvas:
    """A picture to draw on. ``tint`` multiplies every colour; colours may have an alpha.

    ``zoom`` about the centre and ``shift`` frame the drawing.
    """

    def __init__(
        self,
        image: Image.Image,
        *,
        tint: tuple[float, float, float] = (1.0, 1.0, 1.0),
        zoom: float = 1.0,
        shift: Point = (0.0, 0.0),
    ):
        self.image = image
        self._draw = ImageDraw.Draw(image, "RGBA")
        self._tint = tint
        self._sx = image.width / WIDTH * zoom
        self._sy = image.height / HEIGHT * zoom
        self._x0 = image.width / 2 - (WIDTH / 2 - shift[0]) * self._sx
        self._y0 = image.height / 2 - (HEIGHT / 2 - shift[1]) * self._sy
        self._scale = min(self._sx, self._sy)

    @property
    def readable(self) -> bool:
        """Whether the picture is large enough for small text."""
        return self._scale >= 30.0

    def _at(self, point: Point) -> Point:
        return self._x0 + point[0] * self._sx, self._y0 + point[1] * self._sy

    def _ink(self, color: Color) -> Color:
        red, green, blue = self._tint
        return (
            min(255, int(color[0] * red)),
            min(255, int(color[1] * green)),
            min(255, int(color[2] * blue)),
            *color[3:],
        )

    def fill(self, color: Color) -> None:
        """Fill the picture."""
        self._draw.rectangle((0, 0, self.image.width, self.image.height), fill=self._ink(color))

    def gradient(self, top: Color, bottom: Color) -> None:
        """Fill the picture with a gradient."""
        strip = Image.new("RGB", (1, 32))
        for k in range(32):
            strip.putpixel((0, k), self._ink(mix(top, bottom, k / 31)))
        self.image.paste(strip.resize(self.image.size, Image.Resampling.BILINEAR))

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Color, *, r: float = 0.0) -> None:
        """Draw a rectangle with corners of radius ``r``."""
        (left, top), (right, bottom) = self._at((x0, y0)), self._at((x1, y1))
        if right <= left or bottom <= top:
            return
        radius = min(r * self._scale, (right - left) / 2, (bottom - top) / 2)
        if radius >= 1.0:
            self._draw.rounded_rectangle((left, top, right, bottom), radius=radius, fill=self._ink(color))
        else:
            self._draw.rectangle((left, top, right, bottom), fill=self._ink(color))

    def disc(self, x: float, y: float, rx: float, color: Color, *, ry: float | None = None) -> None:
        """Draw an ellipse around (x, y)."""
        ry = rx if ry is None else ry
        self._draw.ellipse((*self._at((x - rx, y - ry)), *self._at((x + rx, y + ry))), fill=self._ink(color))

    def pie(self, x: float, y: float, r: float, start: float, end: float, color: Color) -> None:
        """Draw a slice of a disc, from ``start`` to ``end`` in degrees clockwise from the right."""
        box = (*self._at((x - r, y - r)), *self._at((x + r, y + r)))
        self._draw.pieslice(box, start, end, fill=self._ink(color))

    def shape(self, points: Sequence[Point], color: Color) -> None:
        """Draw a polygon."""
        self._draw.polygon([self._at(p) for p in points], fill=self._ink(color))

    def stroke(self, points: Sequence[Point], color: Color, width: float) -> None:
        """Draw a line with round ends."""
        pixels = max(1, round(width * self._scale))
        placed = [self._at(p) for p in points]
        self._draw.line(placed, fill=self._ink(color), width=pixels, joint="curve")
        if pixels > 2:
            half = pixels / 2
            for x, y in (placed[0], placed[-1]):
                self._draw.ellipse((x - half, y - half, x + half, y + half), fill=self._ink(color))

    def text(self, x: float, y: float, text: str, color: Color, size: float, *, anchor: str = "mm") -> None:
        """Write text with letters ``size`` units high; ``anchor`` as in Pillow."""
        font = _font(max(6, round(size * self._scale)))
        self._draw.text(self._at((x, y)), text, fill=self._ink(color), font=font, anchor=anchor)

    def star(self, x: float, y: float, r: float, color: Color, *, turn: float = 0.0) -> None:
        """Draw a star with five points."""
        angles = [turn + math.pi * (k / 5 - 0.5) for k in range(10)]
        self.shape(
            [
                (x + r * (0.45 if k % 2 else 1) * math.cos(a), y + r * (0.45 if k % 2 else 1) * math.sin(a))
                for k, a in enumerate(angles)
            ],
            color,
        )

    def heart(self, x: float, y: float, r: float, color: Color) -> None:
        """Draw a heart."""
        self.disc(x - r * 0.46, y - r * 0.2, r * 0.52, color)
        self.disc(x + r * 0.46, y - r * 0.2, r * 0.52, color)
        self.shape([(x - r * 0.93, y + 0.05 * r), (x + r * 0.93, y + 0.05 * r), (x, y + r)], color)


def shade(color: Color, factor: float) -> Color:
    """Darken (below 1) or lighten a colour."""
    return tuple(max(0, min(255, int(c * factor))) for c in color[:3])


def mix(a: Color, b: Color, share: float) -> Color:
    """Blend two colours, with ``share`` of the second."""
    return tuple(int(x + (y - x) * share) for x, y in zip(a[:3], b[:3], strict=True))
