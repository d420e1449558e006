"""The command ``kuaihl predict``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from kuaihl.cli.console import prediction_text, print_above_bar, print_error, progress_bar, rows
from kuaihl.cli.options import SWITCH, Log, PredictRequest, check_file, hint
from kuaihl.engine import EngineOptions
from kuaihl.errors import KuaiHLError

_SOME_FAILED = 1  # exit code


def predict(
    recordings: Annotated[Positional[tuple[Path, ...]], hint("", "RECORDING [RECORDING ...]")],
    *,
    comments: Log = None,
    no_comments: Annotated[bool, SWITCH] = False,
    request: PredictRequest,
    execution: EngineOptions,
    out: Annotated[Path | None, hint("(default: NAME-kuaihl here, for a recording NAME.mp4)", "DIR")] = None,
    skip_done: Annotated[bool, SWITCH] = False,
) -> int:
    """Predict the curve and the highlights of recordings, or of all recordings in a folder.

    Writes report.html, prediction.json, segments.csv, chapters (.txt for YouTube, .ffmetadata, .vtt) and the highlights
    for players and editors (.srt, .edl, .otio), and prints a summary.

    If there are several recordings, each gets a folder, and a table lists them all. A recording that cannot be read
    does not stop the others.

    Parameters
    ----------
    recordings
        Video or audio files (MP4, MOV, MKV, WebM, FLV, MPEG-TS), folders of them, or URLs, which yt-dlp downloads.
    comments
        Comment log of the recording, in any supported format, or a folder with the logs of several recordings. By
        default a log next to the recording: for NAME.mp4, for example NAME.json or NAME.live_chat.json.
    no_comments
        Do not look for a comment log.
    out
        Folder for the results; other files in it stay. For several recordings it gets a folder NAME-kuaihl for each,
        and their table, kuaihl-summary.csv.
    skip_done
        With several recordings, skip those with results of the same options in the same folder: continues an
        interrupted run.
    """
    from kuaihl.cli.discovery import RESULTS, find_log, find_recordings, sought_text
    from kuaihl.cli.download import download, url_of

    recordings = tuple(download(url, Path()) if (url := url_of(path)) else path for path in recordings)
    is_batch = len(recordings) != 1 or recordings[0].is_dir()
    log_file = None if comments is None or comments.is_dir() else comments
    without_log = no_comments or "comments" not in request.sources
    if is_batch:
        for_one = {
            "--comments LOG": log_file,
            "--transcript": request.transcript,
            "--stream-start": request.stream_start,
        }
        for option, value in for_one.items():
            if value is not None:
                raise KuaiHLError(f"{option} is for one recording, not for several: predict it alone.")
    elif skip_done or execution != EngineOptions():
        option = "--skip-done" if skip_done else "--engine"
        raise KuaiHLError(f"{option} is for several recordings, or a folder.")
    else:
        check_file(recordings[0])
    if comments is not None and without_log:
        option = "--no-comments" if no_comments else "--sources without comments"
        raise KuaiHLError(f"--comments and {option} exclude each other.")
    check_file(log_file)
    check_file(request.transcript)
    find = (lambda _: None) if without_log else partial(find_log, folder=comments)
    if is_batch:
        return _predict_all(
            find_recordings(recordings), out or Path(), request, find, skip_done=skip_done, execution=execution
        )
    recording = recordings[0]
    origin = ""
    if log_file is None and not without_log:
        log_file, origin = find(recording), " next to it" if comments is None else f" in {comments}"
        origin = origin if log_file else f"{sought_text(recording)}{origin}"
    if request.stream_start is not None and log_file is None:
        raise KuaiHLError("--stream-start needs a comment log: name it with --comments.")
    _predict_one(recording, log_file, out or Path(f"{recording.stem}{RESULTS}"), request, origin=origin)
    return 0


def _predict_one(
    recording: Path, log_file: Path | None, out_dir: Path, request: PredictRequest, *, origin: str
) -> None:
    """Predict one recording and describe the result; ``origin`` says where the log was looked for."""
    from kuaihl.atomic import check_writable
    from kuaihl.comments.reader import read

    with progress_bar() as progress:
        # Before the models are loaded, so that errors come early.
        log = log_file and read(log_file, offset_s=request.comment_offset_s, stream_start=request.stream_start)
        check_writable(out_dir)

        from kuaihl.cli.batch import predict_one
        from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor

        predictor = Predictor.from_pretrained(request.checkpoint or DEFAULT_CHECKPOINT)
        result = predict_one(predictor, recording, log, out_dir, request, progress=progress)
    text = prediction_text(
        result.prediction,
        log=f"{log_file.name}{origin}, {log.format}" if log_file and log else origin or None,
        streamer=request.streamer,
        known_streamers=predictor.config.streamers,
        warning=result.warning,
    )
    written = [("written to", f"{out_dir}: {', '.join(file.name for file in result.files)}")]
    if result.clips:
        names = [
            f"{clip.file}{f' ({clip.early_s:.1f} s early)' if clip.early_s >= 0.05 else ''}" for clip in result.clips
        ]
        written.append(("clips", f"{out_dir / 'clips'}: {', '.join(names)}"))
    print_above_bar(f"{text}\n{rows(written)}")


def _predict_all(
    recordings: list[Path],
    out_dir: Path,
    request: PredictRequest,
    find: Callable[[Path], Path | None],
    *,
    skip_done: bool,
    execution: EngineOptions,
) -> int:
    """Predict recordings, print a line about each and a table of all, and return the exit code."""
    from kuaihl.cli.batch import predict_all
    from kuaihl.cli.summary import FAILED, Row, step_text, table_text

    options = {"find_log": find, "skip_done": skip_done, "execution": execution}
    done: dict[int, Row] = {}
    try:
        with progress_bar() as progress:
            for index, row in predict_all(recordings, out_dir, request, **options, progress=progress):
                done[index] = row
                print_above_bar(step_text(recordings[index], row, number=len(done), count=len(recordings)))
    finally:  # also after Ctrl-C
        if done:
            print_above_bar(table_text([done[index] for index in sorted(done)], out_dir, count=len(recordings)))
    failed = [recording.name for index, recording in enumerate(recordings) if done[index].status == FAILED]
    if failed:
        print_error(f"{len(failed)} of {len(recordings)} recordings failed: {', '.join(failed)}")
    return _SOME_FAILED if failed else 0
