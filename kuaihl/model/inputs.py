"""Model inputs: the tensors that the model reads, built from the features of segments."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from kuaihl.features.embeddings import SOURCES, SegmentFeatures, Source
from kuaihl.records import PICTURES_PER_SEGMENT


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """One kind of token of a segment.

    Attributes
    ----------
    name
        Of its row in `TOKENS`.
    sources
        The token is valid in segments that have any of these.
    excluded_by
        The name in `EXCLUDABLE`, besides those of its sources, that masks it.
    option
        Field of `KuaiHLConfig` that switches it on; None if the model always has it.
    count
        Tokens per segment.
    """

    name: str
    sources: tuple[Source, ...]
    excluded_by: str | None = None
    option: str | None = None
    count: int = 1


TOKENS = (
    TokenSpec("pictures", ("pictures",), count=PICTURES_PER_SEGMENT),
    TokenSpec("text", ("speech", "comments")),
    TokenSpec("chat_activity", ("comments",), excluded_by="activity", option="activity"),
    TokenSpec("speech_activity", ("speech",), excluded_by="activity", option="activity"),
    TokenSpec("words", ("comments",), excluded_by="words", option="words"),
    TokenSpec("word_shares", ("comments",), excluded_by="words", option="word_shares"),
    TokenSpec("speech_text", ("speech",), excluded_by="text", option="speech_text"),
)
"""Every kind of token, in the order in which the model reads them. The paper has the first two."""
_ROW = {token.name: row for row, token in enumerate(TOKENS)}


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """What the model reads of each segment. Masked values have no influence.

    Attributes
    ----------
    pictures
        (batch, segments, picture_tokens, picture_dim)
    text
        (batch, segments, text_dim): of speech and comments, or of the one that is present.
    speech_text
        (batch, segments, text_dim): of speech alone.
    chat_activity, speech_activity
        (batch, segments, columns), columns `CHAT_COLUMNS` and `SPEECH_COLUMNS`, unscaled.
    words, word_counts
        (batch, segments, 128): hashed words of the comments, 0 for none, and log1p of how many comments have them.
    token_mask
        (batch, segments, 7) bool: True where the token of `TOKENS` is valid.
    streamer
        (batch,) int64; 0 is the unknown streamer.
    """

    pictures: Tensor
    text: Tensor
    speech_text: Tensor
    chat_activity: Tensor
    speech_activity: Tensor
    words: Tensor
    word_counts: Tensor
    token_mask: Tensor
    streamer: Tensor

    @property
    def word_shares(self) -> Tensor:
        """Share of a segment's comments that have each of its words: (batch, segments, 128) float32."""
        comments = self.chat_activity[..., :1].expm1()  # the first column of `CHAT_COLUMNS`
        return self.word_counts.float().expm1() / comments.clamp(min=1)

    def mask(self, token: str) -> Tensor:
        """Return where a kind of token of `TOKENS` is valid: (batch, segments) bool."""
        return self.token_mask[..., _ROW[token]]

    def to(self, device: torch.device | str) -> "ModelInputs":
        """Move every tensor."""
        return ModelInputs(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def cut(self, start: int, stop: int) -> "ModelInputs":
        """Keep segments ``start`` to ``stop`` (exclusive)."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return ModelInputs(**{k: v if k == "streamer" else v[:, start:stop] for k, v in values.items()})

    def padded(self, segments: int) -> "ModelInputs":
        """Append zeros, which are masked, up to ``segments`` segments."""

        def pad(value: Tensor) -> Tensor:
            return torch.cat([value, value.new_zeros(len(value), segments - value.shape[1], *value.shape[2:])], dim=1)

        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return ModelInputs(**{k: v if k == "streamer" else pad(v) for k, v in values.items()})


def build_inputs(
    recordings: Sequence[SegmentFeatures],
    *,
    picture_dim: int,
    text_dim: int,
    picture_tokens: int = PICTURES_PER_SEGMENT,
    streamers: Sequence[int],
    excluded: Sequence[Collection[str]],
    length: int | None = None,
) -> ModelInputs:
    """Stack the features of recordings, or of windows of them, into one batch.

    Parameters
    ----------
    recordings
        One for each item of the batch. What is missing is zero and masked.
    picture_dim, text_dim, picture_tokens
        Sizes of the encoders' vectors, and pictures of a segment.
    streamers
        Row of each recording's streamer in the model's embedding.
    excluded
        What to hide of each recording, as in `kuaihl.model.config.EXCLUDABLE`.
    length
        Segments of an item, padded at its end; by default those of the longest recording.
    """
    length = max(map(len, recordings)) if length is None else length
    rows = [
        _rows(features, frozenset(names), (picture_tokens, picture_dim), text_dim)
        for features, names in zip(recordings, excluded, strict=True)
    ]

    def stack(name: str) -> Tensor:
        out = np.zeros((len(rows), length, *rows[0][name].shape[1:]), dtype=rows[0][name].dtype)
        for item, row in zip(out, rows, strict=True):
            item[: len(row[name])] = row[name]
        return torch.from_numpy(out)

    streamer = [0 if "streamer" in names else row for row, names in zip(streamers, excluded, strict=True)]
    return ModelInputs(**{name: stack(name) for name in rows[0]}, streamer=torch.tensor(streamer))


def _rows(
    features: SegmentFeatures, excluded: frozenset[str], picture_shape: tuple[int, int], text_dim: int
) -> dict[str, np.ndarray]:
    """Choose what remains of one recording: arrays by the names of `ModelInputs`, without the batch axis."""
    count = len(features)
    valid = {source: features.mask(source) & (source not in excluded) for source in SOURCES}
    speech, comments = valid["speech"][:, None], valid["comments"][:, None]
    no_text = np.zeros((count, text_dim), dtype=np.float16)
    of_speech, of_comments, of_both = (
        no_text if vectors is None or "text" in excluded else vectors
        for vectors in (features.text.speech, features.text.comments, features.text.both)
    )
    no_pictures = np.zeros((count, *picture_shape), dtype=np.float16)
    masks = [
        np.any([valid[source] for source in token.sources], axis=0) & (token.excluded_by not in excluded)
        for token in TOKENS
    ]
    return {
        "pictures": no_pictures if features.pictures is None else features.pictures,
        "text": np.where(speech & comments, of_both, np.where(speech, of_speech, of_comments)),
        "speech_text": np.where(speech, of_speech, no_text),
        "chat_activity": features.chat_activity,
        "speech_activity": features.speech_activity,
        "words": features.words,
        "word_counts": features.word_counts,
        "token_mask": np.stack(masks, axis=-1),
    }
