"""From a visitor's files to a run: they are encoded once, and predicted again whenever a setting changes."""

import hashlib
import json
import math
import tempfile
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kuaihl import attribution
from kuaihl.comments import reader, selection, timing
from kuaihl.demo.layout import EXAMPLE, file_url
from kuaihl.errors import CheckpointError, KuaiHLError, RecordingError
from kuaihl.export.chapters import to_cues
from kuaihl.export.reframe import reframe
from kuaihl.export.saving import save_prediction, stills_of
from kuaihl.export.view import view_of
from kuaihl.features.embeddings import SOURCES, Embeddings, Footage, Source
from kuaihl.highlights import choose_source, select
from kuaihl.media.clips.writer import cut_clips
from kuaihl.media.recording import Recording, open_recording
from kuaihl.media.remux import is_playable, make_playable
from kuaihl.predictor import Predictor
from kuaihl.progress import SILENT, Progress
from kuaihl.reaction import measure
from kuaihl.reaction_counts import BIN_S
from kuaihl.records import (
    CheckpointInfo,
    Comment,
    CommentLog,
    Highlight,
    Modalities,
    Prediction,
    ReactionCurve,
    SegmentPrediction,
)
from kuaihl.request import Request

_BLOCK_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a visitor; a transcript is part of the request."""

    recording: Path
    comments: Path | None = None


@dataclass(frozen=True, slots=True)
class OpenedFiles:
    """A recording, its log as it was read, and hashes of recording and transcript."""

    recording: Recording
    log: CommentLog | None = field(repr=False)
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded recording, with what is needed to encode other comments.

    ``key`` identifies the files and ``encoders`` the weights that ``footage`` was encoded with; ``log`` is as it was
    read, ``embeddings`` those of ``footage`` and the selected comments.
    """

    key: tuple[str, ...]
    encoders: str
    footage: Footage = field(repr=False)
    log: CommentLog | None = field(repr=False)
    embeddings: Embeddings = field(repr=False)


@dataclass(frozen=True, slots=True)
class Run:
    """A prediction and what the page shows of it.

    Attributes
    ----------
    folder
        Holds the files of the prediction.
    player
        A file that browsers can play, if any.
    view
        What assets/player.js draws: a JSON file.
    stills
        Pictures of the highlights as data URIs, "" without pictures.
    """

    folder: Path
    recording: Recording = field(repr=False)
    encoded: Encoded = field(repr=False)
    request: Request
    prediction: Prediction = field(repr=False)
    player: Path | None
    view: Path
    stills: tuple[str, ...] = field(repr=False)


def open_files(files: Files, request: Request, *, progress: Progress = SILENT) -> OpenedFiles:
    """Open the files, which is fast and needs no GPU.

    Raises
    ------
    RecordingError, CommentLogError
        A file cannot be read.
    """
    reading, opening, hashing = progress.stage("opening").split(3)
    log = files.comments and reader.read(files.comments, stream_start=request.stream_start, progress=reading)
    recording = open_recording(files.recording, progress=opening)
    key = tuple(_hash(file, hashing) for file in (files.recording, request.transcript) if file)
    return OpenedFiles(recording, log, key)


def encode(
    predictor: Predictor,
    opened: OpenedFiles,
    request: Request,
    *,
    previous: Encoded | None = None,
    sources: Collection[Source] = SOURCES,
    progress: Progress = SILENT,
) -> Encoded:
    """Encode opened files. Pictures and speech of the ``previous`` result are reused if the files are the same.

    Only ``sources`` are encoded: by default all, so that those to predict from can be changed later.
    """
    encoders = encoders_of(predictor)
    if previous is not None and (previous.key, previous.encoders) == (opened.key, encoders):
        footage = previous.footage
    else:
        footage = predictor.encode_footage(
            opened.recording, transcript=request.transcript, sources=sources, progress=progress
        )
    log = opened.log if "comments" in sources else None
    embeddings = predictor.encode_comments(footage, _selected(log, request), progress=progress)
    return Encoded(opened.key, encoders, footage, log, embeddings)


def example_run(predictor: Predictor, folder: Path, request: Request) -> Run:
    """Predict the example."""
    folder.mkdir(parents=True, exist_ok=True)
    opened = open_files(Files(*EXAMPLE), request)
    return start_run(predictor, opened.recording, encode(predictor, opened, request), request, folder)


def start_run(
    predictor: Predictor,
    recording: Recording,
    encoded: Encoded,
    request: Request,
    folder: Path,
    *,
    progress: Progress = SILENT,
) -> Run:
    """Predict from an encoded recording, and write what the page shows into ``folder``."""
    player = make_playable(recording, folder, progress=progress.stage("predicting"))
    return _predict(predictor, recording, encoded, request, folder, player=player, progress=progress)


def update_run(predictor: Predictor, run: Run, request: Request) -> Run:
    """Predict with other settings or another model, into the same folder. Only comments are encoded again, if needed.

    Raises
    ------
    CheckpointError
        The model uses other encoders.
    """
    encoded = run.encoded
    if predictor.checkpoint != run.prediction.checkpoint and encoders_of(predictor) != encoded.encoders:
        raise CheckpointError(f"{predictor.checkpoint.name} uses other encoders. Press Run to encode the recording.")
    if _comment_settings(request) != _comment_settings(run.request):
        embeddings = predictor.encode_comments(encoded.footage, _selected(encoded.log, request))
        encoded = replace(encoded, embeddings=embeddings)
    return _predict(predictor, run.recording, encoded, request, run.folder, player=run.player)


def preview(opened: OpenedFiles, request: Request, folder: Path) -> Path:
    """Write what is known of a recording before it is encoded, for assets/player.js: player, chat and reaction."""
    recording, log = opened.recording, _selected(opened.log, request)
    reaction = log and measure(log.comments, duration_s=recording.info.duration_s)
    by = choose_source(reaction, request.by)
    highlights: tuple[Highlight, ...] = ()
    if reaction is not None and by == "reaction":
        highlights = select(segments=recording.segments, reaction=reaction, options=request.highlight_options)
    comments = log and selection.by_segment(log.comments, recording.segments)
    values = [None] * len(recording.segments) if reaction is None else reaction.by_segment(recording.segments).tolist()
    prediction = Prediction(
        recording=recording.info,
        checkpoint=CheckpointInfo("", "", "", "", ""),
        target=request.target or "lvtr",
        trained_on="",
        streamer=None,
        modalities=Modalities(pictures=False, speech=False, comments=log is not None),
        segments=tuple(
            SegmentPrediction(segment, None, "", len(comments[i]) if comments else 0, values[i])
            for i, segment in enumerate(recording.segments)
        ),
        next_score=math.nan,
        highlights=highlights,
        alignments=(),
        skipped=(),
        timings_s={},
        reaction=reaction and ReactionCurve(BIN_S, tuple(reaction.score.tolist()), None, reaction.too_little),
        highlights_by=by,
    )
    player = recording.path if is_playable(recording) else None
    return _write_view(folder, view_of(prediction) | {"partial": True}, recording, player, comments)


def kept(run: Run, clips: Any) -> Prediction:
    """Return the prediction of a run with the moments that a visitor kept, of which the player sends rank and times.

    Raises
    ------
    KuaiHLError
        A time lies outside the recording, or a moment is unknown.
    """
    by_rank = {highlight.rank: highlight for highlight in run.prediction.highlights}
    highlights = []
    try:
        for clip in clips:
            start_s, end_s = float(clip["start_s"]), float(clip["end_s"])
            if not 0 <= start_s < end_s <= run.recording.info.duration_s + 1:
                raise KuaiHLError(f"There is no clip from {start_s:g} to {end_s:g} s.")
            original = by_rank[clip["rank"]]
            peak_s = min(max(original.peak_s, start_s), end_s)
            highlights.append(replace(original, start_s=start_s, end_s=end_s, peak_s=peak_s))
    except (KeyError, TypeError, ValueError) as error:
        raise KuaiHLError("These moments are not of this result.") from error
    return replace(run.prediction, highlights=tuple(highlights))


def export_file(run: Run, name: str, clips: Any, folder: Path, *, progress: Progress = SILENT) -> Path:
    """Write the kept moments as one of the files of `save_prediction` into ``folder``, and return it."""
    prediction = kept(run, clips)
    ranks = {highlight.rank: still for highlight, still in zip(run.prediction.highlights, run.stills, strict=True)}
    stills = [ranks[highlight.rank] for highlight in prediction.highlights]
    files = save_prediction(
        prediction,
        folder,
        recording=run.recording,
        stills=stills,
        embeddings=run.encoded.embeddings,
        progress=progress.stage("writing"),
    )
    return next(file for file in files if file.name == name)


def export_clips(
    run: Run,
    clips: Any,
    folder: Path,
    *,
    vertical: bool = False,
    crop: float = 0.5,
    captions: str = "none",
    progress: Progress = SILENT,
) -> Path:
    """Cut the kept moments out of the recording, into a zip file in ``folder``.

    Parameters
    ----------
    vertical, crop
        As for `kuaihl.export.reframe.reframe`.
    captions
        Speech as "srt" files beside the clips, or "burnt" into their pictures.
    """
    utterances = [u for said in run.encoded.embeddings.speech or () for u in said]
    reframing = progress.stage("cutting")
    new = run.recording.has_video and (vertical or captions == "burnt")
    path = folder / "clips.zip"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        cut = cut_clips(run.recording, kept(run, clips).highlights, Path(scratch, "cut"), exact=new, progress=progress)
        unfinished = Path(scratch, path.name)
        with zipfile.ZipFile(unfinished, "w") as archive:
            for clip, part in zip(cut, reframing.split(len(cut)), strict=True):
                file = Path(scratch, "cut", clip.file)
                said = [
                    (max(u.start_s - clip.start_s, 0.0), min(u.end_s, clip.end_s) - clip.start_s, u.text)
                    for u in utterances
                    if u.start_s < clip.end_s and u.end_s > clip.start_s
                ]
                if new:
                    source, file = file, Path(scratch, clip.file)
                    burnt = said if captions == "burnt" else ()
                    reframe(source, file, vertical=vertical, crop=crop, captions=burnt, progress=part)
                archive.write(file, clip.file)
                if captions == "srt":
                    archive.writestr(str(Path(clip.file).with_suffix(".srt")), to_cues(said))
        unfinished.replace(path)
    return path


def encoders_of(predictor: Predictor) -> str:
    """Identify a predictor's encoders by names and by a hash, since a name may stand for several weights."""
    digest = hashlib.sha256()
    for module in (predictor.visual_encoder, predictor.text_encoder.bert):
        for tensor in module.state_dict().values():
            digest.update(tensor.cpu().numpy())
    config = predictor.config
    return f"{config.visual_encoder} {config.text_encoder} {config.speech_model} {digest.hexdigest()}"


def _hash(file: Path, progress: Progress) -> str:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            size = max(file.stat().st_size, 1)
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
                progress(min(stream.tell() / size, 1.0))
    except OSError as error:
        raise RecordingError(f"{file} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _comment_settings(request: Request) -> tuple[float, frozenset[str]]:
    return request.comment_offset_s, frozenset(request.counted)


def _selected(log: CommentLog | None, request: Request) -> CommentLog | None:
    """Move the comments of a log by the offset, and keep the kinds that count."""
    return log and selection.select_kinds(log.shifted(request.comment_offset_s), request.counted)


def _predict(
    predictor: Predictor,
    recording: Recording,
    encoded: Encoded,
    request: Request,
    folder: Path,
    *,
    player: Path | None,
    progress: Progress = SILENT,
) -> Run:
    embeddings = encoded.embeddings
    prediction = predictor.score(
        embeddings,
        streamer=request.streamer,
        target=request.target,
        sources=request.sources,
        options=request.highlight_options,
        progress=progress,
    )
    stage = progress.stage("writing")
    waterfall = attribution.waterfall(predictor, embeddings, prediction, progress=stage.part(0.0, 0.3))
    influences = []
    for highlight in prediction.highlights:
        stage(0.3)
        index = next(s.segment.index for s in prediction.segments if s.segment.end_s > highlight.peak_s)
        influences.append(attribution.influential_segments(predictor, embeddings, prediction, index) if index else ())
    stills = stills_of(recording, prediction, progress=stage.part(0.5, 1.0))
    view = view_of(prediction, stills=stills, embeddings=embeddings, waterfall=waterfall, influences=influences)
    view |= {"warning": _warning(encoded.log, request, recording)}
    return Run(
        folder=folder,
        recording=recording,
        encoded=encoded,
        request=request,
        prediction=prediction,
        player=player,
        view=_write_view(folder, view | {"files": True}, recording, player, embeddings.comments),
        stills=stills,
    )


def _write_view(
    folder: Path,
    view: dict[str, Any],
    recording: Recording,
    player: Path | None,
    comments: Sequence[Sequence[Comment]] | None,
) -> Path:
    """Add player and chat to a view, and write it under a name that depends on its content."""
    if comments is not None:
        rows = [(round(c.time_s, 2), c.user, c.text) for written in comments for c in written]
        view |= {"chat_url": file_url(_write_json(folder, "chat", rows))}
    info = recording.info
    codec = f"{info.video_codec or info.audio_codec} in {info.container}"
    view |= {
        "player": player and file_url(player),
        "player_note": ""
        if player or view.get("partial")
        else f"Browsers cannot play {codec}. Stills replace the player.",
        "has_pictures": recording.has_video,
    }
    if recording.path == EXAMPLE[0]:
        view |= {"banner": "Example: a simulated stream. Drop your recording and its chat log anywhere on this page."}
    view["id"] = hashlib.sha256(json.dumps([str(folder), view["cards"]]).encode(errors="replace")).hexdigest()[:16]
    return _write_json(folder, "view", view)


def _write_json(folder: Path, name: str, value: Any) -> Path:
    # Names and words of damaged files may not be Unicode.
    content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(errors="replace")
    path = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.json"
    path.write_bytes(content)
    return path


def _warning(log: CommentLog | None, request: Request, recording: Recording) -> str | None:
    if log is None:
        return None
    comments = log.shifted(request.comment_offset_s).comments
    mismatch = timing.mismatch(comments, recording.info.duration_s)
    return mismatch and mismatch.message
