"""A visitor's run: what takes long is found once in the files, and predicted from again whenever a setting changes."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from kuaihl import comments as comment_logs
from kuaihl import explain
from kuaihl.checkpoints import OWN
from kuaihl.encoded import Encoded, Source
from kuaihl.errors import CheckpointError, RecordingError
from kuaihl.export import Recording, open_recording, playable, still, write_prediction, zip_clips
from kuaihl.highlights import HighlightOptions
from kuaihl.predictor import Predictor, ProgressCallback
from kuaihl.records import CommentLog, Prediction
from kuaihl.session import replay

_PIECE = 2**24


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files of a run, and when the recording starts, for logs by the wall clock."""

    recording: Path
    comments: Path | None = None
    transcript: Path | None = None
    stream_start: str | None = None

    def key(self, progress: ProgressCallback) -> tuple[str | None, ...]:
        """Tell recordings and transcripts apart by what is in them, wherever they lie.

        Raises
        ------
        RecordingError
            One of them cannot be read.
        """
        return tuple(file and _content(file, progress) for file in (self.recording, self.transcript))


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be changed without looking and listening again.

    Streamer, sources that are left out, which highlights; what is added to the time of every comment, and which kinds
    of them count (see `kuaihl.comments.counting`); which model predicts (see `kuaihl.checkpoints`), and what.
    """

    streamer: str | None = None
    without: tuple[Source, ...] = ()
    options: HighlightOptions = field(default_factory=HighlightOptions)
    comment_offset_s: float = 0.0
    counted: tuple[str, ...] = comment_logs.COUNTED
    model: str = OWN
    target: str | None = None

    @property
    def as_asked(self) -> dict[str, str | None]:
        """What a predictor is asked for: whose stream it is, and what to predict."""
        return {"streamer": self.streamer, "target": self.target}

    @property
    def of_comments(self) -> tuple[object, ...]:
        """Those that change which comments are read where."""
        return self.comment_offset_s, frozenset(self.counted)


@dataclass(frozen=True, slots=True)
class Material:
    """What was found in files: ``footage``, pictures and speech, takes long; ``log`` is as it was read.

    ``encoders`` tells the weights that encoded it, ``key`` the files.
    """

    key: tuple[str | None, ...]
    encoders: str
    footage: Encoded = field(repr=False)
    log: CommentLog | None = field(repr=False)
    encoded: Encoded = field(repr=False)


@dataclass(frozen=True, slots=True)
class Run:
    """A result, its files in ``folder``; ``stills`` are data URIs (or empty), one for each highlight."""

    folder: Path
    opened: Recording = field(repr=False)
    material: Material = field(repr=False)
    settings: Settings
    prediction: Prediction = field(repr=False)
    contributions: explain.Contributions = field(repr=False)
    player: Path | None
    stills: tuple[str, ...] = field(repr=False)

    @property
    def shown(self) -> Encoded:
        """What was encoded, without the sources that are left out."""
        return self.material.encoded.without(*self.settings.without)


def encode(
    predictor: Predictor,
    inputs: Inputs,
    settings: Settings,
    *,
    before: Run | None = None,
    progress: ProgressCallback,
) -> Material:
    """Encode the files; pictures and speech are taken from the run before if it found them in the same ones."""
    # First, since a log that cannot be read should not cost the time that it takes to encode a recording.
    log = inputs.comments and comment_logs.read(inputs.comments, stream_start=inputs.stream_start)
    key, encoders = inputs.key(progress), encoders_of(predictor)
    if before is not None and (before.material.key, before.material.encoders) == (key, encoders):
        footage = before.material.footage
    else:
        footage = predictor.encode(inputs.recording, transcript=inputs.transcript, progress=progress)
    encoded = _with_comments(predictor, footage, log, settings, progress=progress)
    return Material(key, encoders, footage, log, encoded)


def _content(file: Path, progress: ProgressCallback) -> str:
    """Sum up what is in a file, for a small part of the time that encoding it takes; ``progress`` can stop it."""
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while piece := opened.read(_PIECE):
                digest.update(piece)
                progress("opening", 0.0)
    except OSError as error:
        raise RecordingError(f"{file} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def encoders_of(predictor: Predictor) -> str:
    """Name the weights of a predictor's encoders: by names, and by hash, since a name may stand for several."""
    digest = hashlib.sha256()
    for module in (predictor.visual_encoder, predictor.text_encoder.bert):
        for tensor in module.state_dict().values():
            digest.update(tensor.cpu().numpy())
    config = predictor.config
    return f"{config.visual_encoder} {config.text_encoder} {config.speech_model} {digest.hexdigest()}"


def begin(
    predictor: Predictor,
    recording: Path,
    material: Material,
    settings: Settings,
    folder: Path,
) -> Run:
    """Predict from what was encoded, and lay what a page shows into ``folder``."""
    opened = open_recording(recording)
    return _predict(predictor, opened, material, settings, folder, player=playable(opened, folder))


def again(predictor: Predictor, run: Run, settings: Settings) -> Run:
    """Predict with other settings or another model, into the same folder; only comments are read again, if need be.

    Raises
    ------
    CheckpointError
        The model reads other encoders, whose features the run does not have.
    """
    material = run.material
    if predictor.checkpoint != run.prediction.checkpoint and encoders_of(predictor) != material.encoders:
        raise CheckpointError(
            f"{predictor.checkpoint.name} looks and reads by other encoders: press Run to encode the recording again."
        )
    if settings.of_comments != run.settings.of_comments:
        encoded = _with_comments(predictor, material.footage, material.log, settings)
        material = replace(material, encoded=encoded)
    return _predict(predictor, run.opened, material, settings, run.folder, player=run.player)


def why(predictor: Predictor, run: Run, index: int, *, top: int = 5) -> tuple[explain.Moment, ...]:
    """Find the moments before a segment that mattered most to its prediction."""
    return explain.moments(predictor, run.shown, index, **run.settings.as_asked, top=top)


def play(predictor: Predictor, run: Run) -> Iterator[Prediction]:
    """Play a run as it would have arrived: a prediction after every segment, whose earlier values never change."""
    segments = []
    for step in replay(predictor, run.shown, **run.settings.as_asked):
        segments.append(step.found)
        yield replace(run.prediction, segments=tuple(segments), forecast=step.forecast, highlights=(), alignment=None)


def clips(run: Run, *, progress: ProgressCallback) -> Path:
    """Cut a run's highlights into one zip in its folder."""
    target = run.folder / "clips.zip"
    zip_clips(run.opened, run.prediction.highlights, target, progress=progress)
    return target


def truth_beside(recording: Path, *, target: str) -> tuple[float, ...] | None:
    """Read what the LVTR of each segment truly was from the truth.json beside a recording of the simulator, if any.

    Of another ``target`` the truth is not known.
    """
    if target != "lvtr":
        return None
    file = recording.with_name("truth.json")
    try:
        return tuple(float(segment["lvtr"]) for segment in json.loads(file.read_text(encoding="utf-8"))["segments"])
    except (OSError, ValueError, KeyError, TypeError):  # none, or a file of that name by somebody else
        return None


def placed(log: CommentLog, settings: Settings) -> CommentLog:
    """Move and choose the comments of a log as the settings say."""
    offset_s = settings.comment_offset_s
    moved = tuple(replace(c, time_s=c.time_s + offset_s) for c in log.comments) if offset_s else log.comments
    return comment_logs.counting(replace(log, comments=moved), settings.counted)


def _with_comments(
    predictor: Predictor,
    footage: Encoded,
    log: CommentLog | None,
    settings: Settings,
    *,
    progress: ProgressCallback | None = None,
) -> Encoded:
    """Add the comments of a log, where the settings say, to what was encoded without: as if encoded together."""
    if log is None:
        return footage
    began = time.perf_counter()
    log = placed(log, settings)
    written = comment_logs.by_segment(log.comments, footage.segments)
    text = predictor.text_encoder.encode_segments(
        None if footage.speech is None else [" ".join(u.text for u in part) for part in footage.speech],
        [[c.text for c in part] for part in written],
        progress=progress and (lambda done: progress("reading", done)),
    )
    skipped = (*footage.skipped, *log.skipped, *comment_logs.outside(log.comments, footage.segments))
    timings_s = dict(footage.timings_s)
    timings_s["reading"] += time.perf_counter() - began
    return replace(footage, comments=written, text=text, skipped=skipped, timings_s=timings_s)


def _predict(
    predictor: Predictor,
    opened: Recording,
    material: Material,
    settings: Settings,
    folder: Path,
    *,
    player: Path | None,
) -> Run:
    shown = material.encoded.without(*settings.without)
    prediction = predictor.score(shown, **settings.as_asked, options=settings.options)
    write_prediction(prediction, folder, recording=opened)
    return Run(
        folder=folder,
        opened=opened,
        material=material,
        settings=settings,
        prediction=prediction,
        contributions=explain.contributions(predictor, shown, **settings.as_asked),
        player=player,
        stills=tuple(still(opened, highlight.peak_s) for highlight in prediction.highlights),
    )
