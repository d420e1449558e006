"""Whisper in batches: an encoder without padding to 30 s, and greedy decoding with a preallocated cache."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper.model import MultiHeadAttention, Whisper

_MIN_SHRINK = 0.75
"""Finished rows are removed from the batch when at most this share is left, since removal copies the caches."""
_CANDIDATES = 8
"""Tokens that bf16 selects and fp32 compares."""
_PROMPT_ROOM = 8
"""Upper bound of the tokens of a prompt."""


@dataclass(frozen=True)
class Decoded:
    """Tokens of one window without prompt and end token, and their mean log-probability (with the end token)."""

    tokens: tuple[int, ...]
    mean_logprob: float
    no_speech: float


@dataclass(frozen=True)
class Vocabulary:
    """Special tokens. ``suppressed`` are never generated, ``never_first`` not as the first token of the text."""

    start: int
    end: int
    no_speech: int
    suppressed: tuple[int, ...]
    never_first: tuple[int, ...]


@dataclass(frozen=True)
class _Layer:
    """Weights of a decoder block in the working precision, with fused projections of attention."""

    norms: tuple[nn.LayerNorm, nn.LayerNorm, nn.LayerNorm]
    self_in: tuple[Tensor, Tensor]
    self_out: tuple[Tensor, Tensor]
    cross_query: tuple[Tensor, Tensor]
    cross_in: tuple[Tensor, Tensor]
    cross_out: tuple[Tensor, Tensor]
    mlp_in: tuple[Tensor, Tensor]
    mlp_out: tuple[Tensor, Tensor]


class GreedyWhisper:
    """Run an openai-whisper model on many windows at once.

    The result of a window depends on its own audio alone: windows are batched only in row-wise products. On the CPU the
    decoder uses fp32, since its small products are not faster in bf16.
    """

    def __init__(self, model: Whisper, vocabulary: Vocabulary, *, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype
        self._vocabulary = vocabulary
        self._encoder = model.encoder.eval().to(device)
        decoder = model.decoder.to(device)
        self._heads = model.dims.n_text_head
        self._max_tokens = model.dims.n_text_ctx
        self._decoder_dtype = torch.float32 if device.type == "cpu" else dtype
        self._embedding = decoder.token_embedding.weight.detach().to(self._decoder_dtype)
        self._positions = decoder.positional_embedding.detach().to(self._decoder_dtype)
        self._norm = decoder.ln
        self._embedding_bf16 = self._embedding.to(dtype) if dtype != self._decoder_dtype else None
        self._layers = [self._layer(block) for block in decoder.blocks]
        # Suppression as a bias of the last product costs nothing.
        self._bias = self._embedding.new_zeros(len(self._embedding))
        self._bias[list(vocabulary.suppressed)] = -torch.inf
        self._first_bias = self._bias.clone()
        self._first_bias[list(vocabulary.never_first)] = -torch.inf

    def row_bytes(self, frames: int) -> int:
        """Return the bytes that one window of ``frames`` encoded frames takes while it is decoded."""
        width = self._embedding.shape[1] * self._embedding.element_size()
        return 2 * len(self._layers) * width * (frames + self._max_tokens)

    @torch.inference_mode()
    def encode(self, mels: Tensor) -> Tensor:
        """Encode windows of one length: (windows, mels, 2 * frames) -> (windows, frames, dim)."""
        encoder: Any = self._encoder  # torch types a buffer as Tensor | Module
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            hidden = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mels.to(self.device))))).transpose(1, 2)
            # Whisper pads to 30 s; a shorter window uses the first positions.
            hidden = hidden + encoder.positional_embedding[: hidden.shape[1]]
            for block in encoder.blocks:
                hidden = block(hidden)
            return encoder.ln_post(hidden)

    @torch.inference_mode()
    def decode(
        self,
        features: Sequence[Tensor],
        prompts: Callable[[Tensor], Sequence[Sequence[int]]],
        *,
        max_tokens: Sequence[int],
        progress: Callable[[float], None] | None = None,
    ) -> list[Decoded]:
        """Decode all windows greedily in one batch.

        Parameters
        ----------
        features
            Results of `encode`, one for each group of windows of one length: (windows, frames, dim).
        prompts
            Function from the logits after the start token (windows, vocabulary) to the rest of each prompt; all prompts
            have one length.
        max_tokens
            Maximum number of tokens for each window.
        progress
            Receives at every step the share of the longest limit that is used; an exception that it raises stops
            decoding.
        """
        rows = sum(len(group) for group in features)
        cache = _Cache.allocate(
            [self._cross(group) for group in features],
            rows=rows,
            tokens=min(self._max_tokens, max(max_tokens) + _PROMPT_ROOM),
            heads=self._heads,
            like=self._positions,
        )
        start = torch.full((rows,), self._vocabulary.start, device=self.device)
        logits = F.linear(self._step(start, cache), self._embedding).float()
        no_speech = logits.softmax(dim=-1)[:, self._vocabulary.no_speech].tolist()
        prompt = torch.tensor([list(p) for p in prompts(logits)], device=self.device).reshape(rows, -1)
        for column in prompt.unbind(1)[:-1]:
            self._step(column, cache)
        hidden = self._step(prompt[:, -1], cache)
        texts = self._greedy(hidden, cache, max_tokens, progress)
        return [Decoded(t, p, n) for (t, p), n in zip(texts, no_speech, strict=True)]

    def _greedy(
        self,
        hidden: Tensor,
        cache: "_Cache",
        max_tokens: Sequence[int],
        progress: Callable[[float], None] | None,
    ) -> list[tuple[tuple[int, ...], float]]:
        """Select the best token of each row, step by step, and remove finished rows from the batch."""
        texts: list[list[int]] = [[] for _ in max_tokens]
        logprobs = [0.0] * len(texts)
        # For each row of the batch: its window, and whether it is unfinished.
        windows, active = list(range(len(texts))), [True] * len(texts)
        bias = self._first_bias
        step = 0
        while True:
            if progress is not None:
                progress(step / max(max_tokens))
            step += 1
            best, logprob = self._select(hidden, bias)
            for row, (window, token, gain) in enumerate(zip(windows, best.tolist(), logprob.tolist(), strict=True)):
                if not active[row]:
                    continue
                logprobs[window] += gain
                if token != self._vocabulary.end:
                    texts[window].append(token)
                active[row] = token != self._vocabulary.end and len(texts[window]) < max_tokens[window]
            left = [row for row, unfinished in enumerate(active) if unfinished]
            if not left or cache.full:
                return [(tuple(t), p / (len(t) + 1)) for t, p in zip(texts, logprobs, strict=True)]
            if len(left) <= _MIN_SHRINK * len(active):
                cache.keep(left)
                best = best[left]
                windows, active = [windows[row] for row in left], [True] * len(left)
            hidden = self._step(best, cache)
            bias = self._bias

    def _select(self, hidden: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return each row's best token and its log-probability: (rows, dim) -> (rows,), (rows,).

        The product with the vocabulary is half of a small model's work. Where bf16 is fast, it selects
        candidates, which fp32 compares.
        """
        if self._embedding_bf16 is None:
            logits = F.linear(hidden, self._embedding, bias).float()
            best, chosen = logits.max(dim=-1)
            return chosen, best - logits.logsumexp(dim=-1)
        embedding = self._embedding_bf16
        logits = F.linear(hidden.to(embedding.dtype), embedding, bias.to(embedding.dtype))
        candidates = logits.topk(min(_CANDIDATES, logits.shape[1])).indices
        exact = (self._embedding[candidates] @ hidden.unsqueeze(-1)).squeeze(-1) + bias[candidates]
        best, place = exact.max(dim=-1)
        return candidates.gather(1, place.unsqueeze(1)).squeeze(1), best - logits.float().logsumexp(dim=-1)

    def _step(self, tokens: Tensor, cache: "_Cache") -> Tensor:
        """Run the decoder on one token of each row: (rows,) -> (rows, dim)."""
        rows, at = len(tokens), cache.length
        cache.length += 1
        hidden = F.embedding(tokens, self._embedding) + self._positions[at]
        for index, layer in enumerate(self._layers):
            normed = layer.norms[0](hidden)
            query, key, value = F.linear(normed, *layer.self_in).view(rows, 3, self._heads, -1).unbind(1)
            keys, values = cache.own[index]
            keys[:rows, :, at], values[:rows, :, at] = key, value
            attended = F.scaled_dot_product_attention(
                query.unsqueeze(2), keys[:rows, :, : at + 1], values[:rows, :, : at + 1]
            )
            hidden = hidden + F.linear(attended.reshape(rows, -1), *layer.self_out)
            normed = layer.norms[1](hidden)
            query = F.linear(normed, *layer.cross_query).view(rows, self._heads, 1, -1)
            attended = [
                F.scaled_dot_product_attention(q, k, v)
                for q, (k, v) in zip(query.split(cache.sizes), cache.cross[index], strict=True)
            ]
            hidden = hidden + F.linear(torch.cat(attended).reshape(rows, -1), *layer.cross_out)
            normed = layer.norms[2](hidden)
            hidden = hidden + F.linear(F.gelu(F.linear(normed, *layer.mlp_in)), *layer.mlp_out)
        return self._norm(hidden)

    def _cross(self, features: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return each layer's cross-attention keys and values of a group: (windows, heads, frames, dim / heads)."""
        windows, frames, _ = features.shape
        features = features.to(self._decoder_dtype)
        pairs = []
        for layer in self._layers:
            fused = F.linear(features, *layer.cross_in).view(windows, frames, 2, self._heads, -1)
            keys, values = fused.permute(2, 0, 3, 1, 4).contiguous().unbind(0)
            pairs.append((keys, values))
        return pairs

    def _layer(self, block: Any) -> _Layer:
        def fuse(attention: MultiHeadAttention, *names: str) -> tuple[Tensor, Tensor]:
            linears = [getattr(attention, name) for name in names]
            weight = torch.cat([linear.weight for linear in linears])
            # Whisper's key has no bias.
            biases = [
                linear.bias if linear.bias is not None else linear.weight.new_zeros(len(linear.weight))
                for linear in linears
            ]
            return cast(weight, torch.cat(biases))

        def cast(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
            return weight.detach().to(self._decoder_dtype), bias.detach().to(self._decoder_dtype)

        return _Layer(
            norms=(block.attn_ln, block.cross_attn_ln, block.mlp_ln),
            self_in=fuse(block.attn, "query", "key", "value"),
            self_out=fuse(block.attn, "out"),
            cross_query=fuse(block.cross_attn, "query"),
            cross_in=fuse(block.cross_attn, "key", "value"),
            cross_out=fuse(block.cross_attn, "out"),
            mlp_in=cast(block.mlp[0].weight, block.mlp[0].bias),
            mlp_out=cast(block.mlp[2].weight, block.mlp[2].bias),
        )


@dataclass
class _Cache:
    """Keys and values of a batch: of its tokens, preallocated, and of its audio, in groups of one length.

    ``own`` has a pair (rows, heads, tokens, dim / heads) for each layer, ``cross`` a list of pairs, one for each group.
    """

    own: list[tuple[Tensor, Tensor]]
    cross: list[list[tuple[Tensor, Tensor]]]
    length: int = 0

    @classmethod
    def allocate(
        cls, groups: list[list[tuple[Tensor, Tensor]]], *, rows: int, tokens: int, heads: int, like: Tensor
    ) -> "_Cache":
        """Allocate a cache for ``rows`` windows of ``tokens`` tokens."""
        shape = (rows, heads, tokens, like.shape[1] // heads)
        layers = range(len(groups[0]))
        return cls(
            [(like.new_empty(shape), like.new_empty(shape)) for _ in layers],
            [[group[index] for group in groups] for index in layers],
        )

    @property
    def sizes(self) -> list[int]:
        """Number of rows of each group."""
        return [len(keys) for keys, _ in self.cross[0]]

    @property
    def full(self) -> bool:
        """Whether the cache has no room for another token."""
        return self.length == self.own[0][0].shape[2]

    def keep(self, rows: list[int]) -> None:
        """Remove all rows but these."""
        device = self.own[0][0].device
        kept = torch.tensor(rows, device=device)
        for keys, values in self.own:
            keys[: len(rows), :, : self.length] = keys[kept, :, : self.length]
            values[: len(rows), :, : self.length] = values[kept, :, : self.length]
        first, picks = 0, []
        for size in self.sizes:
            inside = [row - first for row in rows if first <= row < first + size]
            picks.append(None if len(inside) == size else torch.tensor(inside, dtype=torch.long, device=device))
            first += size
        for index, pairs in enumerate(self.cross):
            chosen = [
                pair if pick is None else (pair[0][pick], pair[1][pick])
                for pair, pick in zip(pairs, picks, strict=True)
            ]
            self.cross[index] = [pair for pair in chosen if len(pair[0])]
