"""From a visitor's files to a run: they are encoded once, and predicted again whenever a setting changes."""

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from kuaihl import attribution
from kuaihl.comments import reader, selection
from kuaihl.errors import CheckpointError, RecordingError
from kuaihl.export.report import still
from kuaihl.export.saving import save_prediction, stills_of
from kuaihl.features.embeddings import SOURCES, Embeddings, Footage, Source
from kuaihl.media.clips.writer import zip_clips
from kuaihl.media.recording import Recording, open_recording, playable
from kuaihl.predictor import Predictor
from kuaihl.progress import SILENT, Progress
from kuaihl.records import CommentLog, Prediction
from kuaihl.request import Request
from kuaihl.session import replay

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
    stills
        Pictures of the highlights as data URIs, "" without pictures.
    """

    folder: Path
    recording: Recording = field(repr=False)
    encoded: Encoded = field(repr=False)
    request: Request
    prediction: Prediction = field(repr=False)
    contributions: attribution.Contributions = field(repr=False)
    player: Path | None
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
    player = playable(recording, folder, progress=progress.stage("predicting"))
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


def still_at(run: Run, time_s: float) -> str:
    """Return a picture of a recording that browsers cannot play as a data URI, "" if they can."""
    return still(run.recording, time_s) if run.player is None else ""


def replay_predictions(predictor: Predictor, run: Run) -> Iterator[Prediction]:
    """Replay a run as if it were live: yield the prediction after every segment. Earlier scores never change."""
    segments = []
    for step in replay(predictor, run.encoded.embeddings, run.prediction):
        segments.append(step.segment)
        yield replace(
            run.prediction, segments=tuple(segments), next_score=step.next_score, highlights=(), alignments=()
        )


def cut_clips(run: Run, *, progress: Progress = SILENT) -> Path:
    """Cut the highlights of a run into a zip file in its folder."""
    path = run.folder / "clips.zip"
    zip_clips(run.recording, run.prediction.highlights, path, progress=progress)
    return path


def true_scores(recording: Path, *, target: str) -> tuple[float, ...] | None:
    """Return the true LVTR of each segment from truth.json beside a simulated recording; None if there is none."""
    if target != "lvtr":
        return None
    file = recording.with_name("truth.json")
    try:
        return tuple(float(segment["lvtr"]) for segment in json.loads(file.read_text(encoding="utf-8"))["segments"])
    except (OSError, ValueError, KeyError, TypeError):  # none, or a file of another program
        return None


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
    contributions = attribution.contributions(predictor, embeddings, prediction, progress=progress.stage("predicting"))
    taking_stills, saving = progress.stage("writing").split(2)
    stills = stills_of(recording, prediction, progress=taking_stills)
    save_prediction(prediction, folder, recording=recording, stills=stills, progress=saving)
    return Run(
        folder=folder,
        recording=recording,
        encoded=encoded,
        request=request,
        prediction=prediction,
        contributions=contributions,
        player=player,
        stills=stills,
    )
