"""Live use: segments are fed one by one as they end; after each, the model predicts the next one."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kuaihl.comments import selection
from kuaihl.features.chat import ChatActivity
from kuaihl.features.embeddings import Embeddings, segment_features
from kuaihl.model.inputs import ModelInputs, build_inputs
from kuaihl.predictor import Predictor
from kuaihl.records import Comment, Prediction, Segment, SegmentPrediction, Utterance


@dataclass(frozen=True, slots=True)
class Step:
    """A segment with the score that was predicted before it came, and the predicted score of the segment after it."""

    segment: SegmentPrediction
    next_score: float


class Session:
    """One live stream. Its predictions are those of the whole recording, made as early as possible.

    From equal features they are equal bit for bit (on a CPU). From raw input they are equal to 1e-5, if speech
    recognition hears the same words in one segment at a time as in many at once.

    Parameters
    ----------
    predictor
        Encoders and model. Any number of sessions may share it, one at a time.
    streamer
        A name that the checkpoint knows; any other counts as unknown.
    target
        What to predict, as for `Predictor.predict`.
    """

    def __init__(self, predictor: Predictor, *, streamer: str | None = None, target: str | None = None) -> None:
        self._predictor = predictor
        self._target = predictor.config.target_index(target)
        self._excluded = frozenset(predictor.config.targets[self._target].excluded_inputs)
        self._streamer = predictor.model.streamer_index(streamer)
        self._latents: deque[torch.Tensor] = deque(maxlen=predictor.config.window)
        self._chat = ChatActivity()
        self._sound: deque[tuple[Segment, np.ndarray]] = deque()
        self._utterances: Iterator[tuple[Segment, list[Utterance]]] | None = None
        self._next_score: float | None = None

    def feed(
        self,
        segment: Segment,
        *,
        pictures: np.ndarray | None = None,
        sound: np.ndarray | None = None,
        speech: Sequence[Utterance] | None = None,
        comments: Sequence[Comment] | None = None,
    ) -> Step:
        """Add the next segment. A source that is None is missing; silence is an empty sequence.

        Parameters
        ----------
        segment
            Its place in the stream.
        pictures
            (3, height, width, 3) uint8 RGB, taken at 1/6, 1/2 and 5/6 of it.
        sound
            (samples,) float32, mono, 16 kHz, for speech recognition.
        speech
            Its utterances, in place of ``sound``.
        comments
            Its entries in the comment log.

        Raises
        ------
        ValueError
            Both sound and speech were given.
        """
        if sound is not None and speech is not None:
            raise ValueError("give sound or speech, not both")
        vectors = None
        if pictures is not None and "pictures" not in self._excluded:
            vectors = self._predictor.visual_encoder.encode(pictures)[None]
        if "speech" in self._excluded:
            speech = None
        elif sound is not None:
            speech = self._recognise(segment, sound)
        written = None
        if comments is not None and "comments" not in self._excluded:
            written = selection.text_comments(comments)
        said = None if speech is None else " ".join(utterance.text for utterance in speech)
        features = segment_features(
            [segment],
            pictures=vectors,
            speech=None if speech is None else [speech],
            comments=None if written is None else [written],
            text=self._predictor.text_encoder.encode(
                None if said is None else [said], None if written is None else [[c.text for c in written]]
            ),
            chat=self._chat,
        )
        inputs = build_inputs(
            [features],
            picture_dim=self._predictor.config.picture_dim,
            text_dim=self._predictor.config.text_dim,
            streamers=[self._streamer],
            excluded=[self._excluded],
        )
        return self.advance(segment, inputs, speech=said or "", comments=len(written or ()))

    def advance(self, segment: Segment, inputs: ModelInputs, *, speech: str = "", comments: int = 0) -> Step:
        """Add the next segment as inputs, a batch of one; ``speech`` and ``comments`` only go into the result."""
        model = self._predictor.model
        self._latents.append(model.encode_segments(inputs, target=self._target)[0])
        latents = torch.stack(tuple(self._latents))
        score = self._next_score
        self._next_score = model.predict_next(latents, first=len(latents), target=self._target).item()
        return Step(SegmentPrediction(segment, score, speech=speech, comments=comments), self._next_score)

    def _recognise(self, segment: Segment, sound: np.ndarray) -> list[Utterance]:
        if self._utterances is None:
            # The recognizer takes a segment from the queue when it is asked for utterances; by then there is one.
            self._utterances = self._predictor.recognizer.transcribe_segments(iter(self._sound.popleft, None), ahead=1)
        self._sound.append((segment, sound))
        return next(self._utterances)[1]


def replay(predictor: Predictor, embeddings: Embeddings, prediction: Prediction) -> Iterator[Step]:
    """Play an encoded recording as it would have arrived: the numbers of its prediction, bit for bit."""
    session = Session(predictor, streamer=prediction.streamer, target=prediction.target)
    inputs = predictor.inputs_of(embeddings, prediction)
    for i, found in enumerate(prediction.segments):
        yield session.advance(found.segment, inputs.cut(i, i + 1), speech=found.speech, comments=found.comments)
