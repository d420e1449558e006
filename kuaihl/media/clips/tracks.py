"""Tracks of a clip: numbered packets go in, and into its file with times from its start, copied or re-encoded."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
import av.error
from av.container import OutputContainer
from av.filter import Graph
from av.stream import Stream

from kuaihl.media.clock import JUMP_S
from kuaihl.media.containers import SkipCounter, stamp_of
from kuaihl.media.frames import FrameIndex, decode_packet, prepare

AUDIO_HZ = 48_000
_REORDERED = 4
"""Maximum reordering of frames, for containers without decoding timestamps."""
_PRIMING = 2
"""Audio packets before the first one that is heard: decoders need them, and MP4 can hide them."""
_WARM_UP_S = 0.5
"""Audio that is to be re-encoded is decoded from this much before the start."""
_GAP_S = 0.03
"""Longer gaps in audio that is re-encoded are filled with silence."""
_TICK_S = Fraction(1, 90_000)


class ClipTrack(ABC):
    """A track of a clip that shows ``begin_s`` to ``stop_s`` of the recording, and its packets in ``index``."""

    is_encoded = True

    def __init__(self, out: OutputContainer, index: FrameIndex, *, begin_s: float, stop_s: float) -> None:
        self._out, self._index, self._begin_s, self._stop_s = out, index, begin_s, stop_s
        self.packets = 0
        self.end_s = begin_s
        """End of the last packet so far, in seconds of the recording."""

    @abstractmethod
    def add(self, number: int, packet: av.Packet) -> None:
        """Add the next packet of the recording's track."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is still held."""

    def _time_s(self, number: int) -> float:
        return float(self._index.times_s[number])

    def _mux(self, packet: av.Packet) -> None:
        end = ((packet.pts or 0) + (packet.duration or 0)) * packet.time_base
        self.end_s = max(self.end_s, float(end) + self._begin_s)
        self.packets += 1
        self._out.mux(packet)

    def _mux_copy(self, packet: av.Packet, pts: int, dts: int, stream: Stream) -> None:
        packet.pts, packet.dts, packet.stream = pts, dts, stream
        self._mux(packet)


class CopiedVideo(ClipTrack):
    """Frames ``span`` as they are; the first one is a keyframe."""

    is_encoded = False

    def __init__(
        self,
        out: OutputContainer,
        index: FrameIndex,
        *,
        template: av.VideoStream,
        begin_s: float,
        stop_s: float,
        span: tuple[int, int],
    ) -> None:
        super().__init__(out, index, begin_s=begin_s, stop_s=stop_s)
        self._stream = copy_stream(template, out)
        self._first, self._last = span
        self._latest: int | None = None

    def add(self, number: int, packet: av.Packet) -> None:
        """Copy a packet, unless it is outside or is shown before the first keyframe."""
        if not self._first <= number <= self._last or packet.is_corrupt:
            return
        pts = round((self._time_s(number) - self._begin_s) / packet.time_base)
        if pts < 0 or (self._latest is None and not packet.is_keyframe):
            return
        if packet.dts is not None:
            delay = (packet.dts if packet.pts is None else packet.pts) - packet.dts
            dts = pts - delay if 0 <= delay * packet.time_base <= JUMP_S else pts
        else:  # MKV does not store them
            dts = pts - _REORDERED * (packet.duration or 0) if self._latest is None else self._latest + 1
        if self._latest is not None:
            dts = max(dts, self._latest + 1)
        self._latest = dts
        self._mux_copy(packet, max(pts, dts), dts, self._stream)

    def finish(self) -> None:
        """Do nothing: no packet is held."""


class CopiedAudio(ClipTrack):
    """Audio as it is, with the packets that lead up to its start, which players decode but do not play."""

    is_encoded = False

    def __init__(
        self, out: OutputContainer, index: FrameIndex, *, template: av.AudioStream, begin_s: float, stop_s: float
    ) -> None:
        super().__init__(out, index, begin_s=begin_s, stop_s=stop_s)
        self._stream = copy_stream(template, out)
        self._early: list[tuple[int, av.Packet]] = []
        self._latest: int | None = None

    def add(self, number: int, packet: av.Packet) -> None:
        """Copy a packet, or hold it if it is one of the last before the start."""
        time_s = self._time_s(number)
        if packet.is_corrupt or time_s >= self._stop_s:
            return
        if time_s < self._begin_s:
            self._early = [*self._early, (number, packet)][-_PRIMING:]
            return
        self.finish()
        self._copy(number, packet)

    def finish(self) -> None:
        """Copy the packets that are held, if they lead up to the start without a gap."""
        early, self._early = self._early, []
        for number, packet in early:
            length_s = float((packet.duration or 0) * packet.time_base)
            if self._time_s(number) >= self._begin_s - _PRIMING * 1.5 * length_s:
                self._copy(number, packet)

    def _copy(self, number: int, packet: av.Packet) -> None:
        stamp = round((self._time_s(number) - self._begin_s) / packet.time_base)
        if self._latest is None or stamp > self._latest:
            self._latest = stamp
            self._mux_copy(packet, stamp, stamp, self._stream)


class EncodedVideo(ClipTrack):
    """Frames re-encoded as H.264, upright, the one shown at ``begin_s``, to half a frame, first.

    The clip has the size of ``frame``; other frames are fitted into it.
    """

    def __init__(
        self,
        out: OutputContainer,
        index: FrameIndex,
        *,
        frame: av.VideoFrame,
        pixel_aspect: Fraction | None,
        begin_s: float,
        stop_s: float,
        span: tuple[int, int],
        rate_hz: Fraction,
    ) -> None:
        super().__init__(out, index, begin_s=begin_s, stop_s=stop_s)
        self._first, self._last = span
        self._decoder: Any = None
        sideways = round(frame.rotation / 90) % 2 == 1
        width, height = (frame.height, frame.width) if sideways else (frame.width, frame.height)
        width, height = (max(side // 2 * 2, 2) for side in (width, height))
        stream = out.add_stream("libx264", rate=rate_hz, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        encoder = stream.codec_context
        encoder.time_base = _TICK_S
        if pixel_aspect:
            encoder.sample_aspect_ratio = 1 / pixel_aspect if sideways else pixel_aspect
        for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
            setattr(encoder, name, getattr(frame, name))
        self._stream = stream
        fit = f"{width}:{height}"
        self._filters = [f"scale={fit}:force_original_aspect_ratio=decrease", f"pad={fit}:-1:-1", "format=yuv420p"]
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str, int] | None = None
        self._times_s: dict[int, float] = {}
        self._held: av.VideoFrame | None = None
        self._latest = -1
        self._near = round(1 / (2 * rate_hz * _TICK_S))  # half a frame

    def add(self, number: int, packet: av.Packet) -> None:
        """Decode a packet, and encode its frame if it is to be shown."""
        if not self._first <= number <= self._last or packet.pts is None:
            return
        if packet.stream.codec_context is not self._decoder:
            self._decode(None)
            self._decoder = packet.stream.codec_context
            prepare(self._decoder)
        self._times_s[packet.pts] = self._time_s(number)
        self._decode(packet)

    def finish(self) -> None:
        """Decode and encode what is still held."""
        self._decode(None)
        if self._held is not None:
            self._encode(self._held, 0)
        for packet in self._stream.encode(None):
            self._mux(packet)

    def _decode(self, packet: av.Packet | None) -> None:
        if self._decoder is None:
            return
        for frame in decode_packet(self._decoder, packet, SkipCounter(), 0.0):
            time_s = self._times_s.pop(frame.pts, None) if frame.pts is not None else None
            if time_s is None or time_s >= self._stop_s:
                continue
            ticks = round((time_s - self._begin_s) / _TICK_S)
            if ticks <= self._near:
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
        for fitted in self._fit(frame):
            fitted.pict_type = 0
            for packet in self._stream.encode(fitted):
                self._mux(packet)

    def _fit(self, frame: av.VideoFrame) -> Iterator[Any]:
        turn = round(frame.rotation / 90) % 4
        shape = (frame.width, frame.height, frame.format.name, turn)
        if shape != self._shape or self._graph is None:
            self._shape, self._graph = shape, Graph()
            buffer = self._graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=_TICK_S
            )
            filters = ["transpose=cclock"] * turn + self._filters
            nodes = [self._graph.add(*filter_.split("=", 1)) for filter_ in filters]
            self._graph.link_nodes(buffer, *nodes, self._graph.add("buffersink")).configure()
        self._graph.push(frame)
        yield from _pull(self._graph)


class EncodedAudio(ClipTrack):
    """Audio re-encoded in stereo or mono; gaps are silent, and where packets overlap the first one counts."""

    def __init__(
        self,
        out: OutputContainer,
        index: FrameIndex,
        *,
        template: av.AudioStream,
        begin_s: float,
        stop_s: float,
        codec: str,
    ) -> None:
        super().__init__(out, index, begin_s=begin_s, stop_s=stop_s)
        self._layout = "mono" if template.codec_context.layout.nb_channels == 1 else "stereo"
        self._stream: Any = out.add_stream(codec, rate=AUDIO_HZ, options={"b": "160k"})
        self._stream.codec_context.layout = self._layout
        copy_metadata(template, self._stream)
        self._samples = round((stop_s - begin_s) * AUDIO_HZ)
        self._graph: Graph | None = None
        self._format: tuple[str, str, int] | None = None
        self._at = 0

    def add(self, number: int, packet: av.Packet) -> None:
        """Decode a packet, and encode what is inside."""
        time_s = self._time_s(number)
        length_s = float((packet.duration or 0) * packet.time_base)
        if time_s + length_s < self._begin_s - _WARM_UP_S or time_s >= self._stop_s:
            return
        offset_s = time_s - float((stamp_of(packet) or 0) * packet.time_base)
        try:
            frames: list[Any] = packet.decode()
        except (av.error.FFmpegError, ValueError):
            return
        for frame in frames:
            frame_s = time_s if frame.time is None else frame.time + offset_s
            format_ = (frame.format.name, frame.layout.name, frame.sample_rate)
            if format_ != self._format or self._graph is None:
                self._flush()
                self._format, self._graph = format_, self._filter(frame)
            frame.time_base = Fraction(1, frame.sample_rate)
            frame.pts = round((frame_s - self._begin_s) * frame.sample_rate)
            self._graph.push(frame)
            self._encode(self._graph)

    def finish(self) -> None:
        """Encode what is still held."""
        self._flush()
        for packet in self._stream.encode(None):
            self._mux(packet)

    def _filter(self, frame: av.AudioFrame) -> Graph:
        """Build the filters that fill gaps, drop overlaps, and cut at both ends."""
        graph = Graph()
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format,
                layout=frame.layout,
                time_base=Fraction(1, frame.sample_rate),
            ),
            graph.add("aresample", f"{AUDIO_HZ}:async=1:min_hard_comp={_GAP_S}:first_pts={self._at}"),
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
        for frame in _pull(graph):
            self._at = frame.pts + frame.samples
            for packet in self._stream.encode(frame):
                self._mux(packet)


def _pull(graph: Graph) -> Iterator[Any]:
    """Yield the frames that a graph has ready."""
    with suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            yield graph.pull()


def copy_stream(template: Any, out: OutputContainer) -> Any:
    """Add a stream that holds the packets of another one."""
    stream = out.add_stream_from_template(template, opaque=True)
    if template.codec_context.codec.canonical_name == "hevc":
        stream.codec_context.codec_tag = "hvc1"  # Apple's players need it
    copy_metadata(template, stream)
    return stream


def copy_metadata(template: Stream, stream: Stream) -> None:
    """Copy title, language and default flag."""
    stream.metadata.update({key: value for key, value in template.metadata.items() if key in {"title", "language"}})
    if "title" in template.metadata:
        stream.metadata["handler_name"] = template.metadata["title"]  # where MP4 players look
    stream.disposition = template.disposition
