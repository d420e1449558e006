"""The command ``python -m kuaihl predict``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from kuaihl.cli.options import PredictRequest, check_file, hint, switch
from kuaihl.errors import KuaiHLError

_SOME_FAILED = 1  # an exit code; 2 is for mistakes, after which nothing was done

FindLog = Callable[[Path], Path | None]


def predict(
    recordings: Annotated[Positional[tuple[Path, ...]], hint("", "RECORDING [RECORDING ...]")],
    *,
    comments: Annotated[Path | None, hint("", "LOG")] = None,
    no_comments: Annotated[bool, switch()] = False,
    request: PredictRequest,
    out: Annotated[Path | None, hint("(default: NAME-kuaihl here, for a recording NAME.mp4)", "DIR")] = None,
    skip_done: Annotated[bool, switch()] = False,
) -> int:
    """Predict the LVTR curve and the highlights of a recording, of several, or of all in a folder.

    Writes report.html, prediction.json, segments.csv, curve.html, alignment.html, chapters (.txt for YouTube,
    .ffmetadata, .vtt) and the highlights for players and editors (.srt, .edl, .otio), and prints a summary.

    Several recordings get a folder each, and a table of all; one that cannot be read does not stop the others.

    Parameters
    ----------
    recordings
        Video or sound files: MP4, MOV, MKV, WebM, FLV, MPEG-TS; or folders of them.
    comments
        The recording's comment log, in any format that KuaiHL reads, or a folder with the logs of several. If not
        given, a log of its name is taken that lies beside it: for NAME.mp4, say, NAME.json or NAME.live_chat.json.
    no_comments
        Look for no comment log.
    out
        Folder for the results; other files in it stay. Of several recordings it will hold a folder NAME-kuaihl for
        each, and their table, kuaihl-summary.csv.
    skip_done
        Of several recordings, leave out those that were predicted before, into the same folder and with the same
        options: to go on with what was stopped.
    """
    from kuaihl.cli.discovery import RESULTS, find_log, find_recordings

    several = len(recordings) != 1 or recordings[0].is_dir()
    log_file = None if comments is None or comments.is_dir() else comments
    if several:
        for option, given in (
            ("--comments LOG", log_file),
            ("--transcript", request.transcript),
            ("--stream-start", request.stream_start),
        ):
            if given is not None:
                raise KuaiHLError(f"{option} is for one recording, not for several: predict it alone")
    elif skip_done:
        raise KuaiHLError("--skip-done is for several recordings, or a folder")
    else:
        check_file(recordings[0])
    no_log = no_comments or "comments" not in request.sources
    if comments is not None and no_log:
        excluding = "--no-comments" if no_comments else "--sources without comments"
        raise KuaiHLError(f"--comments and {excluding} exclude each other")
    for path in (log_file, request.transcript):
        if path is not None:
            check_file(path)
    find = (lambda _: None) if no_log else partial(find_log, folder=comments)
    if several:
        return _several(find_recordings(recordings), out or Path(), request, find, skip_done=skip_done)
    recording = recordings[0]
    where = None
    if log_file is None:
        log_file, where = find(recording), "beside it" if comments is None else f"in {comments}"
    if request.stream_start is not None and log_file is None:
        raise KuaiHLError("--stream-start places the comments of a log: name it with --comments")
    _one(recording, log_file, out or Path(f"{recording.stem}{RESULTS}"), request, where=where)
    return 0


def _one(
    recording: Path,
    log_file: Path | None,
    out_dir: Path,
    request: PredictRequest,
    *,
    where: str | None,
) -> None:
    """Predict one recording and tell all about it; ``where`` its log was found, if nobody named it."""
    from kuaihl.cli.console import prediction_text, progress_bar, rows, say
    from kuaihl.comments.reader import read

    with progress_bar() as progress:
        # First, since a log that cannot be read should not cost the time that loading the models takes.
        log = log_file and read(log_file, offset_s=request.comment_offset_s, stream_start=request.stream_start)

        from kuaihl.atomic import check_writable
        from kuaihl.cli.batch import predict_one
        from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor

        check_writable(out_dir)
        predictor = Predictor.from_pretrained(request.checkpoint or DEFAULT_CHECKPOINT)
        found = predict_one(predictor, recording, log, out_dir, request, progress=progress)
    log_told = log and (f"{log_file.name} {where}, {log.format}" if where else log.format)
    told = prediction_text(
        found.prediction,
        log_told=log_told,
        streamer=request.streamer,
        known_streamers=predictor.config.streamers,
        warning=found.warning,
    )
    written = [("written to", f"{out_dir}: {', '.join(file.name for file in found.files)}")]
    if found.clips:
        begins = [
            f"{clip.file}{f' ({clip.early_s:.1f} s early)' if clip.early_s >= 0.05 else ''}" for clip in found.clips
        ]
        written.append(("clips", f"{out_dir / 'clips'}: {', '.join(begins)}"))
    say(f"{told}\n{rows(written)}")


def _several(recordings: list[Path], out_dir: Path, request: PredictRequest, find: FindLog, *, skip_done: bool) -> int:
    """Predict recordings, tell a line about each and all of them in a table; return the exit code."""
    from kuaihl.cli.batch import predict_all
    from kuaihl.cli.batch_text import step_text, table_text
    from kuaihl.cli.console import complain, progress_bar, say
    from kuaihl.cli.summary import FAILED, Row

    done: list[Row] = []
    try:
        with progress_bar() as progress:
            for row in predict_all(
                recordings,
                out_dir,
                request,
                find_log=find,
                skip_done=skip_done,
                progress=progress,
            ):
                done.append(row)
                say(step_text(recordings[len(done) - 1], row, number=len(done), count=len(recordings)))
    finally:  # what is done counts, whatever stopped the rest
        if done:
            say(table_text(done, out_dir, count=len(recordings)))
    failed = [recording.name for recording, row in zip(recordings, done, strict=True) if row.status == FAILED]
    if failed:
        complain(f"{len(failed)} of {len(recordings)} recordings failed: {', '.join(failed)}")
    return _SOME_FAILED if failed else 0
