"""Recording and comment log -> Prediction: the one place where the parts meet."""

import logging
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from kuaihl.comments import reader, selection
from kuaihl.devices import choose_device
from kuaihl.dtw import banded_cost, banded_path
from kuaihl.errors import KuaiHLError, NothingToPredictFromError
from kuaihl.features.chat import utterances_by_segment
from kuaihl.features.embeddings import SOURCES, Embeddings, Footage, Source, segment_features
from kuaihl.features.pretrained import find_text_encoder, find_visual_encoder
from kuaihl.features.text import TextEncoder
from kuaihl.features.vision import VisualEncoder
from kuaihl.highlights import HighlightOptions, choose_source, select
from kuaihl.media.recording import Recording, open_recording
from kuaihl.model.config import KuaiHLConfig
from kuaihl.model.inputs import ModelInputs, build_inputs
from kuaihl.model.kuaihl import KuaiHL, load, sha256_of
from kuaihl.model.targets import check_sources, sources_of
from kuaihl.paths import assets_folder
from kuaihl.progress import SILENT, Progress
from kuaihl.reaction import measure
from kuaihl.reaction_counts import BIN_S
from kuaihl.records import (
    PICTURES_PER_SEGMENT,
    SEGMENT_S,
    Alignment,
    CheckpointInfo,
    CommentLog,
    Modalities,
    Prediction,
    ReactionCurve,
    RecordingInfo,
    SegmentPrediction,
    Skipped,
    segments_of,
)
from kuaihl.speech.recognizer import SpeechRecognizer
from kuaihl.speech.transcripts import read_transcript

logger = logging.getLogger(__name__)

DEFAULT_CHECKPOINT = assets_folder() / "checkpoint"
"""The checkpoint that comes with the project."""
STAGES = ("opening", "listening", "looking", "reading", "predicting")
ALIGNMENT_BAND = 20
"""Segments before and after its own that a segment may be matched with."""
ALIGNED: tuple[tuple[Literal["comments", "speech"], Literal["pictures", "speech"]], ...] = (
    ("comments", "pictures"),
    ("comments", "speech"),
    ("speech", "pictures"),
)
"""Sources that are aligned."""
_SEGMENTS_PER_STEP = 16


class Predictor:
    """Encoders and model, loaded once, for any number of recordings.

    Parameters
    ----------
    model
        In evaluation mode.
    visual_encoder, text_encoder
        The encoders that the model was trained with.
    checkpoint
        What the weights are, for the result.
    device
        Where to compute.
    """

    def __init__(
        self,
        model: KuaiHL,
        *,
        visual_encoder: VisualEncoder,
        text_encoder: TextEncoder,
        checkpoint: CheckpointInfo,
        device: torch.device,
    ) -> None:
        self.model = model.to(device)
        self.visual_encoder, self.text_encoder = visual_encoder, text_encoder
        self.device = device
        self.checkpoint = checkpoint
        self._noise: dict[int, float] = {}

    @classmethod
    def from_pretrained(
        cls, path_or_repo: str | Path = DEFAULT_CHECKPOINT, device: str | torch.device | None = None
    ) -> "Predictor":
        """Load a checkpoint from a folder or the Hub, with its encoders.

        Parameters
        ----------
        path_or_repo
            Folder with config.json and model.safetensors, or the id of a repository on the Hub.
        device
            The first GPU if there is one, else the CPU, if not given.

        Raises
        ------
        CheckpointError
            Where the checkpoint or one of its encoders is not found or damaged.
        """
        chosen = choose_device(device)
        model, folder = load(path_or_repo)
        config = model.config
        visual = find_visual_encoder(config.visual_encoder, checkpoint=folder)
        text = find_text_encoder(config.text_encoder, checkpoint=folder)
        return cls(
            model,
            visual_encoder=VisualEncoder(config.visual_encoder, weights=visual, device=chosen),
            text_encoder=TextEncoder(config.text_encoder, weights=text, device=chosen),
            checkpoint=CheckpointInfo(
                name=folder.name if Path(path_or_repo).is_dir() else str(path_or_repo),
                sha256=sha256_of(folder),
                visual_encoder=config.visual_encoder,
                text_encoder=config.text_encoder,
                speech_model=config.speech_model,
            ),
            device=chosen,
        )

    @property
    def config(self) -> KuaiHLConfig:
        """The configuration of the model."""
        return self.model.config

    @cached_property
    def recognizer(self) -> SpeechRecognizer:
        """The speech recognizer, loaded when it is first needed."""
        return SpeechRecognizer(self.config.speech_model, device=self.device)

    def predict(
        self,
        recording: str | Path | Recording,
        comments: str | Path | CommentLog | None = None,
        *,
        transcript: str | Path | None = None,
        streamer: str | None = None,
        target: str | None = None,
        sources: Collection[Source] = SOURCES,
        counted: Collection[str] = selection.COUNTED,
        comment_offset_s: float = 0.0,
        stream_start: str | datetime | None = None,
        progress: Progress = SILENT,
        options: HighlightOptions = HighlightOptions(),
    ) -> Prediction:
        """Predict the score of every segment of a recording, and find its highlights.

        Parameters
        ----------
        recording
            A video or sound file, or one that `open_recording` has opened.
        comments
            Its comment log, in any format that `kuaihl.comments.reader` reads, or as read by it.
        transcript
            Subtitles (SRT, VTT, ASS) that replace speech recognition.
        streamer
            A name that the checkpoint knows; any other counts as unknown.
        target
            What to predict, of ``config.targets``; the first of them if not given.
        sources
            What to predict from, of "pictures", "speech" and "comments". What is left out, or never counts for the
            target, is not read.
        counted
            Which kinds of entries in the log count as comments; see `kuaihl.comments.kinds`.
        comment_offset_s
            Added to the time of every comment.
        stream_start
            When the recording starts, for a log with times of day; see `kuaihl.comments.reader.read`. It cannot be
            given for a log that is already read.
        progress
            Reports each stage of `STAGES`.
        options
            Which highlights.

        Raises
        ------
        RecordingError, CommentLogError
            A file cannot be read.
        CheckpointError
            The checkpoint does not predict the target.
        NothingToPredictFromError
            None of the sources is there that the target is predicted from.
        KuaiHLError
            A source is unknown, or ``stream_start`` comes with a log that is already read.
        """
        needed = sources_of(self.config.targets[self.config.target_index(target)])
        embeddings = self.encode(
            recording,
            comments,
            transcript=transcript,
            sources=[source for source in _checked(sources) if source in needed],
            counted=counted,
            comment_offset_s=comment_offset_s,
            stream_start=stream_start,
            progress=progress,
        )
        return self.score(embeddings, streamer=streamer, target=target, progress=progress, options=options)

    def encode(
        self,
        recording: str | Path | Recording,
        comments: str | Path | CommentLog | None = None,
        *,
        transcript: str | Path | None = None,
        sources: Collection[Source] = SOURCES,
        counted: Collection[str] = selection.COUNTED,
        comment_offset_s: float = 0.0,
        stream_start: str | datetime | None = None,
        progress: Progress = SILENT,
    ) -> Embeddings:
        """Read and encode a recording and its log. Parameters and errors are those of `predict`."""
        _checked(sources)
        timings: dict[str, float] = {}
        with _timed(timings, progress.stage("opening")) as stage:
            # The log first: a log that cannot be read should not cost the time that a recording takes.
            log = None
            if comments is not None and "comments" in sources:
                log = _read_log(comments, comment_offset_s, stream_start, progress=stage.part(0.0, 0.5))
                log = selection.select_kinds(log, counted)
            if not isinstance(recording, Recording):
                recording = open_recording(recording, progress=stage.part(0.5, 1.0))
        footage = self.encode_footage(recording, transcript=transcript, sources=sources, progress=progress)
        embeddings = self.encode_comments(footage, log, progress=progress)
        return replace(embeddings, timings_s=timings | embeddings.timings_s)

    def encode_footage(
        self,
        recording: Recording,
        *,
        transcript: str | Path | None = None,
        sources: Collection[Source] = SOURCES,
        progress: Progress = SILENT,
    ) -> Footage:
        """Recognise the speech and encode the pictures of a recording: the first and longest part of `encode`."""
        segments = recording.segments
        timings: dict[str, float] = {}
        skipped = list(recording.skipped)
        utterances = pictures = None
        with _timed(timings, progress.stage("listening")) as stage:
            if "speech" in sources and transcript is not None:
                utterances = read_transcript(transcript, segments=segments)
            elif "speech" in sources and recording.has_audio:
                sound, count = recording.read_audio(), len(segments)
                utterances = self.recognizer.transcribe(sound, progress=lambda done: stage(done / count))
                skipped += sound.skipped
        with _timed(timings, progress.stage("looking")) as stage:
            if "pictures" in sources and recording.has_video:
                pictures, skipped_pictures = self._encode_pictures(recording, progress=stage)
                skipped += skipped_pictures
        return Footage(
            recording=recording.info,
            segments=segments,
            speech=None if utterances is None else utterances_by_segment(utterances, segments),
            pictures=pictures,
            skipped=tuple(skipped),
            timings_s=timings,
        )

    def encode_comments(self, footage: Footage, log: CommentLog | None, *, progress: Progress = SILENT) -> Embeddings:
        """Encode comments and speech as text, and measure both: the second part of `encode`, for any log."""
        segments, speech = footage.segments, footage.speech
        timings = dict(footage.timings_s)
        skipped = list(footage.skipped)
        with _timed(timings, progress.stage("reading")) as stage:
            comments = None if log is None else selection.by_segment(log.comments, segments)
            text = self.text_encoder.encode(
                None if speech is None else [" ".join(u.text for u in utterances) for utterances in speech],
                None if comments is None else [[c.text for c in written] for written in comments],
                progress=stage.part(0.0, 0.9),
            )
            features = segment_features(
                segments,
                pictures=footage.pictures,
                speech=speech,
                comments=comments,
                text=text,
                progress=stage.part(0.9, 1.0),
            )
            reaction = None
            if log is not None:
                halves = np.random.default_rng(0)
                reaction = measure(log.comments, duration_s=footage.recording.duration_s, generator=halves)
        if log is not None:
            skipped += [*log.skipped, *selection.outside(log.comments, segments)]
        return Embeddings(footage.recording, segments, speech, comments, features, tuple(skipped), timings, reaction)

    def _encode_pictures(self, recording: Recording, *, progress: Progress) -> tuple[np.ndarray, tuple[Skipped, ...]]:
        """Encode the pictures, a few segments at a time: (segments, 3, picture_dim) float16, and what was skipped."""
        count = len(recording.segments)
        out = np.empty((count, PICTURES_PER_SEGMENT, self.visual_encoder.dim), dtype=np.float16)
        batch: list[np.ndarray] = []
        done = 0
        reading = recording.read_frames(poll=lambda: progress((done - len(batch)) / count))
        for segment, pictures in reading:
            batch.append(pictures)
            done = segment.index + 1
            if len(batch) == _SEGMENTS_PER_STEP or done == count:
                vectors = self.visual_encoder.encode(np.concatenate(batch))
                out[done - len(batch) : done] = vectors.reshape(len(batch), PICTURES_PER_SEGMENT, -1)
                batch.clear()
            progress((done - len(batch)) / count)
        return out, reading.skipped

    def score(
        self,
        embeddings: Embeddings,
        *,
        streamer: str | None = None,
        target: str | None = None,
        sources: Collection[Source] = SOURCES,
        progress: Progress = SILENT,
        options: HighlightOptions = HighlightOptions(),
    ) -> Prediction:
        """Predict from an encoded recording. Parameters and errors are those of `predict`."""
        row = self.config.target_index(target)
        present = [source for source in _checked(sources) if getattr(embeddings.modalities, source)]
        used = check_sources(self.config, target, present)
        reaction = embeddings.reaction if "comments" in sources else None
        if reaction is None and options.by == "reaction":
            raise NothingToPredictFromError("Highlights by reaction need a comment log.")
        timings = dict(embeddings.timings_s)
        with _timed(timings, progress.stage("predicting")) as stage:
            hidden = [source for source in SOURCES if source not in used]
            inputs = self.build_inputs(embeddings, streamer=streamer, target=target, excluded=hidden)
            scores = self.model.sweep(inputs, target=row, progress=stage).tolist()
            curve = [None, *scores[1:-1]]
            alignments = self._align(embeddings, used, target=target)
        by_segment = [None] * len(curve) if reaction is None else reaction.by_segment(embeddings.segments).tolist()
        sentence_ends_s = [u.end_s for utterances in embeddings.speech or () for u in utterances]
        speech = embeddings.speech if "speech" in used else None
        comments = embeddings.comments if "comments" in used else None
        return Prediction(
            recording=embeddings.recording,
            checkpoint=self.checkpoint,
            target=self.config.targets[row].name,
            trained_on=self.config.targets[row].trained_on,
            streamer=streamer,
            modalities=Modalities(**{source: source in used for source in SOURCES}),
            segments=tuple(
                SegmentPrediction(
                    segment,
                    score,
                    speech="" if speech is None else " ".join(u.text for u in speech[i]),
                    comments=0 if comments is None else len(comments[i]),
                    reaction=by_segment[i],
                )
                for i, (segment, score) in enumerate(zip(embeddings.segments, curve, strict=True))
            ),
            next_score=scores[-1],
            highlights=select(
                forecast=curve,
                segments=embeddings.segments,
                reaction=reaction,
                boundaries_s=sentence_ends_s,
                noise=self.noise(target),
                options=options,
            ),
            highlights_by=choose_source(reaction, options.by),
            reaction=reaction
            and ReactionCurve(BIN_S, tuple(reaction.score.tolist()), reaction.reliability, reaction.too_little),
            alignments=alignments,
            skipped=embeddings.skipped,
            timings_s=timings,
        )

    def noise(self, target: str | None = None) -> float:
        """Measure, once, how far the scores stray from their median on half an hour of black pictures and silence."""
        row = self.config.target_index(target)
        if row not in self._noise:
            self._noise[row] = self._measure_noise(target, row)
        return self._noise[row]

    def _measure_noise(self, target: str | None, row: int) -> float:
        segments = segments_of(60 * SEGMENT_S)
        black = self.visual_encoder.encode(np.zeros((1, 128, 128, 3), np.uint8))
        footage = Footage(
            recording=RecordingInfo("still", segments[-1].end_s, "", None, None, None, None),
            segments=tuple(segments),
            speech=[()] * len(segments),
            pictures=np.tile(black, (len(segments), PICTURES_PER_SEGMENT, 1)),
            skipped=(),
            timings_s={},
        )
        inputs = self.build_inputs(self.encode_comments(footage, CommentLog("none", ())), target=target)
        scores = self.model.sweep(inputs, target=row).numpy()[1:]
        return float(np.abs(scores - np.median(scores)).max())

    def build_inputs(
        self,
        embeddings: Embeddings,
        *,
        streamer: str | None = None,
        target: str | None = None,
        excluded: Collection[str] = (),
    ) -> ModelInputs:
        """Build the model's inputs, a batch of one.

        What the target never reads is hidden, and so is what is ``excluded``, of `kuaihl.model.config.EXCLUDABLE`.
        """
        never = self.config.targets[self.config.target_index(target)].excluded_inputs
        return build_inputs(
            [embeddings.features],
            picture_dim=self.config.picture_dim,
            text_dim=self.config.text_dim,
            streamers=[self.model.streamer_index(streamer)],
            excluded=[{*never, *excluded}],
        )

    def inputs_of(
        self, embeddings: Embeddings, prediction: Prediction, *, excluded: Collection[str] = ()
    ) -> ModelInputs:
        """Build the inputs that a prediction was made from, without what is ``excluded``."""
        unused = [source for source in SOURCES if not getattr(prediction.modalities, source)]
        return self.build_inputs(
            embeddings, streamer=prediction.streamer, target=prediction.target, excluded=[*unused, *excluded]
        )

    @torch.inference_mode()
    def _align(self, embeddings: Embeddings, used: Collection[Source], *, target: str | None) -> tuple[Alignment, ...]:
        """Align comments, speech and pictures in pairs, each as the model reads it alone."""
        tokens: dict[Source, np.ndarray] = {}
        for source in used:
            others = [other for other in SOURCES if other != source]
            inputs = self.build_inputs(embeddings, target=target, excluded=others)
            name = "pictures" if source == "pictures" else "text"
            if inputs.mask(name).all():
                tokens[source] = getattr(self.model.tokenize(inputs.to(self.device)), name)[0].float().cpu().numpy()
        return tuple(
            align(tokens[source], tokens[other], source=source, other=other)
            for source, other in ALIGNED
            if source in tokens and other in tokens
        )


def align(
    tokens: np.ndarray,
    other_tokens: np.ndarray,
    *,
    source: Literal["comments", "speech"],
    other: Literal["pictures", "speech"],
) -> Alignment:
    """Align the tokens (segments, dim) of two sources.

    The steps are those of Eq. 4. With a weight of 2 for the diagonal (Sakoe and Chiba, 1978) a path costs nothing for
    a detour, and wanders: see train.experiments.comment_lag.
    """
    cost = banded_cost(tokens, other_tokens, band=ALIGNMENT_BAND)
    path = banded_path(cost)
    distance = float(sum(cost[i, j - i + ALIGNMENT_BAND] for i, j in path))
    return Alignment(source, other, path=tuple(path), distance=distance, band=ALIGNMENT_BAND, cost=cost)


def _checked(sources: Collection[Source]) -> Collection[Source]:
    if unknown := [source for source in sources if source not in SOURCES]:
        raise KuaiHLError(f"There is no source {unknown[0]!r}: sources are {', '.join(SOURCES)}.")
    return sources


def _read_log(
    comments: str | Path | CommentLog, offset_s: float, stream_start: str | datetime | None, *, progress: Progress
) -> CommentLog:
    if not isinstance(comments, CommentLog):
        return reader.read(comments, offset_s=offset_s, stream_start=stream_start, progress=progress)
    if stream_start is not None:
        raise KuaiHLError(
            "stream_start cannot change a comment log that is already read. Pass it to kuaihl.read_comments, or pass "
            "the path of the log."
        )
    return comments.shifted(offset_s)


@contextmanager
def _timed(timings: dict[str, float], stage: Progress) -> Iterator[Progress]:
    """Measure how long a stage takes, and report its beginning and its end."""
    stage(0.0)
    began = time.perf_counter()
    yield stage
    timings[stage.name] = time.perf_counter() - began
    stage(1.0)
    logger.info("%s took %.1f s", stage.name, timings[stage.name])
