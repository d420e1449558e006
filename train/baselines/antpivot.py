"""AntPivot (Zhao et al., IJCAI 2022), as in its authors' code; reads the text, or the text and the pictures."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.baselines.rival import Rival, TokenSizes, Window, masked_bce, mlp

_MASKED = -1e4
_GATE_WEIGHT = 0.25


class InitialGate(nn.Module):
    """A bidirectional GRU over the window, and a gate for each segment of itself, its neighbours, and the window."""

    def __init__(self, dim: int, *, dropout: float) -> None:
        super().__init__()
        self.gru = nn.GRU(dim, dim // 2, 2, batch_first=True, bidirectional=True, dropout=dropout)
        self.neighbours = nn.Sequential(nn.Conv1d(dim, dim, 15, padding=7, groups=dim), nn.Conv1d(dim, dim, 1))
        self.gate = mlp(3 * dim, 2 * dim, dim, 1, activation=nn.GELU, dropout=dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, segments, dim), (batch, segments) -> the same, and gates (batch, segments)."""
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(tokens, lengths, batch_first=True, enforce_sorted=False)
        output, state = self.gru(packed)
        sequence, _ = nn.utils.rnn.pad_packed_sequence(output, batch_first=True, total_length=tokens.shape[1])
        whole = torch.cat([state[-2], state[-1]], dim=-1).unsqueeze(1).expand_as(tokens)
        near = self.neighbours(tokens.transpose(1, 2)).transpose(1, 2)
        return sequence, self.gate(torch.cat([tokens, near, whole], dim=-1)).squeeze(-1)


class Encoder(nn.Module):
    """Transformer layers with sinusoidal positions on queries and keys, norms before and after, scaled residuals."""

    def __init__(self, dim: int, *, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(dim, heads=heads, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """(batch, items, dim), (batch, items) bool -> (batch, items, dim)."""
        for layer in self.layers:
            values = layer(values, mask)
        return self.norm(values)


class EncoderLayer(nn.Module):
    """Attention and feed-forward, which share the norms and the scale, as in the released code."""

    def __init__(self, dim: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.feed_forward = mlp(dim, 4 * dim, dim, activation=nn.GELU, dropout=dropout)
        self.pre_norm, self.post_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.scale = nn.Parameter(torch.full((dim,), 0.1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """(batch, items, dim), (batch, items) bool -> (batch, items, dim)."""
        normed = self.pre_norm(values)
        query = normed + sinusoids(*values.shape[1:]).to(values)
        attended, _ = self.attention(query, query, normed, key_padding_mask=~mask, need_weights=False)
        values = values + self.dropout(self.scale * self.post_norm(attended))
        fed = self.feed_forward(self.pre_norm(values))
        return values + self.dropout(self.scale * self.post_norm(fed))


def sinusoids(length: int, dim: int) -> Tensor:
    """Return the sinusoidal positions (length, dim) of Vaswani et al. (2017)."""
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000) / dim))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :dim]


class AntPivot(Rival):
    """Chunks of the window, each with a pivot: pivots attend to pivots, and segments to those of their chunk.

    A second pass, with the same weights, has its chunks shifted by half.

    Parameters
    ----------
    dim
        Width; 512 in the original.
    pictures
        Read pictures too. The original reads text alone.
    """

    every_position = False

    def __init__(
        self, sizes: TokenSizes, *, dim: int = 128, heads: int = 8, dropout: float = 0.4, pictures: bool = False
    ) -> None:
        super().__init__(sizes)
        self.first = 0 if pictures else sizes.pictures
        self.project = nn.Linear(sizes.token - self.first, dim)
        self.initial_gate = InitialGate(dim, dropout=dropout)
        options = {"heads": heads, "layers": 2, "dropout": dropout}
        self.pivot_encoders = nn.ModuleList(Encoder(dim, **options) for _ in range(3))
        self.chunk_encoders = nn.ModuleList(Encoder(dim, **options) for _ in range(3))
        self.internal_gate = mlp(3 * dim, 2 * dim, dim, 1, activation=nn.GELU, dropout=dropout)
        self.head = mlp(2 * dim, dim, dim, 1, activation=nn.GELU, dropout=dropout)

    def gates_and_scores(self, window: Window) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (batch, segments): scores, initial gates and final gates."""
        tokens = self.project(self.read(window)[..., self.first :]) * window.mask.unsqueeze(-1)
        sequence, initial = self.initial_gate(tokens, window.mask)
        size = math.isqrt(tokens.shape[1])
        plain, plain_gate = self._pass(sequence, initial, window.mask, size=size, shift=0)
        shifted, shifted_gate = self._pass(sequence, initial, window.mask, size=size, shift=size // 2)
        scores = self.head(torch.cat([plain, shifted], dim=-1)).squeeze(-1)
        return scores, initial, (plain_gate + shifted_gate) / 2

    def _pass(self, sequence: Tensor, gate: Tensor, mask: Tensor, *, size: int, shift: int) -> tuple[Tensor, Tensor]:
        """Return features (batch, segments, dim) and gates (batch, segments) of chunks of ``size``."""
        batch, length, dim = sequence.shape
        end = -(length + shift) % size
        chunks = F.pad(sequence, (0, 0, shift, end)).view(batch, -1, size, dim)
        mask, gate = (F.pad(values, (shift, end)).view(batch, -1, size) for values in (mask, gate))
        number = chunks.shape[1]
        pivots, has_segment = _attend(chunks, gate, mask), mask.any(-1)
        items, inner_mask = chunks.flatten(0, 1), F.pad(mask.flatten(0, 1), (1, 0), value=True)
        gates = []
        for encode_pivots, encode_chunks in zip(self.pivot_encoders, self.chunk_encoders, strict=True):
            pivots = encode_pivots(pivots, has_segment)
            encoded = encode_chunks(torch.cat([pivots.view(-1, 1, dim), items], dim=1), inner_mask)
            pivots, items = encoded[:, 0].view(batch, number, dim), encoded[:, 1:]
            chunks = items.view(batch, number, size, dim)
            known = chunks * mask.unsqueeze(-1)
            mean = known.sum((1, 2)) / mask.sum((1, 2)).clamp(min=1).unsqueeze(-1)
            local, whole = pivots.unsqueeze(2).expand_as(chunks), mean[:, None, None].expand_as(chunks)
            gates.append(self.internal_gate(torch.cat([chunks, local, whole], dim=-1)).squeeze(-1))
            pivots = pivots + _attend(chunks, gates[-1], mask)
        kept = slice(shift, shift + length)
        return chunks.flatten(1, 2)[:, kept], torch.stack(gates).mean(0).flatten(1)[:, kept]

    def forward(self, window: Window) -> Tensor:
        """Return logits of the last position (batch, 1)."""
        return window.last(self.gates_and_scores(window)[0]).unsqueeze(1)

    def loss(self, window: Window, label: Tensor, label_mask: Tensor) -> Tensor:
        """Return the cross-entropy of the scores, and a quarter of that of both gates."""
        targets = self.targets(window, label, label_mask)
        logits = self.targets(window, *self.gates_and_scores(window))
        score, initial, final = (masked_bce(x, *targets) for x in logits)
        return score + _GATE_WEIGHT * (initial + final)


def _attend(chunks: Tensor, gate: Tensor, mask: Tensor) -> Tensor:
    """Average the segments of each chunk, weighted by the softmax of their gates: (batch, chunks, dim)."""
    weights = gate.masked_fill(~mask, _MASKED).softmax(-1) * mask
    return (weights.unsqueeze(-1) * chunks).sum(2)
