"""Watch a recording in progress: a line for each segment as it ends, and a word when a highlight is about to come."""

import json
import math
import sys
import textwrap
import time
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kuaihl.cli.console import columns, complain, printable, rows
from kuaihl.comments.fields import as_clock
from kuaihl.comments.selection import COUNTED, select_kinds
from kuaihl.errors import KuaiHLError, RecordingError
from kuaihl.features.embeddings import SOURCES
from kuaihl.media.containers import Faults
from kuaihl.model.targets import check_sources
from kuaihl.predictor import Predictor
from kuaihl.records import SEGMENT_S, Comment, CommentLog, Segment, Skipped
from kuaihl.watch.alerts import Alarm
from kuaihl.watch.live_recording import Arrival, follow
from kuaihl.watch.log_follower import LiveComments
from kuaihl.watch.resume import ResumableSession, read_state, write_state
from kuaihl.watch.tail import POLL_S, FileTail, Mark, PipeTail, Tail

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Seen:
    """A finished segment: what was predicted for it before it came, and the forecast of the ``SEGMENT_S`` after it.

    ``target`` names what these are: LVTR, which gave its name to the first, or another share.
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


class Watch:
    """Follows a recording and its comment log, and notes each segment once.

    Parameters
    ----------
    recording
        A file that a recorder writes, or ``"-"`` for standard input: MKV, WebM, MPEG-TS, FLV or fragmented MP4.
    comments
        Its comment log, which may grow as well.
    comment_offset_s, stream_start
        As for `kuaihl.comments.reader.read`.
    counted
        Which kinds of comments count, as for `kuaihl.comments.kinds`.
    sources
        What to predict from.
    comment_wait_s
        How long to wait at the end of a segment for the log to pass it.
    streamer
        A name that the checkpoint knows; any other counts as unknown.
    target
        What to predict, as for `kuaihl.predictor.Predictor.predict`.
    threshold
        Of the forecast, for highlights; see `Alarm`.
    until_idle_s
        The recording ends when it has not grown for so long.
    out
        Where a line of JSON is appended for each segment.
    state
        Where is noted what is needed to go on after a restart: no segment is handed out twice then, and ``out`` lacks
        none. A shorter piece that a recording ended with is a segment like any other: what is recorded of it later is
        left out.

    Raises
    ------
    KuaiHLError
        An option is out of range, a file is missing, or the state is that of another watch.
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
    ) -> None:
        _check(recording, until_idle_s, comment_wait_s, threshold, out=out, state=state)
        self._wait_s, self._streamer, self._target, self._threshold = comment_wait_s, streamer, target, threshold
        self._out, self._state, self._until_idle_s = out, state, until_idle_s
        self._counted = frozenset(counted)
        self._sources = frozenset(sources) - ({"comments"} if comments is None else set())
        self._of = {
            "recording": str(Path(recording).resolve()),
            "comments": None if comments is None else str(comments.resolve()),
            "comment offset": comment_offset_s,
            "stream start": stream_start,
            "choice of comments": sorted(counted),
            "choice of sources": sorted(sources),
            "streamer": streamer,
            "target": target,
            "threshold": threshold,
        }
        self._tensors, self._told = read_state(state) if state is not None and state.exists() else ({}, None)
        self._first = self._told["next"] if self._told else 0
        self._tail: Tail = (
            PipeTail(sys.stdin.fileno(), name="standard input", until_idle_s=until_idle_s)
            if recording == STDIN
            else FileTail(Path(recording), until_idle_s=until_idle_s)
        )
        if self._told:
            self._check_state(self._of)
            with Path(recording).open("rb") as file:
                if not Mark(**self._told["mark"]).is_in(file):
                    raise KuaiHLError(
                        f"{state} is the state of another recording: {recording} does not hold what was watched of it."
                        " Name a new file with --state, or delete it to begin anew."
                    )
        from_s = self._first * SEGMENT_S
        self._comments = None
        if comments is not None and "comments" in sources:
            options = {"offset_s": comment_offset_s, "stream_start": stream_start, "from_s": from_s}
            self._comments = LiveComments(comments, **options, complain=complain)
            self._comments.read()  # at once, so that what is wrong with it is told before the models are loaded
            self._tail.meanwhile = self._comments.glance
        self._faults = Faults()
        self._predicts = ""
        self.segments = self.highlights = 0

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What had to be passed over so far."""
        return (*self._faults.skipped, *(self._comments.skipped if self._comments else ()))

    def run(self, predictor: Predictor) -> Iterator[Seen]:
        """Yield each segment when it has ended, until the recording does.

        Raises
        ------
        RecordingError, CommentLogError
            A file cannot be read.
        KuaiHLError
            ``out`` or ``state`` cannot be written, the state is that of another checkpoint, or the target is predicted
            from other sources.
        """
        self._config = predictor.config
        check_sources(self._config, self._target, self._sources)
        self._predicts = self._config.targets[self._config.target_index(self._target)].name
        session = ResumableSession(predictor, streamer=self._streamer, target=self._target)
        alarm = Alarm(self._threshold)
        self._of["checkpoint"] = predictor.checkpoint.sha256
        if self._told:
            self._check_state(self._of)
            session.recall(self._tensors, self._told["past"])
            alarm = Alarm(self._threshold, **self._told["alarm"])
            if self._is_unwritten(self._told["out_at"], self._told["line"]):
                yield self._count(Seen(**json.loads(self._told["line"])))
        with closing(self._tail):
            try:
                for arrival in follow(self._tail, self._faults, first=self._first):
                    seen = self._see(session, alarm, arrival)
                    self._note(seen, session, alarm)
                    yield self._count(seen)
            finally:
                if self._comments is not None:
                    self._comments.close()

    def introduction(self, predictor: Predictor) -> str:
        """Tell in a few lines what will be watched and predicted, and until when.

        Raises
        ------
        KuaiHLError
            The checkpoint has not learned the target.
        """
        target = predictor.config.targets[predictor.config.target_index(self._target)]
        name = target.name.upper() if target.name == "lvtr" else target.name
        end = " or its writer ends it" if self._tail.mark is None else ""
        told = [
            ("watching", f"{self._tail.name}, until nothing comes for {self._until_idle_s:g} s{end}"),
            ("comments", self._comments.told if self._comments else "none"),
            ("checkpoint", f"{predictor.checkpoint.name}, which learned {name} from {target.trained_on}"),
            ("highlights", Alarm(self._threshold).told),
        ]
        if self._first:
            told.append(("goes on", f"at {as_clock(self._first * SEGMENT_S)}, as {self._state} notes"))
        return rows(told)

    def summary(self) -> str:
        """Tell in a few lines what was watched, and why it ended."""
        told = [
            ("segments", f"{self.segments:,}"),
            ("highlights", f"{self.highlights:,} raised"),
            ("ended", self._tail.ended or "before the recording did"),
            *(
                ("skipped", f"{s.count:,} × {s.reason}{f' (first: {s.where})' if s.where else ''}")
                for s in self.skipped
            ),
        ]
        return rows(told)

    def _see(self, session: ResumableSession, alarm: Alarm, arrival: Arrival) -> Seen:
        comments = None if self._comments is None else self._written(self._comments, arrival.segment)
        step = session.feed(
            arrival.segment,
            pictures=arrival.pictures if "pictures" in self._sources else None,
            sound=arrival.sound if "speech" in self._sources else None,
            comments=comments,
        )
        alert, found, segment = alarm.hear(step.next_score), step.segment, arrival.segment
        return Seen(
            segment.index, segment.start_s, segment.end_s, found.score, step.next_score, alert.threshold, alert.highlight,
            alert.begins, found.comments, found.speech, self._predicts,
        )  # fmt: skip

    def _written(self, log: LiveComments, segment: Segment) -> list[Comment] | None:
        """Return a segment's comments; where the recording is read as fast as it comes, the log may be a bit late.

        None as long as the log is none, unless there is nothing else to predict from: NothingToPredictFromError.
        """
        until_s = time.monotonic() + (self._wait_s if self._tail.waited else 0.0)
        self._tail.waited = False
        log.read()
        while not log.has_passed(segment.end_s) and time.monotonic() < until_s:
            time.sleep(POLL_S)
            log.read()
        if self._tail.ended:
            log.read(finished=True)
        found = log.take(segment)
        if log.is_unreadable:
            check_sources(self._config, self._target, self._sources - {"comments"})
            return None
        return list(select_kinds(CommentLog("", tuple(found)), self._counted).comments)

    def _note(self, seen: Seen, session: ResumableSession, alarm: Alarm) -> None:
        """Note the state before the line: a restart can write a line that is missing, but not take one back."""
        line = json.dumps(asdict(seen), ensure_ascii=False)
        if self._state is not None:
            tensors, past = session.past()
            write_state(
                self._state,
                tensors,
                {
                    "of": self._of,
                    "next": seen.segment + 1,
                    "mark": asdict(self._tail.mark),
                    "past": past,
                    "alarm": alarm.state,
                    "line": line,
                    "out_at": self._out and (self._out.stat().st_size if self._out.exists() else 0),
                },
            )
        if self._out is not None:
            _append(self._out, line)

    def _is_unwritten(self, at: int | None, line: str) -> bool:
        """Complete the output of a watch that was killed between noting its state and writing the line."""
        if self._out is None or at is None:
            return False
        size = self._out.stat().st_size if self._out.exists() else 0
        if not at <= size < at + len(line.encode()) + 1:
            return False
        if size > at:
            with self._out.open("r+b") as file:
                file.truncate(at)
        _append(self._out, line)
        return True

    def _check_state(self, mine: dict[str, Any]) -> None:
        theirs = self._told["of"]
        other = next((name for name in mine if mine[name] != theirs.get(name)), None)
        if other is not None:
            raise KuaiHLError(
                f"{self._state} is the state of another watch: its {other} was {theirs.get(other)}, not {mine[other]}."
                " Name a new file with --state, or delete it to begin anew."
            )

    def _count(self, seen: Seen) -> Seen:
        self.segments += 1
        self.highlights += seen.begins
        return seen


def told(seen: Seen) -> str:
    """Tell of a segment in a line, and of a highlight that is about to come in one more."""
    before = "–" if seen.score is None else f"{seen.score:.1%}"
    line = (
        f"{as_clock(seen.start_s)}–{as_clock(seen.end_s)}  predicted {before:>6}  next {seen.next_score:>6.1%}  "
        f"{seen.comments:>5,} comments  "
    )
    line += textwrap.shorten(printable(seen.speech), max(columns() - len(line), 20), placeholder=" …")
    if not seen.begins:
        return line.rstrip()
    span = f"{as_clock(seen.end_s)}–{as_clock(seen.end_s + SEGMENT_S)}"
    return f"{line.rstrip()}\n{span}  HIGHLIGHT expected: {seen.next_score:.1%}, above {seen.threshold:.1%}"


def _append(path: Path, line: str) -> None:
    try:
        with path.open("ab", buffering=0) as file:
            at, data = file.tell(), f"{line}\n".encode()
            if file.write(data) < len(data):  # as where the disk is full
                file.truncate(at)
                raise OSError("there is no room for another line")
    except OSError as error:
        raise KuaiHLError(f"{path} cannot be written: {error.strerror or error}.") from error


def _check(
    recording: str, until_idle_s: float, wait_s: float, threshold: float | None, *, out: Path | None, state: Path | None
) -> None:
    if not until_idle_s > 0:
        raise KuaiHLError(f"--until-idle-s must be a number of seconds above 0, not {until_idle_s}")
    if not (math.isfinite(wait_s) and wait_s >= 0):
        raise KuaiHLError(f"--comment-wait-s must be a number of seconds from 0 up, not {wait_s}")
    if threshold is not None and not math.isfinite(threshold):
        raise KuaiHLError(f"--threshold must be a number, not {threshold}")
    if recording == STDIN and sys.stdin is None:
        raise RecordingError("standard input is closed: pipe a recording into it, or name a file")
    if recording == STDIN and state is not None:
        raise KuaiHLError(
            "--state needs a recording that is still there after a restart: write standard input to a file (with tee,"
            " say) and watch that"
        )
    for path in (out, state):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise KuaiHLError(
                f"{path} cannot be written: {'it' if path.is_dir() else path.parent} is not a "
                f"{'file' if path.is_dir() else 'folder'}"
            )
