"""Live use: segments are fed one by one as they end, and each time the model says what it expects of the next."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kuaihl.comments import selection
from kuaihl.features.bag_of_words import hashed_words
from kuaihl.features.chat import ChatActivity, speech_activity
from kuaihl.features.embeddings import Embeddings
from kuaihl.model.inputs import ModelInputs, gather_features
from kuaihl.predictor import Predictor
from kuaihl.records import Comment, Segment, SegmentPrediction, Utterance


@dataclass(frozen=True, slots=True)
class Step:
    """A segment that has come, with what was predicted of it before it came, and the forecast of the one after it."""

    found: SegmentPrediction
    next_score: float


class Session:
    """One stream under way. Predictions are those of the whole recording, made as early as they can be.

    From equal features they are equal bit for bit (on a CPU), from raw input to 1e-5 where speech recognition hears the
    same words in one segment at a time as in many at once.

    Parameters
    ----------
    predictor
        Encoders and model; any number of sessions may share it, one at a time.
    streamer
        A name that the checkpoint knows; any other counts as unknown.
    target
        What to predict, as for `Predictor.predict`.
    """

    def __init__(self, predictor: Predictor, *, streamer: str | None = None, target: str | None = None) -> None:
        self._predictor = predictor
        self._target = predictor.config.target_index(target)
        self._streamer = torch.tensor([predictor.model.streamer_index(streamer)])
        self._past: deque[torch.Tensor] = deque(maxlen=predictor.config.window)
        self._chat = ChatActivity()
        self._sound: deque[tuple[Segment, np.ndarray]] = deque()
        self._heard: Iterator[tuple[Segment, list[Utterance]]] | None = None
        self._forecast: float | None = None

    def feed(
        self,
        segment: Segment,
        *,
        pictures: np.ndarray | None = None,
        sound: np.ndarray | None = None,
        speech: Sequence[Utterance] | None = None,
        comments: Sequence[Comment] | None = None,
    ) -> Step:
        """Take the next segment; what is None counts as a source that is missing, while silence is empty.

        Parameters
        ----------
        segment
            When it was.
        pictures
            (3, height, width, 3) uint8 RGB, taken at 1/6, 1/2 and 5/6 of it.
        sound
            (samples,) float32, mono, 16 kHz: its speech is recognised.
        speech
            What was said, in place of ``sound``.
        comments
            What was written.

        Raises
        ------
        ValueError
            Both sound and speech were given.
        """
        unseen = self._predictor.config.targets[self._target].excluded_inputs
        if "pictures" in unseen:
            pictures = None
        if "comments" in unseen:
            comments = None
        if sound is not None:
            if speech is not None:
                raise ValueError("give sound or speech, not both")
            speech = self._hear(segment, sound)
        if "speech" in unseen:
            speech = None
        written = None if comments is None else selection.text_comments(comments)
        said = None if speech is None else " ".join(utterance.text for utterance in speech)
        features = self._features(segment, pictures, speech, said, written)
        return self.advance(segment, features, speech=said or "", comments=len(written or ()))

    def advance(self, segment: Segment, features: ModelInputs, *, speech: str = "", comments: int = 0) -> Step:
        """Take the next segment as features, a batch of one; ``speech`` and ``comments`` are noted in the result."""
        model = self._predictor.model
        self._past.append(model.gather_all(features, target=self._target)[0])
        past = torch.stack(tuple(self._past))
        forecast = model.predict_after(past, first=len(past), target=self._target).item()
        expected, self._forecast = self._forecast, forecast
        return Step(SegmentPrediction(segment, expected, speech=speech, comments=comments), self._forecast)

    def _hear(self, segment: Segment, sound: np.ndarray) -> list[Utterance]:
        if self._heard is None:
            # pulls a segment when it is asked for the next words, and by then there is one
            self._heard = self._predictor.recognizer.listen(iter(self._sound.popleft, None), ahead=1)
        self._sound.append((segment, sound))
        return next(self._heard)[1]

    def _features(
        self,
        segment: Segment,
        pictures: np.ndarray | None,
        speech: Sequence[Utterance] | None,
        said: str | None,
        written: Sequence[Comment] | None,
    ) -> ModelInputs:
        """Encode one segment, as `Predictor.features` does a recording."""
        predictor, config = self._predictor, self._predictor.config
        text = predictor.text_encoder.encode_segments(
            None if said is None else [said], None if written is None else [[c.text for c in written]]
        )
        words, counts = hashed_words([written or ()])
        return gather_features(
            pictures=None if pictures is None else predictor.visual_encoder.encode(pictures)[None],
            picture_dim=config.picture_dim,
            text=text.fitting(),
            spoken=text.speech,
            text_dim=config.text_dim,
            chat=self._chat.add(written or (), segment)[None],
            speech=speech_activity([speech or ()]),
            words=words,
            counts=counts,
            has_speech=speech is not None,
            has_comments=written is not None,
            streamer=self._streamer,
        )


def replay(
    predictor: Predictor, encoded: Embeddings, *, streamer: str | None = None, target: str | None = None
) -> Iterator[Step]:
    """Play an encoded recording as it would have arrived: the same numbers as `Predictor.score`, bit for bit."""
    session = Session(predictor, streamer=streamer, target=target)
    encoded = predictor.seen(encoded, target=target)
    whole = predictor.features(encoded, streamer=streamer, target=target)
    for i, segment in enumerate(encoded.segments):
        said = " ".join(u.text for u in encoded.speech[i]) if encoded.speech is not None else ""
        written = len(encoded.comments[i]) if encoded.comments is not None else 0
        yield session.advance(segment, whole.cut(i, i + 1), speech=said, comments=written)
