"""A visitor's run: a recording is encoded once, and predicted again whenever a setting changes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from kuaihl import explain
from kuaihl.encoded import Encoded, Source
from kuaihl.export import Recording, open_recording, playable, still, write_prediction, zip_clips
from kuaihl.highlights import HighlightOptions
from kuaihl.predictor import Predictor, ProgressCallback
from kuaihl.records import Prediction
from kuaihl.session import replay


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files of a run, and where the comments lie in time."""

    recording: Path
    comments: Path | None = None
    transcript: Path | None = None
    comment_offset_s: float = 0.0

    def key(self) -> tuple[object, ...]:
        """Tell files apart by place, size and time: equal keys mean equal input."""
        files = (self.recording, self.comments, self.transcript)
        stamps = [file and (file, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return (*stamps, self.comment_offset_s)


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be changed without encoding again: streamer, sources that are left out, which highlights."""

    streamer: str | None = None
    without: tuple[Source, ...] = ()
    options: HighlightOptions = field(default_factory=HighlightOptions)


@dataclass(frozen=True, slots=True)
class Run:
    """A result, its files in ``folder``; ``stills`` are data URIs (or empty), one for each highlight."""

    folder: Path
    key: tuple[object, ...]
    opened: Recording = field(repr=False)
    encoded: Encoded = field(repr=False)
    settings: Settings
    prediction: Prediction = field(repr=False)
    contributions: explain.Contributions = field(repr=False)
    player: Path | None
    stills: tuple[str, ...] = field(repr=False)

    @property
    def shown(self) -> Encoded:
        """What was encoded, without the sources that are left out."""
        return self.encoded.without(*self.settings.without)


def encode(predictor: Predictor, inputs: Inputs, *, before: Run | None, progress: ProgressCallback) -> Encoded:
    """Encode the files, or take what the run before found in the same ones."""
    if before is not None and before.key == inputs.key():
        return before.encoded
    return predictor.encode(
        inputs.recording,
        inputs.comments,
        transcript=inputs.transcript,
        comment_offset_s=inputs.comment_offset_s,
        progress=progress,
    )


def begin(predictor: Predictor, inputs: Inputs, encoded: Encoded, settings: Settings, folder: Path) -> Run:
    """Predict from what was encoded, and lay what a page shows into ``folder``."""
    opened = open_recording(inputs.recording)
    return _predict(predictor, opened, encoded, settings, folder, key=inputs.key(), player=playable(opened, folder))


def again(predictor: Predictor, run: Run, settings: Settings) -> Run:
    """Predict with other settings, into the same folder; nothing is encoded."""
    return _predict(predictor, run.opened, run.encoded, settings, run.folder, key=run.key, player=run.player)


def why(predictor: Predictor, run: Run, index: int, *, top: int = 5) -> tuple[explain.Moment, ...]:
    """Find the moments before a segment that mattered most to its prediction."""
    return explain.moments(predictor, run.shown, index, streamer=run.settings.streamer, top=top)


def play(predictor: Predictor, run: Run) -> Iterator[Prediction]:
    """Play a run as it would have arrived: a prediction after every segment, whose earlier values never change."""
    segments = []
    for step in replay(predictor, run.shown, streamer=run.settings.streamer):
        segments.append(step.found)
        yield replace(run.prediction, segments=tuple(segments), forecast=step.forecast, highlights=(), alignment=None)


def clips(run: Run, *, progress: ProgressCallback) -> Path:
    """Cut a run's highlights into one zip in its folder."""
    target = run.folder / "clips.zip"
    zip_clips(run.opened, run.prediction.highlights, target, progress=progress)
    return target


def truth_beside(recording: Path) -> tuple[float, ...] | None:
    """Read what the LVTR of each segment truly was from the truth.json beside a recording of the simulator, if any."""
    file = recording.with_name("truth.json")
    try:
        return tuple(float(segment["lvtr"]) for segment in json.loads(file.read_text(encoding="utf-8"))["segments"])
    except (OSError, ValueError, KeyError, TypeError):  # none, or a file of that name by somebody else
        return None


def _predict(
    predictor: Predictor,
    opened: Recording,
    encoded: Encoded,
    settings: Settings,
    folder: Path,
    *,
    key: tuple[object, ...],
    player: Path | None,
) -> Run:
    shown = encoded.without(*settings.without)
    prediction = predictor.score(shown, streamer=settings.streamer, options=settings.options)
    write_prediction(prediction, folder, recording=opened)
    return Run(
        folder=folder,
        key=key,
        opened=opened,
        encoded=encoded,
        settings=settings,
        prediction=prediction,
        contributions=explain.contributions(predictor, shown, streamer=settings.streamer),
        player=player,
        stills=tuple(still(opened, highlight.peak_s) for highlight in prediction.highlights),
    )
