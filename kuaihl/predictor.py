"""Recording and comment log -> Prediction: the one place where the parts meet."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from kuaihl import comments as comment_logs
from kuaihl.activity import chat_activity, speech_activity, utterances_by_segment
from kuaihl.alignment import banded_cost, banded_path
from kuaihl.devices import choose_device
from kuaihl.encoded import SOURCES, Encoded
from kuaihl.encoders import TextEncoder, VisualEncoder
from kuaihl.errors import KuaiHLError
from kuaihl.features import PICTURES, Features, gather_features
from kuaihl.highlights import HighlightOptions, select
from kuaihl.model import KuaiHL, KuaiHLConfig, load, sha256_of
from kuaihl.recording import Reading, Recording, open_recording
from kuaihl.records import (
    Alignment,
    CheckpointInfo,
    CommentLog,
    Prediction,
    Segment,
    SegmentPrediction,
    Skipped,
)
from kuaihl.speech import SpeechRecognizer, read_transcript
from kuaihl.weights import find_text_encoder, find_visual_encoder
from kuaihl.words import hashed_words

logger = logging.getLogger(__name__)

DEFAULT_CHECKPOINT = Path(__file__).parent.parent / "assets" / "checkpoint"
"""The checkpoint that comes with the project."""
STAGES = ("opening", "listening", "looking", "reading", "predicting")
ALIGNMENT_BAND = 20
"""How many segments before and after its own a text may be matched with."""
_SEGMENTS_PER_STEP = 16

ProgressCallback = Callable[[str, float], None]
"""Called with the stage and the share of it that is done; what it raises stops the work."""


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
        comment_offset_s: float = 0.0,
        stream_start: str | datetime | None = None,
        progress: ProgressCallback | None = None,
        options: HighlightOptions = HighlightOptions(),
    ) -> Prediction:
        """Predict the LVTR, or another target, of every segment of a recording, and what follows from it.

        Parameters
        ----------
        recording
            A video or sound file, or one that `open_recording` has opened.
        comments
            Its comment log, in any format that `kuaihl.comments` reads, or as read by it.
        transcript
            Subtitles (SRT, VTT, ASS) to be used instead of speech recognition.
        streamer
            A name that the checkpoint knows; any other counts as unknown.
        target
            What to predict, of ``config.targets``; the first of them if not given.
        comment_offset_s, stream_start
            Added to the time of every comment; when the recording starts: for `kuaihl.comments.read`.
        progress
            Told about every step.
        options
            Which highlights.

        Raises
        ------
        RecordingError, CommentLogError
            Where a file cannot be read.
        CheckpointError
            Where the checkpoint does not predict the target.
        """
        self.config.target_index(target)  # before what takes long
        encoded = self.encode(
            recording,
            comments,
            transcript=transcript,
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
        comment_offset_s: float = 0.0,
        stream_start: str | datetime | None = None,
        progress: ProgressCallback | None = None,
    ) -> Encoded:
        """Read and encode a recording; parameters and errors as for `predict`."""
        tell = progress or _silent
        timings: dict[str, float] = {}
        skipped: list[Skipped] = []
        with _timed(timings, "opening", tell):
            opened = recording if isinstance(recording, Recording) else open_recording(recording)
            segments = opened.segments
            log = comments
            if log is not None and not isinstance(log, CommentLog):
                log = comment_logs.read(log, offset_s=comment_offset_s, stream_start=stream_start)
            spoken = None if transcript is None else read_transcript(transcript, segments=segments)
        with _timed(timings, "listening", tell):
            if spoken is None and opened.has_sound:
                sound, count = opened.sound(), len(segments)
                spoken = self.recognizer.transcribe(sound, progress=lambda done: tell("listening", done / count))
                skipped += sound.skipped
            speech = None if spoken is None else utterances_by_segment(spoken, segments)
        with _timed(timings, "looking", tell):
            pictures = None
            if opened.has_pictures:
                reading = opened.pictures()
                pictures = self._look(reading, count=len(segments), tell=tell)
                skipped += reading.skipped
        with _timed(timings, "reading", tell):
            written = None if log is None else comment_logs.by_segment(comment_logs.spoken(log.comments), segments)
            text = self.text_encoder.encode_segments(
                None if speech is None else [" ".join(u.text for u in part) for part in speech],
                None if written is None else [[c.text for c in part] for part in written],
                progress=lambda done: tell("reading", done),
            )
        skipped = [*opened.skipped, *skipped, *(() if log is None else _passed_over(log, segments))]
        return Encoded(opened.info, segments, speech, written, pictures, text, tuple(skipped), timings)

    def _look(self, reading: Reading, *, count: int, tell: ProgressCallback) -> np.ndarray:
        """Encode the pictures of all ``count`` segments, a few at a time: (segments, 3, picture_dim) float16."""
        out = np.empty((count, PICTURES, self.visual_encoder.dim), dtype=np.float16)
        waiting: list[np.ndarray] = []
        for segment, pictures in reading:
            waiting.append(pictures)
            done = segment.index + 1
            if len(waiting) == _SEGMENTS_PER_STEP or done == count:
                features = self.visual_encoder.encode(np.concatenate(waiting))
                out[done - len(waiting) : done] = features.reshape(len(waiting), PICTURES, -1)
                waiting.clear()
            tell("looking", (done - len(waiting)) / count)
        return out

    def score(
        self,
        encoded: Encoded,
        *,
        streamer: str | None = None,
        target: str | None = None,
        progress: ProgressCallback | None = None,
        options: HighlightOptions = HighlightOptions(),
    ) -> Prediction:
        """Predict from what was encoded; parameters as for `predict`, KuaiHLError if it has none of the sources."""
        index = self.config.target_index(target)
        encoded = self.seen(encoded, target=target)
        if not any(astuple(encoded.modalities)):
            name, unseen = self.config.targets[index].name, self.config.targets[index].without
            needed = " or ".join(source for source in SOURCES if source not in unseen)
            raise KuaiHLError(f"There is nothing to predict {name} from, which takes {needed}.")
        timings = dict(encoded.timings_s)
        with _timed(timings, "predicting", progress or _silent):
            features = self.features(encoded, streamer=streamer, target=target)
            curve = self.model.sweep(features, target=index).tolist()
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
            forecast=curve[-1],
            highlights=select(encoded.segments, lvtr, options=options),
            alignment=alignment,
            skipped=encoded.skipped,
            timings_s=timings,
        )

    def features(self, encoded: Encoded, *, streamer: str | None = None, target: str | None = None) -> Features:
        """Gather the model's input, a batch of one, with what is missing, or not for this target, marked as such."""
        encoded = self.seen(encoded, target=target)
        nothing = [[]] * len(encoded.segments)
        words, counts = hashed_words(encoded.comments or nothing)
        return gather_features(
            pictures=encoded.pictures,
            picture_dim=self.config.picture_dim,
            text=encoded.text.fitting(),
            text_dim=self.config.text_dim,
            chat=chat_activity(encoded.comments or nothing, encoded.segments),
            speech=speech_activity(encoded.speech or nothing),
            words=words,
            counts=counts,
            has_speech=encoded.speech is not None,
            has_comments=encoded.comments is not None,
            streamer=torch.tensor([self.model.streamer_index(streamer)]),
        )

    def seen(self, encoded: Encoded, *, target: str | None = None) -> Encoded:
        """Leave out what the model was trained without where it predicts this target."""
        unseen = self.config.targets[self.config.target_index(target)].without
        return encoded.without(*(source for source in SOURCES if source in unseen))

    @torch.inference_mode()
    def _align(self, features: Features) -> Alignment | None:
        """Align text with pictures over the whole recording; None where either is missing."""
        if not (features.has_pictures.all() and (features.has_speech | features.has_comments).all()):
            return None
        tokens = self.model.tokens(features.to(self.device))
        text, pictures = (x[0].float().cpu().numpy() for x in (tokens.text, tokens.pictures))
        cost = banded_cost(text, pictures, band=ALIGNMENT_BAND)
        path = banded_path(cost)
        distance = float(sum(cost[i, j - i + ALIGNMENT_BAND] for i, j in path))
        return Alignment(path=tuple(path), distance=distance, band=ALIGNMENT_BAND, cost=cost)


def _passed_over(log: CommentLog, segments: Sequence[Segment]) -> tuple[Skipped, ...]:
    """Everything in a log that no segment shows."""
    kinds = Counter(c.kind for c in log.comments if not comment_logs.is_text(c))
    kept_out = (Skipped(f"{kind}, left out of the text", count) for kind, count in kinds.items())
    return (*log.skipped, *kept_out, *comment_logs.outside(comment_logs.spoken(log.comments), segments))


def _silent(stage: str, fraction: float) -> None:
    """Tell nobody."""


@contextmanager
def _timed(timings: dict[str, float], stage: str, tell: ProgressCallback) -> Iterator[None]:
    """Note how long a stage takes, and tell about its beginning and its end."""
    tell(stage, 0.0)
    began = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - began
    tell(stage, 1.0)
    logger.info("%s took %.1f s", stage, timings[stage])
