"""Text encoder: the speech and comments of a segment to one vector (BERT)."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, BertModel
from transformers.utils import logging as transformers_logging

from kuaihl.devices import autocast, choose_device
from kuaihl.errors import CheckpointError
from kuaihl.progress import SILENT, Progress

SPEECH_PIECES = 100
"""Word pieces of a segment's speech that are read; the rest of `TEXT_PIECES` is for the comments."""
TEXT_PIECES = 200
"""Word pieces of a text in all, [CLS] and [SEP] included."""
_TOKENIZING_SHARE = 0.1
"""Rough share of the time that tokenizing takes, for progress."""

_WIDTH_STEP = 16
_PIECES_PER_BATCH = {"cpu": 4_096, "cuda": 65_536}


@dataclass(frozen=True)
class TextFeatures:
    """Vectors (segments, dim) float16 of the speech, of the comments and of both; None if a source is missing."""

    speech: np.ndarray | None
    comments: np.ndarray | None
    both: np.ndarray | None


class TextEncoder:
    """A BERT: the mean of its last layer over a segment's text, "speech [SEP] comments".

    Parameters
    ----------
    name
        The name for error messages.
    weights
        A folder with config.json, model.safetensors and the tokenizer's files.

    Raises
    ------
    CheckpointError
        The folder does not hold a BERT, or not all of it.
    """

    def __init__(self, name: str, *, weights: Path, device: str | torch.device | None = None) -> None:
        if not (weights / "tokenizer.json").is_file() and not (weights / "vocab.txt").is_file():
            raise CheckpointError(f"{weights} holds no tokenizer.json or vocab.txt for the text encoder {name}")
        try:
            with _quiet_transformers():
                config = AutoConfig.from_pretrained(weights, local_files_only=True, trust_remote_code=False)
                self.tokenizer = AutoTokenizer.from_pretrained(weights, local_files_only=True, trust_remote_code=False)
                if config.model_type != "bert" or len(self.tokenizer) > config.vocab_size:
                    raise ValueError(f"a {config.model_type} for {config.vocab_size} word pieces")
                loaded: Any = BertModel.from_pretrained(  # a pair, which its annotation does not say
                    weights,
                    config=config,
                    add_pooling_layer=False,
                    use_safetensors=True,
                    dtype=torch.float32,
                    output_loading_info=True,
                    local_files_only=True,
                )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise CheckpointError(f"{weights} does not hold the text encoder {name}, a BERT: {error}") from error
        bert, loading = loaded
        if loading["missing_keys"]:
            missing = min(loading["missing_keys"])
            raise CheckpointError(f"{weights} holds only a part of the text encoder {name}; {missing} is missing")
        self.device = choose_device(device)
        self.bert = bert.to(self.device).eval()
        self.dim: int = bert.config.hidden_size

    def encode(
        self,
        speech: Sequence[str] | None,
        comments: Sequence[Sequence[str]] | None,
        *,
        progress: Progress = SILENT,
    ) -> TextFeatures:
        """Encode the speech alone, the comments alone, and both: BERT mixes the two, so neither gives the other.

        Parameters
        ----------
        speech
            Text of each segment, cut at `SPEECH_PIECES`; empty for silence, None if there is no such source.
        comments
            Texts of each segment. Of too many, whole ones are kept, evenly over the segment.

        Raises
        ------
        ValueError
            The two differ in length.
        """
        said = None if speech is None else self._tokenize(speech, limit=SPEECH_PIECES)
        written = None
        if comments is not None:
            written = self._tokenize_comments(comments, progress.part(0.0, _TOKENIZING_SHARE))
        choices = [
            None if said is None else self._join(said, None),
            None if written is None else self._join(None, written),
            None if said is None or written is None else self._join(said, written),
        ]
        texts = [text for choice in choices if choice is not None for text in choice]
        vectors = self._encode(texts, progress.part(_TOKENIZING_SHARE, 1.0))
        parts = iter(np.split(vectors, max(1, sum(choice is not None for choice in choices))))
        return TextFeatures(*(None if choice is None else next(parts) for choice in choices))

    def _tokenize(self, texts: Collection[str], *, limit: int) -> list[list[int]]:
        """Cut texts into word pieces. A "[SEP]" in a text is five characters, not a separator."""
        if not texts:
            return []
        batch = self.tokenizer(
            list(texts), add_special_tokens=False, truncation=True, max_length=limit, split_special_tokens=True
        )
        return batch["input_ids"]

    def _tokenize_comments(self, comments: Sequence[Sequence[str]], progress: Progress) -> list[dict[int, list[int]]]:
        """Cut as many comments of each segment as may be used; keys are positions in the segment, in `even_order`."""
        segments = []
        for done, texts in enumerate(comments):
            progress(done / len(comments))
            nonempty = [text for text in texts if text and not text.isspace()]
            # A comment has at least one piece, so that more of them could never be used.
            positions = even_order(len(nonempty))[:TEXT_PIECES]
            pieces = self._tokenize([nonempty[i] for i in positions], limit=TEXT_PIECES)
            segments.append(dict(zip(positions, pieces, strict=True)))
        return segments

    def _join(
        self, speech: list[list[int]] | None, comments: list[dict[int, list[int]]] | None
    ) -> list[tuple[int, ...]]:
        """Join [CLS] speech [SEP] comments [SEP] for each segment; without a source, there is one [SEP]."""
        start, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        if speech is None:
            return [(start, *_fill(written, TEXT_PIECES - 2), end) for written in comments or ()]
        if comments is None:
            return [(start, *said, end) for said in speech]
        return [
            (start, *said, end, *_fill(written, TEXT_PIECES - 3 - len(said)), end)
            for said, written in zip(speech, comments, strict=True)
        ]

    @torch.inference_mode()
    def _encode(self, texts: list[tuple[int, ...]], progress: Progress) -> np.ndarray:
        """Encode texts of word pieces -> (texts, dim) float16; equal texts once."""
        distinct = {text: place for place, text in enumerate(sorted(set(texts), key=len, reverse=True))}
        vectors = np.empty((len(distinct), self.dim), dtype=np.float16)
        done = 0
        for width, group in groupby(distinct, key=_width):
            same_width = list(group)
            size = max(1, _PIECES_PER_BATCH[self.device.type] // width)
            for start in range(0, len(same_width), size):
                progress(done / len(distinct))
                batch = same_width[start : start + size]
                vectors[done : done + len(batch)] = self._forward(batch, width=width)
                done += len(batch)
        return vectors[[distinct[text] for text in texts]]

    def _forward(self, batch: list[tuple[int, ...]], *, width: int) -> np.ndarray:
        lengths = torch.tensor([len(text) for text in batch])
        padding = self.tokenizer.pad_token_id
        ids = torch.tensor([(*text, *[padding] * (width - len(text))) for text in batch], device=self.device)
        mask = (torch.arange(width) < lengths[:, None]).to(self.device)
        with autocast(self.device):
            hidden = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = (hidden.float() * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return pooled.half().cpu().numpy()


def even_order(count: int) -> list[int]:
    """Order 0..count-1 so that every prefix is spread evenly (van der Corput: the bits reversed)."""
    bits = max(count - 1, 0).bit_length()
    reversed_bits = (int(f"{i:0{bits}b}"[::-1], 2) if bits else 0 for i in range(1 << bits))
    return [i for i in reversed_bits if i < count]


def _fill(comments: dict[int, list[int]], budget: int) -> Iterator[int]:
    """Take whole comments while they fit, in the order given, and yield their pieces in order of time."""
    kept = []
    left = budget
    for place, pieces in comments.items():
        if len(pieces) <= left:
            kept.append(place)
            left -= len(pieces)
    if comments and not kept:
        yield from next(iter(comments.values()))[:budget]
    for place in sorted(kept):
        yield from comments[place]


def _width(text: tuple[int, ...]) -> int:
    """Return the width to pad a text to. It depends on nothing else that is encoded, and so neither does the vector.

    At least one piece is padding, since attention takes another path for a batch without any.
    """
    return (len(text) // _WIDTH_STEP + 1) * _WIDTH_STEP


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Hide transformers' progress bar and table of unused weights while a model loads."""
    verbosity, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()
