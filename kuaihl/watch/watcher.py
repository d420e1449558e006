"""Watch a recording in progress: moments as the audience reacts, and a forecast after each segment."""

import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kuaihl.comments.selection import COUNTED, select_kinds
from kuaihl.errors import KuaiHLError, RecordingError
from kuaihl.features.embeddings import SOURCES
from kuaihl.media.containers import SkipCounter
from kuaihl.model.targets import check_sources
from kuaihl.predictor import Predictor
from kuaihl.reaction import LiveReaction
from kuaihl.reaction_counts import BIN_S
from kuaihl.records import SEGMENT_S, Comment, CommentLog, Segment, Skipped, Strength
from kuaihl.watch.alerts import Alarm
from kuaihl.watch.live_recording import Arrival, follow
from kuaihl.watch.log_follower import LiveComments
from kuaihl.watch.resume import ResumableSession, read_state, write_state
from kuaihl.watch.tail import POLL_S, FileTail, Mark, PipeTail

logger = logging.getLogger(__name__)

STDIN = "-"


@dataclass(frozen=True, slots=True)
class WatchedMoment:
    """A moment to which the audience reacts, as `kuaihl.reaction.Moment`, with its evidence in one line."""

    start_s: float
    end_s: float
    peak_s: float
    score: float
    strength: Strength
    why: str


@dataclass(frozen=True, slots=True)
class WatchedSegment:
    """A segment that has ended, its score, and the forecast for the segment after it.

    Attributes
    ----------
    score
        What was predicted for the segment before it began; None for the first.
    next_score
        Forecast for the next ``SEGMENT_S``.
    threshold
        What the forecast must exceed for a highlight to begin; None during warm-up.
    highlight, begins
        Whether the next segment is part of a highlight, and whether the highlight begins there.
    comments
        Number of comments.
    speech
        Transcript.
    target
        What the scores are, such as lvtr.
    moments
        Raised since the segment before ended.
    """

    segment: int
    start_s: float
    end_s: float
    score: float | None
    next_score: float
    threshold: float | None
    highlight: bool
    begins: bool
    comments: int
    speech: str
    target: str
    moments: list[WatchedMoment] = field(default_factory=list)

    @classmethod
    def from_json(cls, line: str) -> "WatchedSegment":
        """Read a line of ``Watch.out``."""
        values = json.loads(line)
        return cls(**{**values, "moments": [WatchedMoment(**moment) for moment in values["moments"]]})


class Watch:
    """Follow a recording and its comment log, and return each segment once.

    Moments are raised from the log as soon as it shows them, `kuaihl.reaction.LIVE_DELAY_S` after their middle, by
    `kuaihl.reaction.LiveReaction`. A log that can only be read completely shows them at the end of the segment.

    Parameters
    ----------
    recording
        A file that a recorder is writing, or ``"-"`` for standard input: MKV, WebM, MPEG-TS, FLV or fragmented MP4.
    comments
        Its comment log, which may be growing too.
    comment_offset_s, stream_start
        As for `kuaihl.comments.reader.read`.
    counted
        Kinds of log entries that count as comments, as for `kuaihl.comments.selection.select_kinds`.
    sources
        What to predict from.
    comment_wait_s
        How long to wait for the comments of a segment after its end.
    streamer, target
        As for `kuaihl.predictor.Predictor.predict`.
    threshold
        Fixed threshold of highlights; see `Alarm`.
    until_idle_s
        The recording ends when it does not grow for so long.
    out
        File to which a JSON line per segment is appended.
    state
        File for what is needed to continue after a restart: then no segment is returned twice, and no line of ``out``
        is missing. A shorter last segment stays as it is, even if the recording goes on later.
    warn
        Called with a warning while the watch goes on.
    on_moment
        Called with each moment at once. It is in the next segment that is returned, too.

    Attributes
    ----------
    segments, highlights, moments
        How many segments were returned, how many highlights began, and how many moments were raised.

    Raises
    ------
    KuaiHLError
        A parameter is out of range, a file is missing, or the state belongs to another watch.
    """

    def __init__(
        self,
        recording: str,
        *,
        comments: Path | None = None,
        comment_offset_s: float = 0.0,
        stream_start: str | None = None,
        counted: Collection[str] = COUNTED,
        sources: Collection[str] = SOURCES,
        comment_wait_s: float = 2.0,
        streamer: str | None = None,
        target: str | None = None,
        threshold: float | None = None,
        until_idle_s: float = 120.0,
        out: Path | None = None,
        state: Path | None = None,
        warn: Callable[[str], None] = logger.warning,
        on_moment: Callable[[WatchedMoment], object] = lambda _: None,
    ) -> None:
        _check(recording, until_idle_s, comment_wait_s, threshold, out=out, state=state)
        self._comment_wait_s, self._threshold, self._out, self._state_file = comment_wait_s, threshold, out, state
        self._streamer, self._target = streamer, target
        self._counted = frozenset(counted)
        self._sources = frozenset(sources) - ({"comments"} if comments is None else set())
        self._settings = {
            "recording": str(Path(recording).resolve()),
            "comments": None if comments is None else str(comments.resolve()),
            "comment_offset_s": comment_offset_s,
            "stream_start": stream_start,
            "counted": sorted(counted),
            "sources": sorted(sources),
            "streamer": streamer,
            "target": target,
            "threshold": threshold,
        }
        self._saved_tensors, self._saved = read_state(state) if state is not None and state.exists() else ({}, {})
        self._first = self._saved.get("next", 0)
        self._tail = (
            PipeTail(sys.stdin.fileno(), name="standard input", until_idle_s=until_idle_s)
            if recording == STDIN
            else FileTail(Path(recording), until_idle_s=until_idle_s)
        )
        if self._saved:
            self._check_state()
            with Path(recording).open("rb") as file:
                if not Mark(**self._saved["mark"]).is_in(file):
                    raise KuaiHLError(
                        f"{state} is the state of another recording, which does not begin like {recording}. Name a new "
                        "file with --state, or delete it to start again."
                    )
        self._faults = SkipCounter()
        self.segments = self.highlights = self.moments = 0
        self._on_moment = on_moment
        self._moments: list[WatchedMoment] = []  # since the last segment
        self._reaction, self._reacted_until_s, self._segment_end_s = LiveReaction(), 0.0, self.start_s + SEGMENT_S
        self._comments = None
        if comments is not None and "comments" in sources:
            self._comments = LiveComments(comments, offset_s=comment_offset_s, stream_start=stream_start, warn=warn)
            self._comments.read()  # so that an unreadable log is an error before the models are loaded
            self._tail.on_wait = self._poll
            if self._saved:  # its moments were raised before the restart
                self._react(self.start_s, is_new=False)
                self._comments.take(Segment(0, 0.0, self.start_s))

    @property
    def start_s(self) -> float:
        """Where the watch begins: after the last segment of the state."""
        return self._first * SEGMENT_S

    @property
    def recording(self) -> str:
        """Name of the recording."""
        return self._tail.name

    @property
    def log(self) -> str | None:
        """Name and format of the comment log, if there is one."""
        return self._comments and self._comments.description

    @property
    def ended(self) -> str:
        """Why the recording ended; empty before."""
        return self._tail.ended

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was left out so far."""
        return (*self._faults.skipped, *(self._comments.skipped if self._comments else ()))

    def run(self, predictor: Predictor) -> Iterator[WatchedSegment]:
        """Yield each segment when it has ended, until the recording ends.

        Raises
        ------
        RecordingError, CommentLogError
            A file cannot be read.
        KuaiHLError
            ``out`` or ``state`` cannot be written, the state belongs to another checkpoint, or there is nothing to
            predict the target from.
        """
        config = predictor.config
        check_sources(config, self._target, self._sources)
        session = ResumableSession(predictor, streamer=self._streamer, target=self._target)
        alarm = Alarm(self._threshold)
        self._settings["checkpoint"] = predictor.checkpoint.sha256
        if self._saved:
            self._check_state()
            session.restore(self._saved_tensors, self._saved["session"])
            alarm = Alarm(self._threshold, **self._saved["alarm"])
            if self._complete_output(self._saved["out_size"], self._saved["line"]):
                yield self._count(WatchedSegment.from_json(self._saved["line"]))
        target = config.targets[config.target_index(self._target)].name
        with closing(self._tail):
            try:
                for arrival in follow(self._tail, self._faults, first=self._first):
                    comments = self._read_comments(predictor, arrival.segment)
                    self._segment_end_s = arrival.segment.end_s + SEGMENT_S
                    watched = self._predict(session, alarm, arrival, comments, target=target)
                    self._save(watched, session, alarm)
                    yield self._count(watched)
            finally:
                if self._comments is not None:
                    self._comments.close()

    def _predict(
        self,
        session: ResumableSession,
        alarm: Alarm,
        arrival: Arrival,
        comments: list[Comment] | None,
        *,
        target: str,
    ) -> WatchedSegment:
        step = session.feed(
            arrival.segment,
            pictures=arrival.pictures if "pictures" in self._sources else None,
            sound=arrival.sound if "speech" in self._sources else None,
            comments=comments,
        )
        alert = alarm.update(step.next_score)
        moments, self._moments = self._moments, []
        return WatchedSegment(
            segment=arrival.segment.index,
            start_s=arrival.segment.start_s,
            end_s=arrival.segment.end_s,
            score=step.segment.score,
            next_score=step.next_score,
            threshold=alert.threshold,
            highlight=alert.highlight,
            begins=alert.begins,
            comments=step.segment.comments,
            speech=step.segment.speech,
            target=target,
            moments=moments,
        )

    def _poll(self) -> None:
        """Read the log while the recording waits; what it shows of later segments is not used yet."""
        if self._comments is not None:
            self._comments.poll()
            self._react(min(self._comments.last_comment_s, self._segment_end_s))

    def _react(self, until_s: float, *, is_new: bool = True) -> None:
        """Raise the moments that the comments before ``until_s`` show."""
        if self._comments is None or until_s < self._reacted_until_s + BIN_S:
            return
        until_s = until_s // BIN_S * BIN_S
        for comment in self._select(self._comments.between(self._reacted_until_s, until_s)):
            self._reaction.add(comment)
        self._reacted_until_s = until_s
        for moment in self._reaction.advance(until_s):
            if is_new:
                why = self._reaction.evidence(moment).summary
                span = moment.start_s, moment.end_s, moment.time_s
                self._moments.append(WatchedMoment(*span, moment.score, moment.strength or "weak", why))
                self._on_moment(self._moments[-1])

    def _select(self, comments: Sequence[Comment]) -> list[Comment]:
        return list(select_kinds(CommentLog("", tuple(comments)), self._counted).comments)

    def _read_comments(self, predictor: Predictor, segment: Segment) -> list[Comment] | None:
        """Return a segment's comments, after waiting for the log if the recording is read as fast as it is written.

        Return None while the log is unreadable; NothingToPredictFromError if there is nothing else to predict from.
        """
        if self._comments is None:
            return None
        stop_s = time.monotonic() + (self._comment_wait_s if self._tail.has_waited else 0.0)
        self._tail.has_waited = False
        self._comments.read()
        while self._comments.last_comment_s < segment.end_s and time.monotonic() < stop_s:
            time.sleep(POLL_S)
            self._comments.read()
        if self._tail.ended:
            self._comments.read(finished=True)
        self._react(segment.end_s)
        comments = self._comments.take(segment)
        if self._comments.is_unreadable:
            check_sources(predictor.config, self._target, self._sources - {"comments"})
            return None
        return self._select(comments)

    def _save(self, watched: WatchedSegment, session: ResumableSession, alarm: Alarm) -> None:
        """Write the state, then the line: a restart can write a missing line, but not remove one."""
        line = json.dumps(asdict(watched), ensure_ascii=False)
        if self._state_file is not None and self._tail.mark is not None:
            tensors, values = session.state()
            saved = {
                "settings": self._settings,
                "next": watched.segment + 1,
                "mark": asdict(self._tail.mark),
                "session": values,
                "alarm": alarm.state,
                "line": line,
                "out_size": self._out and _size(self._out),
            }
            write_state(self._state_file, tensors, saved)
        if self._out is not None:
            _append(self._out, line)

    def _complete_output(self, size: int | None, line: str) -> bool:
        """Write the last line if the process was killed between saving the state and writing the line."""
        if self._out is None or size is None or not size <= _size(self._out) < size + len(line.encode()) + 1:
            return False
        if _size(self._out) > size:
            os.truncate(self._out, size)
        _append(self._out, line)
        return True

    def _check_state(self) -> None:
        saved = self._saved["settings"]
        for name, value in self._settings.items():
            if value != saved.get(name):
                raise KuaiHLError(
                    f"{self._state_file} is the state of another watch: its {name} was {saved.get(name)}, not {value}. "
                    "Name a new file with --state, or delete it to start again."
                )

    def _count(self, watched: WatchedSegment) -> WatchedSegment:
        self.segments += 1
        self.highlights += watched.begins
        self.moments += len(watched.moments)
        return watched


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(path: Path, line: str) -> None:
    """Append a line, or nothing if it does not fit."""
    try:
        with path.open("ab", buffering=0) as file:
            size, data = file.tell(), f"{line}\n".encode()
            if file.write(data) < len(data):  # as on a full disk
                file.truncate(size)
                raise OSError("no space for another line")
    except OSError as error:
        raise KuaiHLError(f"{path} cannot be written: {error.strerror or error}.") from error


def _check(
    recording: str,
    until_idle_s: float,
    comment_wait_s: float,
    threshold: float | None,
    *,
    out: Path | None,
    state: Path | None,
) -> None:
    """Raise an error for parameters that are out of range, and for files that cannot be written."""
    if not until_idle_s > 0:
        raise KuaiHLError(f"until_idle_s must be a number of seconds above 0, not {until_idle_s}.")
    if not 0 <= comment_wait_s < math.inf:
        raise KuaiHLError(f"comment_wait_s must be a number of seconds, not {comment_wait_s}.")
    if threshold is not None and not math.isfinite(threshold):
        raise KuaiHLError(f"threshold must be a number, not {threshold}.")
    if recording == STDIN and sys.stdin is None:
        raise RecordingError("Standard input is closed: pipe a recording into it, or name a file.")
    if recording == STDIN and state is not None:
        raise KuaiHLError(
            "--state needs a recording that still exists after a restart: write standard input to a file (for example "
            "with tee) and watch that."
        )
    for path in (out, state):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise KuaiHLError(f"{path} cannot be written: it is a folder, or its folder does not exist.")
