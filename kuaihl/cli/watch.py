"""The command ``kuaihl watch``: print a line for each segment of a recording in progress."""

import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from kuaihl.cli.console import columns, print_error, printable, rows, skipped_rows, span_text, target_label
from kuaihl.cli.options import Log, hint
from kuaihl.comments.fields import as_clock
from kuaihl.request import StreamRequest

if TYPE_CHECKING:
    from kuaihl.predictor import Predictor
    from kuaihl.watch.watcher import Watch, WatchedMoment, WatchedSegment


def watch(
    recording: Annotated[Positional[str], hint("", "FILE")],
    *,
    comments: Log = None,
    request: StreamRequest,
    comment_wait_s: Annotated[float, hint("(default: 2)", "S")] = 2.0,
    threshold: Annotated[float | None, hint("(default: 90 % of the forecasts of the last 2 h)", "SCORE")] = None,
    until_idle_s: Annotated[float, hint("(default: 120)", "S")] = 120.0,
    out: Annotated[Path | None, hint("", "LINES.jsonl")] = None,
    state: Annotated[Path | None, hint("", "FILE")] = None,
) -> None:
    """Watch a recording in progress: print moments that the audience reacts to, and announce highlights.

    Prints a line for each segment of 30 s when it has ended, with the forecast for the next, and from the comments
    after their first 10 min a line for each moment, 15 s after its middle. Use kuaihl predict for a finished recording.

    Parameters
    ----------
    recording
        File that a recorder is writing: MKV, WebM, MPEG-TS, FLV or fragmented MP4. - is standard input.
    comments
        Its comment log, which may be growing too.
    comment_wait_s
        How long to wait for the comments of a segment after its end, in seconds.
    threshold
        A forecast above it announces a highlight, once until the forecast is clearly lower.
    until_idle_s
        The recording ends when it does not grow for so many seconds.
    out
        File to which a JSON line per segment is appended.
    state
        File for the state, with which the watch continues after a restart.
    """
    from kuaihl.watch.watcher import Watch

    watching = Watch(
        recording,
        comments=comments,
        comment_offset_s=request.comment_offset_s,
        stream_start=request.stream_start,
        counted=request.counted,
        sources=request.sources,
        comment_wait_s=comment_wait_s,
        streamer=request.streamer,
        target=request.target,
        threshold=threshold,
        until_idle_s=until_idle_s,
        out=out,
        state=state,
        warn=print_error,
        on_moment=lambda moment: _print(moment_text(moment)),
    )
    from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor

    predictor = Predictor.from_pretrained(request.checkpoint or DEFAULT_CHECKPOINT)
    try:
        is_read = _print(introduction(watching, predictor, request.target, threshold, until_idle_s))
        for watched in watching.run(predictor):
            is_read = is_read and _print(segment_text(watched))
            if not is_read and out is None:
                break
    finally:
        _print(summary(watching))


def introduction(
    watching: "Watch", predictor: "Predictor", target: str | None, threshold: float | None, until_idle_s: float
) -> str:
    """Describe what is watched and predicted."""
    config = predictor.config
    predicted = config.targets[config.target_index(target)]
    labelled = [
        ("watching", f"{watching.recording}, until it ends or does not grow for {until_idle_s:g} s"),
        ("comments", watching.log or "none"),
        (
            "checkpoint",
            f"{predictor.checkpoint.name}: {target_label(predicted.name)}, trained on {predicted.trained_on}",
        ),
        ("moments", "none without comments" if watching.log is None else "from the reaction of the audience"),
        (
            "highlights",
            "above 90 % of the forecasts of the last 2 h, after 10 min"
            if threshold is None
            else f"above {threshold:.1%}",
        ),
    ]
    if watching.start_s:
        labelled.append(("continues", f"at {as_clock(watching.start_s)}"))
    return rows(labelled)


def segment_text(watched: "WatchedSegment") -> str:
    """Return a line for a segment, and another if a highlight begins after it."""
    from kuaihl.records import SEGMENT_S

    score = "–" if watched.score is None else f"{watched.score:.1%}"
    line = (
        f"{span_text(watched.start_s, watched.end_s)}  predicted {score:>6}  next {watched.next_score:>6.1%}  "
        f"{watched.comments:>5,} comments  "
    )
    speech = textwrap.shorten(printable(watched.speech), max(columns() - len(line), 20), placeholder=" …")
    lines = [f"{line}{speech}".rstrip()]
    if watched.begins:
        span = span_text(watched.end_s, watched.end_s + SEGMENT_S)
        lines.append(f"{span}  HIGHLIGHT expected: {watched.next_score:.1%}, above {watched.threshold:.1%}")
    return "\n".join(lines)


def moment_text(moment: "WatchedMoment") -> str:
    """Return a line for a moment."""
    return printable(f"{span_text(moment.start_s, moment.end_s)}  MOMENT, {moment.strength}: {moment.why}")


def summary(watching: "Watch") -> str:
    """Describe what was watched, and why it ended."""
    return rows(
        [
            ("segments", f"{watching.segments:,}"),
            ("moments", f"{watching.moments:,}"),
            ("highlights", f"{watching.highlights:,}"),
            ("ended", watching.ended or "before the recording"),
            *skipped_rows(watching.skipped),
        ]
    )


def _print(text: str) -> bool:
    """Print at once; return False if the reader of a pipe is gone, as behind head."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at exit
        return False
    return True
