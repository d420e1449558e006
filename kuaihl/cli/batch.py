"""Predict recordings one after another, with one loading of the models; a bad one does not stop the others."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path

import kuaihl
from kuaihl.atomic import check_writable
from kuaihl.cli.console import warning_text
from kuaihl.cli.discovery import name_results
from kuaihl.cli.summary import DONE, DONE_BEFORE, FAILED, Row, read_summary, write_summary
from kuaihl.comments import reader, timing
from kuaihl.errors import CommentLogError, NothingToPredictFromError, RecordingError
from kuaihl.export.saving import write_prediction
from kuaihl.media.clips.writer import Clip, cut_clips
from kuaihl.media.recording import open_recording
from kuaihl.model.hub import fetch
from kuaihl.model.kuaihl import sha256_of
from kuaihl.model.targets import check_sources
from kuaihl.predictor import Predictor
from kuaihl.progress import Progress
from kuaihl.records import CommentLog, Prediction
from kuaihl.request import Options


@dataclass(frozen=True, slots=True)
class Result:
    """A recording's prediction, a warning where its comment log does not fit, and what was written."""

    prediction: Prediction
    warning: str | None
    files: list[Path]
    clips: list[Clip]


def predict_one(
    predictor: Predictor,
    recording: Path,
    log: CommentLog | None,
    results: Path,
    options: Options,
    *,
    progress: Progress,
) -> Result:
    """Predict a recording and write its results: all or none, the clips apart.

    Raises
    ------
    KuaiHLError
        Something cannot be read or written.
    """
    opened = open_recording(recording)
    given = {"pictures": opened.has_pictures, "speech": opened.has_sound or options.transcript, "comments": log}
    # Before what takes long.
    check_sources(predictor.config, options.target, [name for name in options.sources if given[name]])
    prediction = predictor.predict(
        opened,
        log,
        transcript=options.transcript,
        sources=options.sources,
        counted=options.counted,
        streamer=options.streamer,
        target=options.target,
        progress=progress,
        options=options.highlights,
    )
    files = write_prediction(prediction, results, recording=opened)
    clips = []
    if options.clips:
        clips = cut_clips(
            opened,
            prediction.highlights,
            results / "clips",
            padding_s=options.clip_padding_s,
            exact=options.exact_clips,
            progress=progress,
        )
    misfit = log and timing.mismatch(log.comments, prediction.recording.duration_s)
    warning = warning_text(misfit, option="--comment-offset-s", given_s=options.comment_offset_s)
    return Result(prediction, warning, files, clips)


def predict_all(
    recordings: Sequence[Path],
    out_dir: Path,
    options: Options,
    *,
    find_log: Callable[[Path], Path | None],
    checkpoint: str | Path,
    skip_done: bool,
    progress: Progress,
) -> Iterator[Row]:
    """Predict recordings into folders in ``out_dir``, and yield the row of each when its results are written.

    The summary in ``out_dir`` is written anew with each row, so that whatever stops the work leaves one that is right.
    A recording or log that cannot be read, or has nothing to predict from, becomes a row that says why.

    Parameters
    ----------
    find_log
        Finds the comment log of a recording.
    checkpoint
        The weights; they are loaded once, when they are first needed.
    skip_done
        Leave what an earlier run made of the same recording, log, options and weights.

    Raises
    ------
    KuaiHLError
        What the next recording would meet as well: no weights, no space on the disk.
    """
    check_writable(out_dir)
    rows = read_summary(out_dir)
    absolute = {recording: _absolute(recording) for recording in recordings}
    folders = name_results(absolute.values(), {path: row.results for path, row in rows.items()})
    weights = sha256_of(fetch(checkpoint))
    load = cache(partial(Predictor.from_pretrained, checkpoint))
    for number, (recording, path) in enumerate(absolute.items(), 1):
        before, results = rows.get(path), folders[path]
        try:
            log_file = find_log(recording)
            made_from = _fingerprint(recording, log_file, options, weights)
            if skip_done and before and before.made_from == made_from:
                rows[path] = replace(before, status=DONE_BEFORE)
            else:
                tell = Progress(partial(_tell, progress, f"[{number}/{len(absolute)}]"))
                row = _predicted(load(), recording, log_file, out_dir / results, options, progress=tell)
                rows[path] = replace(row, made_from=made_from)
        except (RecordingError, CommentLogError, NothingToPredictFromError) as error:
            reason = " ".join(str(error).split())
            kept = before.results if before else ""
            rows[path] = Row(recording=str(path), status=FAILED, reason=reason, results=kept)
        write_summary(out_dir, rows.values())
        yield rows[path]


def _predicted(
    predictor: Predictor,
    recording: Path,
    log_file: Path | None,
    results: Path,
    options: Options,
    *,
    progress: Progress,
) -> Row:
    """Predict a recording, and keep no more of it than a row."""
    log = log_file and reader.read(log_file, offset_s=options.comment_offset_s)
    found = predict_one(predictor, recording, log, results, options, progress=progress)
    prediction = found.prediction
    best = prediction.highlights[0] if prediction.highlights else None
    return Row(
        recording=str(_absolute(recording)),
        status=DONE,
        duration_s=round(prediction.recording.duration_s, 3),
        comment_log="" if log_file is None else str(_absolute(log_file)),
        comments=sum(segment.comments for segment in prediction.segments) if log_file else None,
        target=prediction.target,
        highlight_start_s=best and best.start_s,
        highlight_end_s=best and best.end_s,
        highlight_predicted=best and best.score,
        took_s=round(sum(prediction.timings_s.values()), 1),
        results=results.name,
        warning=found.warning or "",
    )


def _tell(progress: Progress, place: str, stage: str, done: float) -> None:
    progress.stage(f"{place} {stage:<10}")(done)  # filled up, so that the bar does not jump


def _absolute(path: Path) -> Path:
    """Make a path absolute; a link keeps its own name, which says what the recording is here."""
    return path.parent.resolve() / path.name


def _fingerprint(recording: Path, log_file: Path | None, options: Options, weights: str) -> str:
    """Sum up all that results rest on; of files, size and time of the last change."""
    parts = [kuaihl.__version__, weights, asdict(options), _state(recording), log_file and _state(log_file)]
    return sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def _state(path: Path) -> tuple[str, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None  # what reads it will say so
    return path.name, found.st_size, found.st_mtime_ns
