"""Predict several recordings with one loaded model; one that cannot be read does not stop the others."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path

import kuaihl
from kuaihl.atomic import check_writable
from kuaihl.cli.console import warning_text
from kuaihl.cli.discovery import name_results
from kuaihl.cli.options import PredictRequest
from kuaihl.cli.summary import DONE, DONE_BEFORE, FAILED, Row, read_summary, write_summary
from kuaihl.comments import reader, timing
from kuaihl.engine import EngineOptions, run_each
from kuaihl.errors import CommentLogError, KuaiHLError, NothingToPredictFromError, RecordingError
from kuaihl.export.saving import save_prediction
from kuaihl.media.clips.writer import Clip, cut_clips
from kuaihl.media.recording import open_recording
from kuaihl.model.hub import fetch
from kuaihl.model.kuaihl import sha256_of
from kuaihl.model.targets import check_sources
from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor
from kuaihl.progress import SILENT, Progress
from kuaihl.records import CommentLog, Prediction

_OF_ONE_RECORDING = (RecordingError, CommentLogError, NothingToPredictFromError)


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
    execution: EngineOptions,
    progress: Progress,
) -> Iterator[tuple[int, Row]]:
    """Predict recordings into folders in ``out_dir``; yield index and row of each when its results are written.

    The summary in ``out_dir`` is written with each row. If a recording or its log cannot be read, or there is nothing
    to predict from, its row says why.

    Parameters
    ----------
    find_log
        Returns the comment log of a recording.
    skip_done
        Keep the results of an earlier run with the same recording, log, options and checkpoint.
    execution
        Where to compute. Workers on other machines need the recordings and ``out_dir`` under the same paths.
    progress
        Reports the stages of each recording, if they run in this process.

    Raises
    ------
    KuaiHLError
        An error that would stop the next recording too, such as a missing checkpoint or a full disk.
    """
    check_writable(out_dir)
    out_dir = out_dir.absolute()
    rows = read_summary(out_dir)
    paths = [_absolute(recording) for recording in recordings]
    folders = name_results(paths, {path: row.results for path, row in rows.items()})
    checkpoint = request.checkpoint or DEFAULT_CHECKPOINT
    items = [
        _Item(f"[{number}/{len(paths)}]", recording, out_dir / folders[path], rows.get(path) if skip_done else None)
        for number, (recording, path) in enumerate(zip(recordings, paths, strict=True), 1)
    ]
    order = dict.fromkeys([*rows, *paths])
    step = _Predict(
        request,
        checkpoint=checkpoint,
        weights=sha256_of(fetch(checkpoint)),
        find_log=find_log,
        progress=progress if execution.engine == "local" else SILENT,
    )
    for index, outcome in run_each(step, items, options=execution, expected=_OF_ONE_RECORDING):
        path = paths[index]
        if isinstance(outcome, KuaiHLError):
            before, reason = rows.get(path), " ".join(str(outcome).split())
            rows[path] = Row(
                recording=str(path), status=FAILED, reason=reason, results=before.results if before else ""
            )
        else:
            rows[path] = outcome
        write_summary(out_dir, [rows[known] for known in order if known in rows])
        yield index, rows[path]


@dataclass(frozen=True, slots=True)
class _Item:
    """A recording, the folder of its results, and its row of an earlier run that may be kept."""

    position: str
    recording: Path
    results: Path
    before: Row | None


@dataclass(frozen=True)
class _Predict:
    """Predict a recording and return its row. The model is loaded when it is first needed."""

    request: PredictRequest
    checkpoint: str | Path
    weights: str
    find_log: Callable[[Path], Path | None]
    progress: Progress

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor.from_pretrained(self.checkpoint)

    def __call__(self, item: _Item) -> Row:
        log_file = self.find_log(item.recording)
        made_from = _fingerprint(item.recording, log_file, self.request, self.weights)
        if item.before and item.before.made_from == made_from:
            return replace(item.before, status=DONE_BEFORE)
        log = log_file and reader.read(log_file, offset_s=self.request.comment_offset_s)
        result = predict_one(
            self._predictor,
            item.recording,
            log,
            item.results,
            self.request,
            progress=Progress(partial(_report, self.progress, item.position)),
        )
        return _row(_absolute(item.recording), log_file, result, results=item.results.name, made_from=made_from)


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
