"""Predict several recordings with one loaded model; one that cannot be read does not stop the others."""

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
from kuaihl.cli.options import PredictRequest
from kuaihl.cli.summary import DONE, DONE_BEFORE, FAILED, Row, read_summary, write_summary
from kuaihl.comments import reader, timing
from kuaihl.errors import CommentLogError, NothingToPredictFromError, RecordingError
from kuaihl.export.saving import save_prediction
from kuaihl.media.clips.writer import Clip, cut_clips
from kuaihl.media.recording import open_recording
from kuaihl.model.hub import fetch
from kuaihl.model.kuaihl import sha256_of
from kuaihl.model.targets import check_sources
from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor
from kuaihl.progress import Progress
from kuaihl.records import CommentLog, Prediction


@dataclass(frozen=True, slots=True)
class Result:
    """A prediction, a warning if the comment log does not fit the recording, and the files that were written."""

    prediction: Prediction
    warning: str | None
    files: list[Path]
    clips: list[Clip]


def predict_one(
    predictor: Predictor,
    recording: Path,
    log: CommentLog | None,
    results: Path,
    request: PredictRequest,
    *,
    progress: Progress,
) -> Result:
    """Predict a recording and write its results: all files or none, apart from the clips.

    Raises
    ------
    KuaiHLError
        Something cannot be read or written.
    """
    opened = open_recording(recording)
    available = {
        "pictures": opened.has_video,
        "speech": opened.has_audio or request.transcript is not None,
        "comments": log is not None,
    }
    check_sources(predictor.config, request.target, [source for source in request.sources if available[source]])
    prediction = predictor.predict(
        opened,
        log,
        transcript=request.transcript,
        sources=request.sources,
        counted=request.counted,
        streamer=request.streamer,
        target=request.target,
        progress=progress,
        options=request.highlight_options,
    )
    files = save_prediction(prediction, results, recording=opened)
    clips = []
    if request.clips or request.exact_clips or request.clip_padding_s:
        clips = cut_clips(
            opened,
            prediction.highlights,
            results / "clips",
            padding_s=request.clip_padding_s,
            exact=request.exact_clips,
            progress=progress,
        )
    mismatch = log and timing.mismatch(log.comments, prediction.recording.duration_s)
    return Result(prediction, warning_text(mismatch, offset_s=request.comment_offset_s), files, clips)


def predict_all(
    recordings: Sequence[Path],
    out_dir: Path,
    request: PredictRequest,
    *,
    find_log: Callable[[Path], Path | None],
    skip_done: bool,
    progress: Progress,
) -> Iterator[Row]:
    """Predict recordings into folders in ``out_dir``, and yield the row of each when its results are written.

    The summary in ``out_dir`` is written with each row. If a recording or its log cannot be read, or there is nothing
    to predict from, its row says why.

    Parameters
    ----------
    find_log
        Returns the comment log of a recording.
    skip_done
        Keep the results of an earlier run with the same recording, log, options and checkpoint.

    Raises
    ------
    KuaiHLError
        An error that would stop the next recording too, such as a missing checkpoint or a full disk.
    """
    check_writable(out_dir)
    rows = read_summary(out_dir)
    absolute = {recording: _absolute(recording) for recording in recordings}
    folders = name_results(absolute.values(), {path: row.results for path, row in rows.items()})
    checkpoint = request.checkpoint or DEFAULT_CHECKPOINT
    weights = sha256_of(fetch(checkpoint))
    load = cache(partial(Predictor.from_pretrained, checkpoint))  # when it is first needed
    for number, (recording, path) in enumerate(absolute.items(), 1):
        before, results = rows.get(path), out_dir / folders[path]
        try:
            log_file = find_log(recording)
            made_from = _fingerprint(recording, log_file, request, weights)
            if skip_done and before and before.made_from == made_from:
                rows[path] = replace(before, status=DONE_BEFORE)
            else:
                numbered = Progress(partial(_report, progress, f"[{number}/{len(absolute)}]"))
                log = log_file and reader.read(log_file, offset_s=request.comment_offset_s)
                # No variable keeps the prediction in memory during the next one.
                rows[path] = _row(
                    path,
                    log_file,
                    predict_one(load(), recording, log, results, request, progress=numbered),
                    results=results.name,
                    made_from=made_from,
                )
        except (RecordingError, CommentLogError, NothingToPredictFromError) as error:
            reason = " ".join(str(error).split())
            rows[path] = Row(
                recording=str(path), status=FAILED, reason=reason, results=before.results if before else ""
            )
        write_summary(out_dir, rows.values())
        yield rows[path]


def _row(recording: Path, log_file: Path | None, result: Result, *, results: str, made_from: str) -> Row:
    prediction = result.prediction
    best = prediction.highlights[0] if prediction.highlights else None
    return Row(
        recording=str(recording),
        status=DONE,
        duration_s=round(prediction.recording.duration_s, 3),
        comment_log="" if log_file is None else str(_absolute(log_file)),
        comments=sum(segment.comments for segment in prediction.segments) if log_file else None,
        target=prediction.target,
        highlight_start_s=best and best.start_s,
        highlight_end_s=best and best.end_s,
        highlight_predicted=best and best.score,
        took_s=round(sum(prediction.timings_s.values()), 1),
        results=results,
        warning=result.warning or "",
        made_from=made_from,
    )


def _report(progress: Progress, position: str, stage: str, fraction: float) -> None:
    progress.stage(f"{position} {stage:<10}")(fraction)  # padded, so that the bar does not move


def _absolute(path: Path) -> Path:
    """Make a path absolute; a link keeps its own name, which names the results."""
    return path.parent.resolve() / path.name


def _fingerprint(recording: Path, log_file: Path | None, request: PredictRequest, weights: str) -> str:
    """Hash everything that results depend on; of files, their size and modification time."""
    inputs = [kuaihl.__version__, weights, asdict(request), _state(recording), log_file and _state(log_file)]
    return sha256(json.dumps(inputs, default=str).encode()).hexdigest()[:16]


def _state(path: Path) -> tuple[str, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None  # reading it will fail with a better message
    return path.name, stat.st_size, stat.st_mtime_ns
