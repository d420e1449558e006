"""The command ``python -m kuaihl watch``."""

import os
import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from kuaihl.cli.options import COUNTED, Counted, Sources, check_some, hint


def watch(
    recording: Annotated[Positional[str], hint("", "FILE")],
    *,
    comments: Annotated[Path | None, hint("", "LOG")] = None,
    comment_offset_s: Annotated[float, hint("(default: 0)", "S")] = 0.0,
    comment_wait_s: Annotated[float, hint("(default: 2)", "S")] = 2.0,
    stream_start: Annotated[str | None, hint("", "TIME")] = None,
    counted: Counted = COUNTED,
    sources: Sources = ("pictures", "speech", "comments"),
    streamer: Annotated[str | None, hint("(default: an unknown one)", "NAME")] = None,
    target: Annotated[str | None, hint("(default: the checkpoint's first)", "NAME")] = None,
    checkpoint: Annotated[str | None, hint("(default: the one that comes with KuaiHL)", "PATH_OR_REPO")] = None,
    threshold: Annotated[float | None, hint("(default: what a tenth of the last two hours exceeded)", "LVTR")] = None,
    until_idle_s: Annotated[float, hint("(default: 120)", "S")] = 120.0,
    out: Annotated[Path | None, hint("", "LINES.jsonl")] = None,
    state: Annotated[Path | None, hint("", "FILE")] = None,
) -> None:
    """Watch a recording in progress, and tell when a highlight is about to come.

    Prints a line for each segment of 30 s when it has ended, with the forecast for the next. Give it the file that a
    recorder writes; a finished one is better predicted.

    Parameters
    ----------
    recording
        What a recorder writes: MKV, WebM, MPEG-TS, FLV, fragmented MP4. A single - is standard input.
    comments
        Its comment log, which may grow as well.
    comment_offset_s
        Seconds added to the time of every comment; negative where the log started first.
    comment_wait_s
        How long the comments of a segment may come after it.
    stream_start
        When the recording starts, for logs by the wall clock: date, time and time zone, as in
        2024-05-01T20:00:00+02:00.
    counted
        What of the log counts as a comment: message, command (!...), paid, gift, bot, notice.
    sources
        What to predict from: pictures, speech, comments.
    streamer
        Whose stream it is, if the checkpoint knows them (kuaihl info names them).
    target
        What to predict, if the checkpoint learned several: lvtr, or participation, the share of chatters who write.
    checkpoint
        Folder of a checkpoint, or its id on the Hub.
    threshold
        A forecast above it raises a highlight, once until it was clearly lower.
    until_idle_s
        The recording counts as ended when it has not grown for so long.
    out
        File to which a line of JSON is appended per segment.
    state
        File that notes how far this is: started again with it, a watch goes on where it was.
    """
    from kuaihl.watch.watcher import Watch, told

    check_some("--counted", counted)
    check_some("--sources", sources)
    watching = Watch(
        recording,
        comments=comments,
        comment_offset_s=comment_offset_s,
        comment_wait_s=comment_wait_s,
        stream_start=stream_start,
        counted=counted,
        sources=sources,
        streamer=streamer,
        target=target,
        threshold=threshold,
        until_idle_s=until_idle_s,
        out=out,
        state=state,
    )
    from kuaihl.predictor import Predictor

    predictor = Predictor.from_pretrained(checkpoint) if checkpoint else Predictor.from_pretrained()
    try:
        for text in chain([watching.introduction(predictor)], map(told, watching.run(predictor))):
            if not _tell(text) and out is None:
                break
    finally:
        _tell(watching.summary())


def _tell(text: str) -> bool:
    """Print at once; False where nobody reads along any more, as behind head."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still has to flush
        return False
    return True
