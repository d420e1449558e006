"""Tracks of a clip that are encoded anew: pictures as H.264, sound as AAC or MP3."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

import av
import av.error
from av.filter import Graph

from kuaihl.media.clips.packets import Piece
from kuaihl.media.clips.tracks import Track

SOUND_HZ = 48_000
_TICK_S = Fraction(1, 90_000)
_WARM_UP_S = 0.5
"""Decoders of sound are fed from a little before the start, since codecs build on what came before."""
_GAP_S = 0.03
"""A pause in the sound that is longer than this is filled with silence."""


class EncodedPictures(Track):
    """Pictures encoded anew as H.264, upright, each at its time, the one shown at ``begin_s`` first."""

    def __init__(
        self,
        out: av.container.OutputContainer,
        source: av.VideoStream,
        *,
        begin_s: float,
        end_s: float,
        span: tuple[int, int],
        size: tuple[int, int],
        turn: int,
        rate_hz: Fraction,
    ) -> None:
        super().__init__(out, begin_s=begin_s, end_s=end_s)
        self._first, self._last = span
        self._decoder = source.codec_context
        self._decoder.thread_type = "AUTO"
        width, height = (max(side // 2 * 2, 2) for side in size)
        stream = out.add_stream("libx264", rate=rate_hz, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = _TICK_S
        for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
            setattr(stream.codec_context, name, getattr(self._decoder, name))
        self._stream = stream
        turns = ["transpose=cclock"] * turn
        self._filters = [*turns, f"scale={width}:{height}", "setsar=1", "format=yuv420p"]
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None
        self._times_s: dict[int, float] = {}
        self._held: av.VideoFrame | None = None
        self._latest = -1

    def take(self, piece: Piece) -> None:
        """Decode a packet, and encode what is to be shown of it."""
        if self._first <= piece.frame <= self._last and piece.packet.pts is not None:
            self._times_s[piece.packet.pts] = piece.start_s
            self._decode(piece.packet)

    def finish(self) -> None:
        """Decode and encode what is still held."""
        self._decode(None)
        if self._held is not None:
            self._encode(self._held, 0)
        for packet in self._stream.encode(None):
            self._mux(packet)

    def _decode(self, packet: av.Packet | None) -> None:
        try:
            frames = self._decoder.decode(packet)
        except (av.error.FFmpegError, ValueError):
            return
        for frame in frames:
            time_s = self._times_s.pop(frame.pts, None)
            if time_s is None or time_s >= self._stop_s:
                continue
            ticks = round((time_s - self._begin_s) / _TICK_S)
            if ticks <= 0:
                self._held = frame
                continue
            if self._held is not None:
                self._encode(self._held, 0)
                self._held = None
            self._encode(frame, ticks)

    def _encode(self, frame: av.VideoFrame, ticks: int) -> None:
        if ticks <= self._latest:
            return
        self._latest = ticks
        frame.pts, frame.time_base = ticks, _TICK_S
        for ready in self._filtered(frame):
            ready.pict_type = 0
            for packet in self._stream.encode(ready):
                self._mux(packet)

    def _filtered(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            self._shape = shape
            self._graph = Graph()
            buffer = self._graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=_TICK_S
            )
            filters = [self._graph.add(*name.split("=", 1)) for name in self._filters]
            self._graph.link_nodes(buffer, *filters, self._graph.add("buffersink")).configure()
        self._graph.push(frame)
        yield from _pulled(self._graph)


class EncodedSound(Track):
    """Sound encoded anew, in stereo or mono; silence fills gaps, and where two pieces overlap the first one stays."""

    def __init__(
        self, out: av.container.OutputContainer, source: av.AudioStream, *, begin_s: float, end_s: float, codec: str
    ) -> None:
        super().__init__(out, begin_s=begin_s, end_s=end_s)
        self._layout = "mono" if source.codec_context.layout.nb_channels == 1 else "stereo"
        self._stream = out.add_stream(codec, rate=SOUND_HZ, options={"b": "160k"})
        self._stream.codec_context.layout = self._layout
        self._samples = round((end_s - begin_s) * SOUND_HZ)
        self._graph: Graph | None = None
        self._format: tuple[str, str, int] | None = None
        self._at = 0

    def take(self, piece: Piece) -> None:
        """Decode a packet, and encode what of it lies inside."""
        if piece.end_s < self._begin_s - _WARM_UP_S or piece.start_s >= self._stop_s:
            return
        try:
            frames = piece.packet.decode()
        except (av.error.FFmpegError, ValueError):
            return
        for frame in frames:
            begin_s = piece.start_s if frame.time is None else frame.time + piece.offset_s
            at_format = (frame.format.name, frame.layout.name, frame.sample_rate)
            if at_format != self._format:
                self._flush()
                self._format, self._graph = at_format, self._filters(frame)
            frame.time_base = Fraction(1, frame.sample_rate)
            frame.pts = round((begin_s - self._begin_s) * frame.sample_rate)
            self._graph.push(frame)
            self._encode(self._graph)

    def finish(self) -> None:
        """Encode what is still held."""
        self._flush()
        for packet in self._stream.encode(None):
            self._mux(packet)

    def _filters(self, frame: av.AudioFrame) -> Graph:
        """Build what fills gaps, drops overlaps, and cuts at both ends."""
        graph = Graph()
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format,
                layout=frame.layout,
                time_base=Fraction(1, frame.sample_rate),
            ),
            graph.add("aresample", f"{SOUND_HZ}:async=1:min_hard_comp={_GAP_S}:first_pts={self._at}"),
            graph.add("aformat", f"sample_fmts=fltp:channel_layouts={self._layout}"),
            graph.add("atrim", f"end_pts={self._samples}"),
            graph.add("abuffersink"),
        ).configure()
        return graph

    def _flush(self) -> None:
        if self._graph is not None:
            self._graph.push(None)
            self._encode(self._graph)

    def _encode(self, graph: Graph) -> None:
        for ready in _pulled(graph):
            self._at = ready.pts + ready.samples
            for packet in self._stream.encode(ready):
                self._mux(packet)


def _pulled(graph: Graph) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """Take from a graph what is ready."""
    with suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            yield graph.pull()
