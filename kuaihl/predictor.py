"""Recording and comment log -> Prediction: the one place where the parts meet."""

import logging
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from kuaihl.comments import reader, selection
from kuaihl.devices import choose_device
from kuaihl.dtw import banded_cost, banded_path
from kuaihl.errors import KuaiHLError
from kuaihl.features.chat import utterances_by_segment
from kuaihl.features.embeddings import SOURCES, Embeddings, Source
from kuaihl.features.pretrained import find_text_encoder, find_visual_encoder
from kuaihl.features.text import TextEncoder
from kuaihl.features.vision import VisualEncoder
from kuaihl.highlights import HighlightOptions, select
from kuaihl.media.recording import Recording, open_recording
from kuaihl.model.config import KuaiHLConfig
from kuaihl.model.inputs import PICTURES, ModelInputs, gathered
from kuaihl.model.kuaihl import KuaiHL, load, sha256_of
from kuaihl.progress import SILENT, Progress
from kuaihl.records import Alignment, CheckpointInfo, CommentLog, Prediction, SegmentPrediction, Skipped
from kuaihl.speech.recognizer import SpeechRecognizer
from kuaihl.speech.transcripts import read_transcript

logger = logging.getLogger(__name__)

DEFAULT_CHECKPOINT = Path(__file__).parent.parent / "assets" / "checkpoint"
"""The checkpoint that comes with the project."""
STAGES = ("opening", "listening", "looking", "reading", "predicting")
ALIGNMENT_BAND = 20
"""How many segments before and after its own a text may be matched with."""
_SEGMENTS_PER_STEP = 16


class Predictor:
    """Encoders and model, loaded once, for any number of recordings.

    Parameters
    ----------
    model
        In evaluation mode.
    visual_encoder, text_encoder
        Those whose features the model was trained on.
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
        """The model's configuration: what it was trained on and for, its streamers and encoders."""
        return self.model.config

    @cached_property
    def recognizer(self) -> SpeechRecognizer:
        """Loaded when a recording first needs it: one with a transcript does not."""
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
        """Predict the LVTR, or another target, of every segment of a recording, and what follows from it.

        Parameters
        ----------
        recording
            A video or sound file, or one that `open_recording` has opened.
        comments
            Its comment log, in any format that `kuaihl.comments.reader` reads, or as read by it.
        transcript
            Subtitles (SRT, VTT, ASS) to be used instead of speech recognition.
        streamer
            A name that the checkpoint knows; any other counts as unknown.
        target
            What to predict, of ``config.targets``; the first of them if not given.
        sources
            What to predict from, of "pictures", "speech" and "comments". What is left out, or never counts for the
            target, is not read.
        counted
            Which kinds of entries in the log count as comments; see `kuaihl.comments.kinds`.
        comment_offset_s, stream_start
            Added to the time of every comment; when the recording starts: for `kuaihl.comments.reader.read`.
        progress
            Reports each stage of `STAGES`.
        options
            Which highlights.

        Raises
        ------
        RecordingError, CommentLogError
            Where a file cannot be read.
        CheckpointError
            Where the checkpoint does not predict the target.
        KuaiHLError
            Where a source is unknown, or none is left that the target is predicted from.
        """
        unseen = self.config.targets[self.config.target_index(target)].excluded_inputs
        encoded = self.encode(
            recording,
            comments,
            transcript=transcript,
            sources=[source for source in sources if source not in unseen],
            counted=counted,
            comment_offset_s=comment_offset_s,
            stream_start=stream_start,
            progress=progress,
        )
        return self.score(encoded, streamer=streamer, target=target, progress=progress, options=options)

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
        """Read and encode a recording; parameters and errors as for `predict`."""
        if unknown := [source for source in sources if source not in SOURCES]:
            raise KuaiHLError(f"There is no source {unknown[0]!r}: sources are {', '.join(SOURCES)}.")
        timings: dict[str, float] = {}
        skipped: list[Skipped] = []
        with _timed(timings, progress.stage("opening")) as stage:
            # The log first, since one that cannot be read should not cost the time that a recording takes.
            log = None
            if comments is not None and "comments" in sources:
                log = _read_log(comments, comment_offset_s, stream_start, progress=stage.part(0.0, 0.5))
                log = selection.select_kinds(log, counted)
            opened = recording
            if not isinstance(opened, Recording):
                opened = open_recording(opened, progress=stage.part(0.5, 1.0))
            segments, listens = opened.segments, "speech" in sources
            spoken = read_transcript(transcript, segments=segments) if listens and transcript is not None else None
        with _timed(timings, progress.stage("listening")) as stage:
            if listens and spoken is None and opened.has_sound:
                sound, count = opened.sound(), len(segments)
                spoken = self.recognizer.transcribe(sound, progress=lambda done: stage(done / count))
                skipped += sound.skipped
            speech = None if spoken is None else utterances_by_segment(spoken, segments)
        with _timed(timings, progress.stage("looking")) as stage:
            pictures = None
            if "pictures" in sources and opened.has_pictures:
                pictures, unseen = self._look(opened, progress=stage)
                skipped += unseen
        with _timed(timings, progress.stage("reading")) as stage:
            written = None if log is None else selection.by_segment(log.comments, segments)
            text = self.text_encoder.encode_segments(
                None if speech is None else [" ".join(u.text for u in part) for part in speech],
                None if written is None else [[c.text for c in part] for part in written],
                progress=stage,
            )
        skipped = [*opened.skipped, *skipped]
        if log is not None:
            skipped += [*log.skipped, *selection.outside(log.comments, segments)]
        return Embeddings(opened.info, segments, speech, written, pictures, text, tuple(skipped), timings)

    def _look(self, recording: Recording, *, progress: Progress) -> tuple[np.ndarray, tuple[Skipped, ...]]:
        """Encode the pictures, a few segments at a time: (segments, 3, picture_dim) float16, and what was skipped."""
        count = len(recording.segments)
        out = np.empty((count, PICTURES, self.visual_encoder.dim), dtype=np.float16)
        waiting: list[np.ndarray] = []
        done = 0
        reading = recording.pictures(waiting=lambda: progress((done - len(waiting)) / count))
        for segment, pictures in reading:
            waiting.append(pictures)
            done = segment.index + 1
            if len(waiting) == _SEGMENTS_PER_STEP or done == count:
                features = self.visual_encoder.encode(np.concatenate(waiting))
                out[done - len(waiting) : done] = features.reshape(len(waiting), PICTURES, -1)
                waiting.clear()
            progress((done - len(waiting)) / count)
        return out, reading.skipped

    def score(
        self,
        encoded: Embeddings,
        *,
        streamer: str | None = None,
        target: str | None = None,
        progress: Progress = SILENT,
        options: HighlightOptions = HighlightOptions(),
    ) -> Prediction:
        """Predict from what was encoded; parameters as for `predict`, KuaiHLError if it has none of the sources."""
        index = self.config.target_index(target)
        encoded = self.seen(encoded, target=target)
        if not any(astuple(encoded.modalities)):
            name, unseen = self.config.targets[index].name, self.config.targets[index].excluded_inputs
            needed = " or ".join(source for source in SOURCES if source not in unseen)
            raise KuaiHLError(f"There is nothing to predict {name} from, which takes {needed}.")
        timings = dict(encoded.timings_s)
        with _timed(timings, progress.stage("predicting")) as stage:
            halves = iter(stage.split(2))
            features = self.features(encoded, streamer=streamer, target=target, progress=next(halves))
            curve = self.model.sweep(features, target=index, progress=next(halves)).tolist()
            lvtr = [None, *curve[1:-1]]
            alignment = self._align(features)
        return Prediction(
            recording=encoded.recording,
            checkpoint=self.checkpoint,
            target=self.config.targets[index].name,
            trained_on=self.config.targets[index].trained_on,
            modalities=encoded.modalities,
            segments=tuple(
                SegmentPrediction(
                    segment,
                    value,
                    speech=" ".join(u.text for u in encoded.speech[i]) if encoded.speech is not None else "",
                    comments=len(encoded.comments[i]) if encoded.comments is not None else 0,
                )
                for i, (segment, value) in enumerate(zip(encoded.segments, lvtr, strict=True))
            ),
            next_score=curve[-1],
            highlights=select(encoded.segments, lvtr, options=options),
            alignment=alignment,
            skipped=encoded.skipped,
            timings_s=timings,
        )

    def features(
        self,
        encoded: Embeddings,
        *,
        streamer: str | None = None,
        target: str | None = None,
        progress: Progress = SILENT,
    ) -> ModelInputs:
        """Gather the model's input, a batch of one, with what is missing, or not for this target, marked as such."""
        seen = self.seen(encoded, target=target)
        return gathered(self.config, seen, streamer_index=self.model.streamer_index(streamer), progress=progress)

    def seen(self, encoded: Embeddings, *, target: str | None = None) -> Embeddings:
        """Leave out what the model was trained without where it predicts this target."""
        unseen = self.config.targets[self.config.target_index(target)].excluded_inputs
        return encoded.without(*(source for source in SOURCES if source in unseen))

    @torch.inference_mode()
    def _align(self, features: ModelInputs) -> Alignment | None:
        """Align text with pictures over the whole recording; None where either is missing."""
        if not (features.has_pictures.all() and (features.has_speech | features.has_comments).all()):
            return None
        tokens = self.model.tokens(features.to(self.device))
        text, pictures = (x[0].float().cpu().numpy() for x in (tokens.text, tokens.pictures))
        cost = banded_cost(text, pictures, band=ALIGNMENT_BAND)
        path = banded_path(cost)
        distance = float(sum(cost[i, j - i + ALIGNMENT_BAND] for i, j in path))
        return Alignment(path=tuple(path), distance=distance, band=ALIGNMENT_BAND, cost=cost)


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
