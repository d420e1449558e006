"""The tracks of a clip: packets go in, and on into its file with times from its start; here, as they are."""

from abc import ABC, abstractmethod

import av

from kuaihl.media.clips.packets import Piece

_REORDERED = 4
"""How many frames are at most decoded ahead of being shown, where the container does not tell."""
_PRIMING = 2
"""Packets of sound before the first that is heard: codecs overlap neighbours, and MP4 can hide what comes early."""


class Track(ABC):
    """One track of a clip, whose time 0 is ``begin_s`` of the recording and whose end is ``end_s``."""

    encodes = True

    def __init__(self, out: av.container.OutputContainer, *, begin_s: float, end_s: float) -> None:
        self._out = out
        self._begin_s = begin_s
        self._stop_s = end_s
        self.packets = 0
        self.end_s = begin_s
        """When the last packet so far ends, in seconds of the recording."""

    @abstractmethod
    def take(self, piece: Piece) -> None:
        """Take the next piece of the recording that belongs here."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is still held."""

    def _mux(self, packet: av.Packet) -> None:
        end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base) + self._begin_s
        self.end_s = max(self.end_s, end_s)
        self.packets += 1
        self._out.mux(packet)


class CopiedPictures(Track):
    """Pictures as they are, from keyframe number ``first`` to frame number ``last``."""

    encodes = False

    def __init__(
        self,
        out: av.container.OutputContainer,
        source: av.VideoStream,
        *,
        begin_s: float,
        end_s: float,
        span: tuple[int, int],
    ) -> None:
        super().__init__(out, begin_s=begin_s, end_s=end_s)
        self._stream = _copy_of(source, out)
        self._first, self._last = span
        self._latest: int | None = None

    def take(self, piece: Piece) -> None:
        """Pass a packet on, unless it lies outside or is shown before the keyframe, which alone can be decoded."""
        packet = piece.packet
        if not self._first <= piece.frame <= self._last or packet.pts is None or packet.is_corrupt:
            return
        shift = round((piece.offset_s - self._begin_s) / packet.time_base)
        pts = packet.pts + shift
        if self._latest is None and not packet.is_keyframe:
            return
        if pts < 0:
            return
        if packet.dts is not None:
            dts = packet.dts + shift
        else:  # MKV does not store them
            dts = pts - _REORDERED * (packet.duration or 0) if self._latest is None else self._latest + 1
        if self._latest is not None:
            dts = max(dts, self._latest + 1)
        if dts > pts:
            return
        self._latest = dts
        packet.pts, packet.dts, packet.stream = pts, dts, self._stream
        self._mux(packet)

    def finish(self) -> None:
        """Nothing is held."""


class CopiedSound(Track):
    """Sound as it is; what comes before time 0 is decoded by players but not heard."""

    encodes = False

    def __init__(
        self, out: av.container.OutputContainer, source: av.AudioStream, *, begin_s: float, end_s: float
    ) -> None:
        super().__init__(out, begin_s=begin_s, end_s=end_s)
        self._stream = _copy_of(source, out)
        self._early: list[Piece] = []
        self._latest = -(2**62)

    def take(self, piece: Piece) -> None:
        """Pass a packet on, the last ones before time 0 included."""
        if piece.packet.is_corrupt or piece.start_s >= self._stop_s:
            return
        if piece.start_s < self._begin_s:
            self._early = [*self._early, piece][-_PRIMING:]
            return
        self.finish()
        self._write(piece)

    def finish(self) -> None:
        """Write the packets before time 0 that are held, where they lead up to it without a gap."""
        early, self._early = self._early, []
        for piece in early:
            if piece.start_s >= self._begin_s - _PRIMING * 1.5 * (piece.end_s - piece.start_s):
                self._write(piece)

    def _write(self, piece: Piece) -> None:
        packet = piece.packet
        shift = round((piece.offset_s - self._begin_s) / packet.time_base)
        stamp = (packet.dts if packet.pts is None else packet.pts) + shift
        if stamp <= self._latest:
            return
        self._latest = packet.pts = packet.dts = stamp
        packet.stream = self._stream
        self._mux(packet)


def _copy_of(source: av.stream.Stream, out: av.container.OutputContainer) -> av.stream.Stream:
    """Make a track that holds a stream as it is."""
    stream = out.add_stream_from_template(source, opaque=True)
    if source.codec_context.codec.canonical_name == "hevc":
        stream.codec_context.codec_tag = "hvc1"  # Apple's players take no other
    return stream
