"""The command ``python -m kuaihl watch``."""

import os
import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from kuaihl.cli.options import hint
from kuaihl.request import StreamRequest


def watch(
    recording: Annotated[Positional[str], hint("", "FILE")],
    *,
    comments: Annotated[Path | None, hint("", "LOG")] = None,
    request: StreamRequest,
    comment_wait_s: Annotated[float, hint("(default: 2)", "S")] = 2.0,
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
    comment_wait_s
        How long the comments of a segment may come after it.
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

    watching = Watch(
        recording,
        comments=comments,
        comment_offset_s=request.comment_offset_s,
        comment_wait_s=comment_wait_s,
        stream_start=request.stream_start,
        counted=request.counted,
        sources=request.sources,
        streamer=request.streamer,
        target=request.target,
        threshold=threshold,
        until_idle_s=until_idle_s,
        out=out,
        state=state,
    )
    from kuaihl.predictor import Predictor

    predictor = Predictor.from_pretrained(request.checkpoint) if request.checkpoint else Predictor.from_pretrained()
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
