"""Clips for telephones: pictures cropped to 9:16, and captions drawn into them."""

import textwrap
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kuaihl.progress import SILENT, Progress

VERTICAL_SIZE = (720, 1280)
_TICK_S = Fraction(1, 90_000)
_FONTS = ("DejaVuSans-Bold.ttf", "Arial Bold.ttf", "arialbd.ttf", "NotoSansCJK-Bold.ttc")
"""Tried in turn; Pillow's own font, which knows Latin letters only, is the last."""
_LETTERS = 26

Caption = tuple[float, float, str]
"""Start and end in seconds of the clip, and text."""


def reframe(
    source: Path,
    target: Path,
    *,
    vertical: bool = False,
    crop: float = 0.5,
    captions: Sequence[Caption] = (),
    progress: Progress = SILENT,
) -> None:
    """Write an MP4 clip anew, cropped or with captions. Its sound is copied.

    Parameters
    ----------
    vertical
        Crop to 9:16, at `VERTICAL_SIZE`. Otherwise the picture keeps its shape.
    crop
        Which part stays: 0 the left or upper edge, 0.5 the middle, 1 the right or lower edge.
    captions
        Drawn at the lower third.
    """
    with av.open(str(source)) as clip, av.open(str(target), "w", options={"movflags": "faststart"}) as out:
        video, sound = clip.streams.video[0], next(iter(clip.streams.audio), None)
        size = VERTICAL_SIZE if vertical else (video.width // 2 * 2, video.height // 2 * 2)
        stream = out.add_stream("libx264", rate=video.average_rate, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = _TICK_S
        copied = sound and out.add_stream_from_template(sound)
        part = _window(video.width, video.height, vertical=vertical, crop=crop)
        overlays = [(start_s, end_s, _drawn(text, size)) for start_s, end_s, text in captions]
        duration_s = (clip.duration or av.time_base) / av.time_base
        for packet in clip.demux([video, *([sound] if sound else [])]):
            if packet.stream is sound:
                if packet.dts is not None:
                    packet.stream = copied
                    out.mux(packet)
                continue
            for frame in packet.decode():
                progress(min(frame.time / duration_s, 1.0))
                pixels = np.ascontiguousarray(frame.to_ndarray(format="rgb24")[part])
                image = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(*size).to_ndarray()
                for start_s, end_s, overlay in overlays:
                    if start_s <= frame.time < end_s:
                        image = _blended(image, overlay)
                written = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
                written.pts, written.time_base = round(frame.time / _TICK_S), _TICK_S
                out.mux(stream.encode(written))
        out.mux(stream.encode(None))


def _window(width: int, height: int, *, vertical: bool, crop: float) -> tuple[slice, slice]:
    """Return the rows and columns that stay."""
    if not vertical:
        return slice(height // 2 * 2), slice(width // 2 * 2)
    kept_width = min(width, round(height * 9 / 16))
    kept_height = min(height, round(width * 16 / 9))
    left, top = round((width - kept_width) * crop), round((height - kept_height) * crop)
    return slice(top, top + kept_height), slice(left, left + kept_width)


def _drawn(text: str, size: tuple[int, int]) -> np.ndarray:
    """Draw a caption: (height, width, 4) uint8 RGBA, transparent elsewhere."""
    width, height = size
    image = Image.new("RGBA", size)
    font = _font(max(width // 18, 12) if width < height else max(height // 18, 12))
    lines = "\n".join(textwrap.wrap(text, _LETTERS if width < height else 2 * _LETTERS))
    place = (width // 2, round(height * 0.8))
    draw = ImageDraw.Draw(image)
    outline = {"stroke_width": 3, "stroke_fill": "black"}
    draw.multiline_text(place, lines, fill="white", font=font, anchor="mm", align="center", **outline)
    return np.asarray(image)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for name in _FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)


def _blended(image: np.ndarray, overlay: np.ndarray) -> np.ndarray:
    alpha = overlay[..., 3:].astype(np.uint16)
    return ((image * (255 - alpha) + overlay[..., :3] * alpha) // 255).astype(np.uint8)
