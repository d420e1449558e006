"""Text encoder: the speech and comments of a segment to one vector (BERT)."""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, BertModel
from transformers.utils import logging as transformers_logging

from kuaihl.devices import autocast, choose_device
from kuaihl.errors import CheckpointError
from kuaihl.progress import SILENT, Progress

logger = logging.getLogger(__name__)

SPEECH_PIECES = 100
"""Word pieces of a segment's speech that are read; the rest of `TEXT_PIECES` is for the comments."""
TEXT_PIECES = 200
"""Word pieces of a text in all, [CLS] and [SEP] included."""
_CUTTING_SHARE = 0.1
"""Of the time, roughly, that is needed to cut texts into pieces, for progress."""

_WIDTH_STEP = 16
_PIECES_PER_BATCH = {"cpu": 4_096, "cuda": 65_536}


@dataclass(frozen=True)
class TextFeatures:
    """Vectors (segments, dim) float16 of each choice of sources; None where a source is missing."""

    speech: np.ndarray | None
    comments: np.ndarray | None
    both: np.ndarray | None

    def fitting(self) -> np.ndarray | None:
        """Choose the vectors that match what is present: both sources, else the one there is."""
        return next((some for some in (self.both, self.speech, self.comments) if some is not None), None)


class TextEncoder:
    """A BERT: the mean of its last layer over a segment's text, "speech [SEP] comments".

    Parameters
    ----------
    name
        What messages call it.
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
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            with _quiet_transformers():
                config = AutoConfig.from_pretrained(weights, **local)
                self.tokenizer = AutoTokenizer.from_pretrained(weights, **local)
                if config.model_type != "bert" or len(self.tokenizer) > config.vocab_size:
                    raise ValueError(f"a {config.model_type} for {config.vocab_size} word pieces")
                self.bert, loading = BertModel.from_pretrained(
                    weights,
                    config=config,
                    add_pooling_layer=False,
                    use_safetensors=True,
                    dtype=torch.float32,
                    output_loading_info=True,
                    **local,
                )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise CheckpointError(f"{weights} does not hold the text encoder {name}, a BERT: {error}") from error
        if loading["missing_keys"]:
            missing = min(loading["missing_keys"])
            raise CheckpointError(f"{weights} holds only a part of the text encoder {name}; {missing} is missing")
        self.device = choose_device(device)
        self.bert.to(self.device).eval()
        self.dim: int = self.bert.config.hidden_size

    def encode(self, speech: Sequence[str] | None, comments: Sequence[Sequence[str]] | None) -> np.ndarray:
        """Encode what is present of each segment's speech and comments -> (segments, dim) float16.

        The speech is cut at `SPEECH_PIECES`; of comments that are too many, whole ones evenly over the segment are
        kept. Empty text is silence, and present; None is a source that is missing.

        Raises
        ------
        ValueError
            Both sources are missing, or they differ in length.
        """
        if speech is None and comments is None:
            raise ValueError("neither speech nor comments to encode")
        return self._vectors(self._texts(self._speech_pieces(speech), self._comment_pieces(comments)))

    def encode_segments(
        self,
        speech: Sequence[str] | None,
        comments: Sequence[Sequence[str]] | None,
        *,
        progress: Progress = SILENT,
    ) -> TextFeatures:
        """Encode speech alone, comments alone and both at once: BERT mixes them, so one does not give another."""
        spoken = self._speech_pieces(speech)
        written = self._comment_pieces(comments, progress.part(0.0, _CUTTING_SHARE))
        choices = [
            self._texts(spoken, None) if spoken is not None else None,
            self._texts(None, written) if written is not None else None,
            self._texts(spoken, written) if spoken is not None and written is not None else None,
        ]
        texts = [text for texts in choices if texts is not None for text in texts]
        vectors = self._vectors(texts, progress.part(_CUTTING_SHARE, 1.0))
        parts = iter(np.split(vectors, max(1, sum(texts is not None for texts in choices))))
        return TextFeatures(*(next(parts) if texts is not None else None for texts in choices))

    def _pieces(self, texts: Collection[str], *, limit: int) -> list[list[int]]:
        """Cut texts into word pieces; a "[SEP]" that somebody typed is five signs, not a separator."""
        if not texts:
            return []
        batch = self.tokenizer(
            list(texts), add_special_tokens=False, truncation=True, max_length=limit, split_special_tokens=True
        )
        return batch["input_ids"]

    def _speech_pieces(self, speech: Sequence[str] | None) -> list[list[int]] | None:
        return None if speech is None else self._pieces(speech, limit=SPEECH_PIECES)

    def _comment_pieces(
        self, comments: Sequence[Sequence[str]] | None, progress: Progress = SILENT
    ) -> list[dict[int, list[int]]] | None:
        """Cut as many comments of each segment as could be used; keys are places in the segment, in `even_order`."""
        if comments is None:
            return None
        tried = []
        for texts in comments:
            written = [text for text in texts if text and not text.isspace()]
            # A comment has at least one piece, so that more of them could never be used.
            tried.append({i: written[i] for i in even_order(len(written))[:TEXT_PIECES]})
        cut = []
        for done, texts in enumerate(tried):
            progress(done / len(tried))
            cut.append(dict(zip(texts, self._pieces(texts.values(), limit=TEXT_PIECES), strict=True)))
        return cut

    def _texts(
        self, spoken: list[list[int]] | None, written: list[dict[int, list[int]]] | None
    ) -> list[tuple[int, ...]]:
        """Join [CLS] speech [SEP] comments [SEP] for each segment; a missing source leaves one [SEP]."""
        start, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        if written is None:
            return [(start, *pieces, end) for pieces in spoken]
        if spoken is None:
            return [(start, *_fill(pieces, TEXT_PIECES - 2), end) for pieces in written]
        return [
            (start, *said, end, *_fill(pieces, TEXT_PIECES - 3 - len(said)), end)
            for said, pieces in zip(spoken, written, strict=True)
        ]

    @torch.inference_mode()
    def _vectors(self, texts: list[tuple[int, ...]], progress: Progress = SILENT) -> np.ndarray:
        """Encode texts of word pieces -> (texts, dim) float16; equal texts once."""
        distinct = {text: place for place, text in enumerate(sorted(set(texts), key=len, reverse=True))}
        vectors = np.empty((len(distinct), self.dim), dtype=np.float16)
        done = 0
        for width, same in groupby(distinct, key=_width):
            waiting = list(same)
            size = max(1, _PIECES_PER_BATCH[self.device.type] // width)
            for start in range(0, len(waiting), size):
                progress(done / len(distinct))
                batch = waiting[start : start + size]
                vectors[done : done + len(batch)] = self._forward(batch, width=width)
                done += len(batch)
        return vectors[[distinct[text] for text in texts]]

    def _forward(self, batch: list[tuple[int, ...]], *, width: int) -> np.ndarray:
        lengths = torch.tensor([len(text) for text in batch])
        padding = self.tokenizer.pad_token_id
        ids = torch.tensor([(*text, *[padding] * (width - len(text))) for text in batch], device=self.device)
        real = (torch.arange(width) < lengths[:, None]).to(self.device)
        with autocast(self.device):
            hidden = self.bert(input_ids=ids, attention_mask=real).last_hidden_state
        pooled = (hidden.float() * real[:, :, None]).sum(1) / real.sum(1, keepdim=True)
        return pooled.half().cpu().numpy()


def even_order(count: int) -> list[int]:
    """Order 0..count-1 so that every beginning of it is spread evenly (van der Corput: the bits reversed)."""
    bits = max(count - 1, 0).bit_length()
    reversed_bits = (int(f"{i:0{bits}b}"[::-1], 2) if bits else 0 for i in range(1 << bits))
    return [i for i in reversed_bits if i < count]


def _fill(pieces: dict[int, list[int]], budget: int) -> Iterator[int]:
    """Take whole comments in the order given while they fit, and yield their pieces in order of time."""
    kept = []
    left = budget
    for place, some in pieces.items():
        if len(some) <= left:
            kept.append(place)
            left -= len(some)
    if pieces and not kept:
        yield from next(iter(pieces.values()))[:budget]
    for place in sorted(kept):
        yield from pieces[place]


def _width(text: tuple[int, ...]) -> int:
    """Width that a text is padded to: its own alone, so that its vector does not depend on what else is encoded.

    At least one piece is padding, since attention takes another way where a batch has none.
    """
    return (len(text) // _WIDTH_STEP + 1) * _WIDTH_STEP


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bar and table of unused weights off the terminal while a model loads."""
    verbosity, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()
