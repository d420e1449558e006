"""The command ``python -m kuaihl predict``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from kuaihl.cli.options import COUNTED, Counted, Sources, check_file, check_seconds, check_some, hint, switch
from kuaihl.errors import KuaiHLError
from kuaihl.request import Options

if TYPE_CHECKING:
    from kuaihl.highlights import HighlightOptions

_SOME_FAILED = 1  # an exit code; 2 is for mistakes, after which nothing was done

FindLog = Callable[[Path], Path | None]


def predict(
    recordings: Annotated[Positional[tuple[Path, ...]], hint("", "RECORDING [RECORDING ...]")],
    *,
    comments: Annotated[Path | None, hint("", "LOG")] = None,
    no_comments: Annotated[bool, switch()] = False,
    comment_offset_s: Annotated[float, hint("(default: 0)", "S")] = 0.0,
    stream_start: Annotated[str | None, hint("", "TIME")] = None,
    counted: Counted = COUNTED,
    transcript: Annotated[Path | None, hint("", "SUB")] = None,
    sources: Sources = ("pictures", "speech", "comments"),
    streamer: Annotated[str | None, hint("(default: an unknown one)", "NAME")] = None,
    target: Annotated[str | None, hint("(default: the checkpoint's first)", "NAME")] = None,
    checkpoint: Annotated[str | None, hint("(default: the one that comes with KuaiHL)", "PATH_OR_REPO")] = None,
    top: Annotated[int, hint("(default: 5)", "K")] = 5,
    min_gap_s: Annotated[float, hint("(default: 60)", "S")] = 60.0,
    max_length_s: Annotated[float, hint("(default: 300)", "S")] = 300.0,
    padding_s: Annotated[float, hint("(default: 0)", "S")] = 0.0,
    clips: Annotated[bool, switch()] = False,
    clip_padding_s: Annotated[float, hint("(default: 0)", "S")] = 0.0,
    exact_clips: Annotated[bool, switch()] = False,
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
    comment_offset_s
        Seconds added to the time of every comment; negative where the log started first.
    stream_start
        When the recording starts, for logs by the wall clock: date, time and time zone, as in
        2024-05-01T20:00:00+02:00.
    counted
        What of a log counts as a comment: message, command (!...), paid, gift, bot, notice.
    transcript
        Subtitles (SRT, VTT, ASS) to use instead of speech recognition.
    sources
        What to predict from: pictures, speech, comments.
    streamer
        Whose stream it is, if the checkpoint knows them (kuaihl info names them).
    target
        What to predict, if the checkpoint learned several: lvtr, or participation, the share of chatters who write.
    checkpoint
        Folder of a checkpoint, or its id on the Hub.
    top
        How many highlights at most.
    min_gap_s
        Seconds between two highlights at least.
    max_length_s
        How long a highlight is at most, before padding; 30 at least.
    padding_s
        Seconds added to highlights at both ends.
    clips
        Cut the highlights out of the recording too, into the folder clips of the results. Nothing is encoded anew where
        that can be avoided: a clip then begins with the keyframe before its highlight.
    clip_padding_s
        Seconds added to clips alone, on both sides; implies --clips.
    exact_clips
        Let clips begin with the very frame, which encodes them anew; implies --clips.
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
            ("--transcript", transcript),
            ("--stream-start", stream_start),
        ):
            if given is not None:
                raise KuaiHLError(f"{option} is for one recording, not for several: predict it alone")
    elif skip_done:
        raise KuaiHLError("--skip-done is for several recordings, or a folder")
    else:
        check_file(recordings[0])
    check_some("--counted", counted)
    check_some("--sources", sources)
    no_comments_told = "--no-comments" if no_comments else "" if "comments" in sources else "--sources without comments"
    if comments is not None and no_comments_told:
        raise KuaiHLError(f"--comments and {no_comments_told} exclude each other")
    for path in (log_file, transcript):
        if path is not None:
            check_file(path)
    check_seconds("--comment-offset-s", comment_offset_s)
    check_seconds("--clip-padding-s", clip_padding_s, least_s=0)
    options = Options(
        comment_offset_s=comment_offset_s,
        stream_start=stream_start,
        counted=counted,
        sources=sources,
        transcript=transcript,
        streamer=streamer,
        target=target,
        highlights=_which(top, min_gap_s=min_gap_s, max_length_s=max_length_s, padding_s=padding_s),
        clips=bool(clips or exact_clips or clip_padding_s),
        clip_padding_s=clip_padding_s,
        exact_clips=exact_clips,
    )
    find = (lambda _: None) if no_comments_told else partial(find_log, folder=comments)
    if several:
        return _several(find_recordings(recordings), out or Path(), options, find, checkpoint, skip_done=skip_done)
    recording = recordings[0]
    where = None
    if log_file is None:
        log_file, where = find(recording), "beside it" if comments is None else f"in {comments}"
    if stream_start is not None and log_file is None:
        raise KuaiHLError("--stream-start places the comments of a log: name it with --comments")
    _one(recording, log_file, out or Path(f"{recording.stem}{RESULTS}"), options, checkpoint, where=where)
    return 0


def _which(top: int, *, min_gap_s: float, max_length_s: float, padding_s: float) -> "HighlightOptions":
    """Gather which highlights are wanted."""
    from kuaihl.highlights import HighlightOptions
    from kuaihl.records import SEGMENT_S

    if top < 1:
        raise KuaiHLError(f"--top must be at least 1, not {top}")
    check_seconds("--min-gap-s", min_gap_s, least_s=0)
    check_seconds("--max-length-s", max_length_s, least_s=SEGMENT_S)
    check_seconds("--padding-s", padding_s, least_s=0)
    return HighlightOptions(top_k=top, min_gap_s=min_gap_s, padding_s=padding_s, max_length_s=max_length_s)


def _one(
    recording: Path,
    log_file: Path | None,
    out_dir: Path,
    options: Options,
    checkpoint: str | None,
    *,
    where: str | None,
) -> None:
    """Predict one recording and tell all about it; ``where`` its log was found, if nobody named it."""
    from kuaihl.cli.console import prediction_text, progress_bar, rows, say
    from kuaihl.comments.reader import read

    with progress_bar() as progress:
        # First, since a log that cannot be read should not cost the time that loading the models takes.
        log = log_file and read(log_file, offset_s=options.comment_offset_s, stream_start=options.stream_start)

        from kuaihl.atomic import check_writable
        from kuaihl.cli.batch import predict_one
        from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor

        check_writable(out_dir)
        predictor = Predictor.from_pretrained(checkpoint or DEFAULT_CHECKPOINT)
        found = predict_one(predictor, recording, log, out_dir, options, progress=progress)
    log_told = log and (f"{log_file.name} {where}, {log.format}" if where else log.format)
    told = prediction_text(
        found.prediction,
        log_told=log_told,
        streamer=options.streamer,
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


def _several(
    recordings: list[Path], out_dir: Path, options: Options, find: FindLog, checkpoint: str | None, *, skip_done: bool
) -> int:
    """Predict recordings, tell a line about each and all of them in a table; return the exit code."""
    from kuaihl.cli.batch import predict_all
    from kuaihl.cli.batch_text import step_text, table_text
    from kuaihl.cli.console import complain, progress_bar, say
    from kuaihl.cli.summary import FAILED, Row
    from kuaihl.predictor import DEFAULT_CHECKPOINT

    done: list[Row] = []
    try:
        with progress_bar() as progress:
            for row in predict_all(
                recordings,
                out_dir,
                options,
                find_log=find,
                checkpoint=checkpoint or DEFAULT_CHECKPOINT,
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
