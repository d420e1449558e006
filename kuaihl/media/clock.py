"""Map timestamps to seconds of the recording: they may start anywhere, restart, jump and return."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream

from kuaihl.media.containers import SkipCounter, read_packets

JUMP_S = 10.0
"""Timestamps that differ by more than this from those before have jumped (FFmpeg's own threshold)."""
BACK_S = 1.0
"""Timestamps that go back by more than this, to where they began, have restarted."""
PAUSE_S = 3600.0
"""A longer pause is a wrong timestamp."""
SETTLED_S = 5.0
"""A jump ahead at the end of the only track is a pause if at least this much follows it."""
FIRST_PACKETS = 32
"""Frames are reordered within so many packets."""


@dataclass(frozen=True)
class Packets:
    """Packets of a track in storage order; arrays are (packets,), in seconds of the file's clock.

    ``decode_s`` is the decoding time, ``show_s`` the presentation time, ``order`` the place among the packets of all
    tracks, ``last_s`` the last decoding time of all tracks.
    """

    decode_s: np.ndarray
    show_s: np.ndarray
    duration_s: np.ndarray
    order: np.ndarray
    last_s: float

    @cached_property
    def is_wrong(self) -> np.ndarray:
        """Whether a presentation time is wrong: before its decoding time, or after that of all frames nearby."""
        latest_s = np.full(len(self.decode_s), self.last_s)
        latest_s[:-FIRST_PACKETS] = self.decode_s[FIRST_PACKETS:]
        latest_s = np.maximum(latest_s, self.decode_s)
        return (self.show_s < self.decode_s - JUMP_S) | (self.show_s > latest_s + JUMP_S)

    @cached_property
    def at_s(self) -> np.ndarray:
        """Presentation time, where it is wrong the decoding time."""
        return np.where(self.is_wrong, self.decode_s, self.show_s)

    def until_s(self, first: int, stop: int) -> float:
        """Return when the last of some packets ends."""
        return float((self.at_s[first:stop] + self.duration_s[first:stop]).max())


@dataclass(frozen=True)
class Run:
    """Consecutive packets ``first`` to ``stop`` of a track, without a jump; ``begin_s`` is the earliest time in it."""

    track: int
    first: int
    stop: int
    order: int
    begin_s: float
    end_s: float


@dataclass
class _Left:
    """A clock that a track left: its offset, its last time, and when it was left, in seconds of the recording."""

    offset_s: float
    stamp_s: float
    at_s: float


class Clock:
    """Choose the offset from timestamps to seconds of the recording, for each track, whenever its timestamps jump."""

    def __init__(self, start_s: float, skips: SkipCounter) -> None:
        self._start_s, self._skips = start_s, skips
        self._left: list[_Left] = []
        self._changes = 0
        self._changed: dict[int, int] = {}
        self.offsets_s: dict[int, float] = {}

    def enter(
        self, track: int, begin_s: float, *, stamp_s: float, reached_s: dict[int, float], head_s: float, pause: bool
    ) -> float:
        """Return the offset of a run that begins at ``begin_s``.

        Parameters
        ----------
        stamp_s
            Where the track's previous run ended, in its own timestamps.
        reached_s
            Time that each track has reached, in seconds of the recording.
        head_s
            Time that the recording has reached.
        pause
            Whether a jump ahead may be a pause.
        """
        own_s, offset_s = reached_s.get(track), self.offsets_s.get(track)
        others = [o for t, o in self.offsets_s.items() if t != track]
        if offset_s is None:
            if not others:
                started = abs(begin_s - self._start_s) <= JUMP_S
                return self._set(track, -(self._start_s if started else begin_s))
            own_s, offset_s = head_s - PAUSE_S, others[-1]
        # Another track jumped before: stay in sync with it.
        ahead = [o for t, o in self.offsets_s.items() if self._changed.get(t, 0) > self._changed.get(track, 0)]
        for other_s in ahead:
            if own_s is None or own_s - JUMP_S <= begin_s + other_s <= head_s + JUMP_S:
                return self._set(track, other_s)
        earliest_s = head_s if own_s is None else own_s - BACK_S
        known = [offset_s, *others, *(clock.offset_s for clock in reversed(self._left))]
        for other_s in known:
            if earliest_s <= begin_s + other_s <= head_s + JUMP_S:
                return self._move(track, other_s, stamp_s, head_s)
        returned = any(
            -JUMP_S <= begin_s - clock.stamp_s <= head_s - clock.at_s + JUMP_S
            for clock in self._left
            if clock.offset_s != offset_s
        )
        gaps_s = [gap_s for o in known if 0 <= (gap_s := begin_s + o - head_s) <= PAUSE_S]
        if gaps_s and pause and not returned:
            return self._move(track, head_s + min(gaps_s) - begin_s, stamp_s, head_s)
        # A jump of one track alone continues where that track was; a restart begins where the recording is.
        base_s = own_s if gaps_s and own_s is not None else head_s
        return self._move(track, base_s - begin_s, stamp_s, head_s)

    def _set(self, track: int, offset_s: float) -> float:
        self._changed[track] = self._changes
        self.offsets_s[track] = offset_s
        return offset_s

    def _move(self, track: int, offset_s: float, stamp_s: float, head_s: float) -> float:
        before_s = self.offsets_s.get(track)
        if before_s is not None and abs(before_s - offset_s) > 1e-6:
            self._left.append(_Left(before_s, stamp_s, head_s))
            self._changes += 1
            self._skips.add("timestamps jump: what follows is placed where the recording continues", head_s)
        return self._set(track, offset_s)


def place(tracks: Sequence[Packets], start_s: float, skips: SkipCounter) -> list[np.ndarray]:
    """Return the time of every packet of every track in seconds of the recording, with hindsight."""
    clock = Clock(start_s, skips)
    times_s = [np.zeros(len(track.decode_s)) for track in tracks]
    runs = sorted((run for number, track in enumerate(tracks) for run in _runs(number, track)), key=lambda r: r.order)
    last: dict[int, Run] = {}
    for run in runs:
        reached_s = {}
        for number, earlier in last.items():
            track = tracks[number]
            stop = int(np.searchsorted(track.order, run.order)) if number != run.track else earlier.stop
            first = max(stop - FIRST_PACKETS, earlier.first)
            reached_s[number] = track.until_s(first, stop) + clock.offsets_s[number]
        # What is left of a run of another track is still to come, if it is short.
        ends_s = [
            end_s if (end_s := earlier.end_s + clock.offsets_s[n]) < reached_s[n] + JUMP_S else reached_s[n]
            for n, earlier in last.items()
        ]
        previous = last.get(run.track)
        offset_s = clock.enter(
            run.track,
            run.begin_s,
            stamp_s=previous.end_s if previous else 0.0,
            reached_s=reached_s,
            head_s=max(ends_s, default=0.0),
            pause=_may_pause(run, runs, last, tracks),
        )
        inside = slice(run.first, run.stop)
        track = tracks[run.track]
        times_s[run.track][inside] = track.at_s[inside] + offset_s
        for time_s in times_s[run.track][inside][track.is_wrong[inside]].tolist():
            skips.add("presentation timestamps are wrong: decoding timestamps are used", time_s)
        last[run.track] = run
    return times_s


def _runs(number: int, track: Packets) -> Iterator[Run]:
    """Split a track where its timestamps jump."""
    gaps_s = track.decode_s[1:] - track.decode_s[:-1] - track.duration_s[:-1]
    first = 0
    for at in [*(np.flatnonzero((gaps_s > JUMP_S) | (gaps_s < -BACK_S)) + 1).tolist(), len(track.decode_s)]:
        if at < len(track.decode_s):
            back_s = -gaps_s[at - 1]
            restarted = at - first > FIRST_PACKETS and track.decode_s[at] < track.decode_s[first] + BACK_S / 2
            if 0 < back_s <= JUMP_S and not restarted:
                continue
        if at > first:
            begin_s = float(track.at_s[first : min(first + FIRST_PACKETS, at)].min())
            yield Run(number, first, at, int(track.order[first]), begin_s, track.until_s(first, at))
        first = at


def _may_pause(run: Run, runs: Sequence[Run], last: dict[int, Run], tracks: Sequence[Packets]) -> bool:
    """Return whether a jump ahead is a pause: the track does not come back, and the other tracks jump as well."""
    previous = last.get(run.track)
    if previous is None:
        return True
    jump_s, length_s = run.begin_s - previous.end_s, run.end_s - run.begin_s
    own = [r for r in runs if r.track == run.track]
    later = [r for r in own if r.first >= run.stop]
    if later and -BACK_S <= later[0].begin_s - previous.end_s <= length_s + JUMP_S:
        return False
    others = [track for number, track in enumerate(tracks) if number in last and number != run.track]
    last_order = tracks[run.track].order[run.stop - 1]
    for track in others:
        first, stop = np.searchsorted(track.order, [run.order, last_order])
        advance_s = np.diff(track.decode_s[max(first - 1, 0) : stop + 1])
        if len(advance_s):
            return bool(advance_s.max() > jump_s / 2 or advance_s.sum() > jump_s - JUMP_S)
    if later or length_s >= SETTLED_S:
        return True
    return any(b.begin_s - a.end_s > jump_s / 2 for a, b in pairwise(own[:-1]))


def timed_packets(
    container: InputContainer, streams: Sequence[Stream], skips: SkipCounter
) -> Iterator[tuple[av.Packet, float]]:
    """Yield packets of a live recording, each with the offset from its timestamps to seconds of the recording."""
    clock = Clock(max((container.start_time or 0) / av.time_base, 0.0), skips)
    expected_s: dict[int, float] = {}
    runs: dict[int, tuple[float, int]] = {}
    for packet in read_packets(container, streams, skips):
        track, tick_s = packet.stream_index, float(packet.time_base)
        if packet.dts is None and track in expected_s:
            time_s = expected_s[track]  # reordered frames may lack a decoding time
        else:
            time_s = ((packet.pts if packet.dts is None else packet.dts) or 0) * tick_s
        gap_s = time_s - expected_s.get(track, time_s)
        began_s, count = runs.get(track, (0.0, 0))
        restarted = gap_s < -BACK_S and count > FIRST_PACKETS and time_s < began_s + BACK_S / 2
        if track not in expected_s or abs(gap_s) > JUMP_S or restarted:
            reached_s = {t: expected_s[t] + o for t, o in clock.offsets_s.items()}
            clock.enter(
                track,
                time_s,
                stamp_s=expected_s.get(track, 0.0),
                reached_s=reached_s,
                head_s=max(reached_s.values(), default=0.0),
                pause=True,
            )
            began_s, count = time_s, 0
        runs[track] = (began_s, count + 1)
        expected_s[track] = time_s + min((packet.duration or 0) * tick_s, JUMP_S)
        yield packet, clock.offsets_s[track]
