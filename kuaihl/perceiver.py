"""Perceiver block: one latent a segment gathers what the segment's tokens say (Sect. III-B)."""

import torch
from torch import Tensor, nn


class PerceiverLayer(nn.Module):
    """Cross-attention from the latent to [tokens, latent] and a feed-forward, both residual and pre-norm."""

    def __init__(self, *, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(dim)
        self.memory_norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim), nn.Dropout(dropout)
        )

    def forward(self, latent: Tensor, tokens: Tensor, absent: Tensor) -> Tensor:
        """(batch, 1, dim), (batch, tokens, dim), (batch, tokens) bool, True = no such token -> (batch, 1, dim)."""
        memory = self.memory_norm(torch.cat([tokens, latent], dim=1))
        hidden = torch.cat([absent, absent.new_zeros(len(absent), 1)], dim=1)  # the latent always sees itself
        gathered, _ = self.attention(
            self.query_norm(latent), memory, memory, key_padding_mask=hidden, need_weights=False
        )
        latent = latent + gathered
        return latent + self.feed_forward(latent)


class Perceiver(nn.Module):
    """``layers`` perceiver layers with their own weights; never looks across segments, so it leaks no future."""

    def __init__(self, *, dim: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PerceiverLayer(dim=dim, heads=heads, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, latent: Tensor, tokens: Tensor, present: Tensor) -> Tensor:
        """Gather the tokens of each segment.

        Parameters
        ----------
        latent
            (batch, segments, dim): the streamer's embedding.
        tokens
            (batch, segments, tokens, dim).
        present
            (batch, segments, tokens) bool; a token that is not present has no influence.

        Returns
        -------
        (batch, segments, dim)
        """
        shape = latent.shape
        latent, tokens, absent = latent.flatten(0, 1).unsqueeze(1), tokens.flatten(0, 1), ~present.flatten(0, 1)
        for layer in self.layers:
            latent = layer(latent, tokens, absent)
        return self.norm(latent).view(shape)
