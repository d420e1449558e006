"""A visitor's run: what takes long is found once in the files, and predicted from again whenever a setting changes."""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from kuaihl import attribution
from kuaihl.comments import reader, selection
from kuaihl.demo.model_cache import OWN
from kuaihl.errors import CheckpointError, RecordingError
from kuaihl.export.report import still
from kuaihl.export.saving import stills_of, write_prediction
from kuaihl.features.embeddings import SOURCES, Embeddings, Source
from kuaihl.highlights import HighlightOptions
from kuaihl.media.clips.writer import zip_clips
from kuaihl.media.recording import Recording, open_recording, playable
from kuaihl.predictor import Predictor
from kuaihl.progress import Progress
from kuaihl.records import CommentLog, Prediction
from kuaihl.session import replay

_PIECE = 2**24
ProgressCallback = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files of a run, and when the recording starts, for logs by the wall clock."""

    recording: Path
    comments: Path | None = None
    transcript: Path | None = None
    stream_start: str | None = None

    @property
    def files(self) -> tuple[Path | None, ...]:
        """All of them."""
        return self.recording, self.comments, self.transcript

    def key(self, progress: Callable[[float], None]) -> tuple[str | None, ...]:
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
    of them count (see `kuaihl.comments.kinds`); which model predicts (see `kuaihl.demo.model_cache`), and what.
    """

    streamer: str | None = None
    without: tuple[Source, ...] = ()
    options: HighlightOptions = field(default_factory=HighlightOptions)
    comment_offset_s: float = 0.0
    counted: tuple[str, ...] = selection.COUNTED
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
class Given:
    """What was given, opened: the recording, the log as it was read, and what tells recording and transcript apart."""

    recording: Recording
    log: CommentLog | None = field(repr=False)
    transcript: Path | None
    key: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Material:
    """What was found in files: ``footage``, pictures and speech, takes long; ``log`` is as it was read.

    ``encoders`` tells the weights that encoded it, ``key`` the files.
    """

    key: tuple[str | None, ...]
    encoders: str
    footage: Embeddings = field(repr=False)
    log: CommentLog | None = field(repr=False)
    encoded: Embeddings = field(repr=False)


@dataclass(frozen=True, slots=True)
class Run:
    """A result, its files in ``folder``; ``stills`` are data URIs (or empty), one for each highlight."""

    folder: Path
    opened: Recording = field(repr=False)
    material: Material = field(repr=False)
    settings: Settings
    prediction: Prediction = field(repr=False)
    contributions: attribution.Contributions = field(repr=False)
    player: Path | None
    stills: tuple[str, ...] = field(repr=False)

    @property
    def shown(self) -> Embeddings:
        """What was encoded, without the sources that are left out."""
        return self.material.encoded.without(*self.settings.without)


def read(inputs: Inputs, *, progress: ProgressCallback) -> Given:
    """Open the files, which takes no GPU and not long.

    Raises
    ------
    RecordingError, CommentLogError
        One of them cannot be read.
    """
    log = inputs.comments
    if log is not None:
        log = reader.read(log, stream_start=inputs.stream_start, progress=_third(progress, 0))
    opened = open_recording(inputs.recording, progress=_third(progress, 1))
    return Given(opened, log, inputs.transcript, inputs.key(_third(progress, 2)))


def _third(progress: ProgressCallback, number: int) -> Callable[[float], None]:
    return lambda share: progress("opening", (number + share) / 3)


def encode(
    predictor: Predictor,
    given: Given,
    settings: Settings,
    *,
    before: Material | None = None,
    sources: Collection[Source] = SOURCES,
    progress: ProgressCallback,
) -> Material:
    """Encode what was given; pictures and speech are taken from what was found before if it was in the same files.

    Only ``sources`` are encoded, all of them for who may want to change what is predicted from.
    """
    encoders = encoders_of(predictor)
    if before is not None and (before.key, before.encoders) == (given.key, encoders):
        footage = before.footage
    else:
        footage = predictor.encode(
            given.recording, transcript=given.transcript, sources=[*sources], progress=Progress(progress)
        )
    log = given.log if "comments" in sources else None
    encoded = _with_comments(predictor, footage, log, settings, progress=progress)
    return Material(given.key, encoders, footage, log, encoded)


def _content(file: Path, progress: Callable[[float], None]) -> str:
    """Sum up what is in a file, for a small part of the time that encoding it takes; ``progress`` can stop it."""
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            size = max(file.stat().st_size, 1)
            while piece := opened.read(_PIECE):
                digest.update(piece)
                progress(min(opened.tell() / size, 1.0))
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
    opened: Recording,
    material: Material,
    settings: Settings,
    folder: Path,
    *,
    progress: ProgressCallback,
) -> Run:
    """Predict from what was encoded, and lay what a page shows into ``folder``."""
    player = playable(opened, folder, progress=partial(progress, "predicting"))
    return _predict(predictor, opened, material, settings, folder, player=player, progress=progress)


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
    return _predict(predictor, run.opened, material, settings, run.folder, player=run.player, progress=_silent)


def why(predictor: Predictor, run: Run, index: int, *, top: int = 5) -> tuple[attribution.Moment, ...]:
    """Find the segments before one, or before the forecast, that mattered most to its prediction."""
    features = run.contributions.features
    return attribution.moments(predictor, run.shown, index, **run.settings.as_asked, features=features, top=top)


def picture(run: Run, time_s: float) -> str:
    """Take a picture of a recording that the page cannot play, as a data URI; empty where a player shows it."""
    return still(run.opened, time_s) if run.player is None else ""


def play(predictor: Predictor, run: Run) -> Iterator[Prediction]:
    """Play a run as it would have arrived: a prediction after every segment, whose earlier values never change."""
    segments = []
    for step in replay(predictor, run.shown, **run.settings.as_asked):
        segments.append(step.found)
        yield replace(
            run.prediction, segments=tuple(segments), next_score=step.next_score, highlights=(), alignment=None
        )


def clips(run: Run, *, progress: ProgressCallback) -> Path:
    """Cut a run's highlights into one zip in its folder."""
    target = run.folder / "clips.zip"
    zip_clips(run.opened, run.prediction.highlights, target, progress=Progress(progress))
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
    return selection.select_kinds(log.shifted(settings.comment_offset_s), settings.counted)


def _with_comments(
    predictor: Predictor,
    footage: Embeddings,
    log: CommentLog | None,
    settings: Settings,
    *,
    progress: ProgressCallback | None = None,
) -> Embeddings:
    """Add the comments of a log, where the settings say, to what was encoded without: as if encoded together."""
    if log is None:
        return footage
    began = time.perf_counter()
    log = placed(log, settings)
    written = selection.by_segment(log.comments, footage.segments)
    text = predictor.text_encoder.encode_segments(
        None if footage.speech is None else [" ".join(u.text for u in part) for part in footage.speech],
        [[c.text for c in part] for part in written],
        progress=Progress(progress, "reading"),
    )
    skipped = (*footage.skipped, *log.skipped, *selection.outside(log.comments, footage.segments))
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
    progress: ProgressCallback,
) -> Run:
    shown = material.encoded.without(*settings.without)
    prediction = predictor.score(shown, **settings.as_asked, options=settings.options, progress=Progress(progress))
    contributions = attribution.contributions(
        predictor, shown, **settings.as_asked, progress=Progress(progress, "predicting")
    )
    writing = partial(progress, "writing")
    stills = stills_of(opened, prediction, progress=writing)
    write_prediction(prediction, folder, recording=opened, stills=stills, progress=writing)
    return Run(
        folder=folder,
        opened=opened,
        material=material,
        settings=settings,
        prediction=prediction,
        contributions=contributions,
        player=player,
        stills=stills,
    )


def _silent(stage: str, share: float) -> None:
    """Tell nobody."""
