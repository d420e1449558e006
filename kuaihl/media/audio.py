"""Audio of a recording, segment by segment, each sample at the time of its timestamp."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

import av
import av.error
import numpy as np

from kuaihl.media.containers import SkipCounter
from kuaihl.records import Segment

SAMPLE_RATE_HZ = 16_000
DRIFT_S = 0.05
"""Timestamps that differ by more than this from a continuous run start a new run; less is jitter."""

OVERLAP_S = 1.0
"""Audio that goes back by more than this is reported."""


def read_audio(
    packets: Iterable[tuple[av.Packet, float]], segments: Iterable[Segment], skips: SkipCounter
) -> Iterator[tuple[Segment, np.ndarray]]:
    """Yield each segment with its audio, (samples,) float32, mono, ``SAMPLE_RATE_HZ``.

    A late start, gaps and an early end are silent; where packets overlap, the first one counts. Memory holds one
    segment and one decoded frame. ``packets`` come with the offset from their timestamps to seconds of the recording.
    """
    pieces = _convert(_decode(packets, skips), skips)
    piece = next(pieces, None)
    for segment in segments:
        first, last = (round(time_s * SAMPLE_RATE_HZ) for time_s in (segment.start_s, segment.end_s))
        samples = np.zeros(last - first, np.float32)
        while piece is not None and piece[0] < last:
            at, resampled = piece
            inside = resampled[max(first - at, 0) : last - at]
            begin = max(at - first, 0)
            samples[begin : begin + len(inside)] = inside
            piece = (last, resampled[last - at :]) if at + len(resampled) > last else next(pieces, None)
        yield segment, np.nan_to_num(samples, copy=False)  # float codecs can carry NaN and infinity


def _decode(
    packets: Iterable[tuple[av.Packet, float]], skips: SkipCounter
) -> Iterator[tuple[av.AudioFrame, float | None]]:
    """Yield decoded frames with their time in seconds, None where the stream has none."""
    for packet, offset_s in packets:
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError):
            skips.add("audio that cannot be decoded", float((packet.pts or 0) * packet.time_base) + offset_s)
            continue
        for frame in frames:
            yield frame, None if frame.time is None else frame.time + offset_s


def _convert(
    frames: Iterable[tuple[av.AudioFrame, float | None]], skips: SkipCounter
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield resampled pieces in order and without overlap, each with the number of its first sample."""
    run: _Run | None = None
    until: int | None = None  # the sample after the last one yielded

    def trim(pieces: Iterator[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
        nonlocal until
        for at, samples in pieces:
            late = 0 if until is None else max(until - at, 0)
            if late < len(samples):
                until = at + len(samples)
                yield at + late, samples[late:]

    for frame, time_s in frames:
        if run is None or not run.continues(frame, time_s):
            if run is not None:
                yield from trim(run.resample(None))
            begin_s = time_s if time_s is not None else (until or 0) / SAMPLE_RATE_HZ
            if until is not None and begin_s < until / SAMPLE_RATE_HZ - OVERLAP_S:
                skips.add("audio that overlaps earlier audio", begin_s)
            run = _Run(frame, begin_s, skips)
        yield from trim(run.resample(frame))
    if run is not None:
        yield from trim(run.resample(None))


class _Run:
    """Audio without a gap and in one format, and its resampler."""

    def __init__(self, frame: av.AudioFrame, begin_s: float, skips: SkipCounter) -> None:
        self._format = _format(frame)
        self._resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE_HZ)
        self._end_s = begin_s
        self._at = round(begin_s * SAMPLE_RATE_HZ)
        self._skips = skips

    def continues(self, frame: av.AudioFrame, time_s: float | None) -> bool:
        """Return whether ``frame`` continues the run."""
        return _format(frame) == self._format and (time_s is None or abs(time_s - self._end_s) <= DRIFT_S)

    def resample(self, frame: av.AudioFrame | None) -> Iterator[tuple[int, np.ndarray]]:
        """Resample one more frame, or with None what the resampler still holds."""
        if frame is not None:
            self._end_s += frame.samples / frame.sample_rate
        try:
            converted = self._resampler.resample(frame)
        except (av.error.FFmpegError, ValueError):
            self._skips.add("audio that cannot be resampled", self._end_s)
            return
        for piece in converted:
            yield (
                self._at,
                np.frombuffer(cast("Any", piece.planes[0]), np.float32, piece.samples),
            )  # a buffer, which its stub lacks
            self._at += piece.samples


def _format(frame: av.AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate
