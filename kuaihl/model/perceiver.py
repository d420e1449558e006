"""Perceiver block: one latent per segment attends to the segment's tokens (Sect. III-B)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PerceiverLayer(nn.Module):
    """Cross-attention from the latent to [tokens, latent] and a feed-forward, both residual and pre-norm."""

    def __init__(self, *, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(dim)
        self.memory_norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)  # holds the weights
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim), nn.Dropout(dropout)
        )

    def forward(self, latent: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """(batch, 1, dim), (batch, tokens, dim), (batch, tokens) bool, True = valid -> (batch, 1, dim)."""
        memory = self.memory_norm(torch.cat([tokens, latent], dim=1))
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)  # the latent always sees itself
        latent = latent + attend_once(self.attention, self.query_norm(latent), memory, mask)
        return latent + self.feed_forward(latent)


def attend_once(attention: nn.MultiheadAttention, query: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
    """Return what ``attention`` gives for one query per item, without a key and a value for every token.

    q . (K m) = (K' q) . m, and the weighted sum of V m is V of the weighted sum of m. So the two large products are
    taken once per query, not once per token.

    Parameters
    ----------
    query, memory
        (batch, 1, dim) and (batch, tokens, dim).
    mask
        (batch, tokens) bool, True = valid.

    Returns
    -------
    (batch, 1, dim)
    """
    batch, dim, heads = len(query), attention.embed_dim, attention.num_heads
    to_query, to_key, to_value = attention.in_proj_weight.view(3, heads, dim // heads, dim)
    query_bias, _, value_bias = attention.in_proj_bias.view(3, heads, dim // heads)
    queries = F.linear(query[:, 0], to_query.flatten(0, 1), query_bias.flatten()).view(batch, heads, -1)
    queries = torch.einsum("bhc,hcd->bhd", queries * (dim // heads) ** -0.5, to_key)
    scores = queries @ memory.transpose(1, 2)  # (batch, heads, tokens); the key's bias would add the same to all
    weights = scores.masked_fill(~mask.unsqueeze(1), -torch.inf).softmax(-1)
    weights = F.dropout(weights, attention.dropout, attention.training)
    attended = torch.einsum("bhd,hcd->bhc", weights @ memory, to_value) + value_bias * weights.sum(-1, keepdim=True)
    return attention.out_proj(attended.reshape(batch, 1, dim))


class Perceiver(nn.Module):
    """Perceiver layers with their own weights. They never look across segments, so no future leaks in."""

    def __init__(self, *, dim: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PerceiverLayer(dim=dim, heads=heads, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, latents: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Update the latent of each segment from its tokens.

        Parameters
        ----------
        latents
            (batch, segments, dim): the streamer's embedding.
        tokens
            (batch, segments, tokens, dim).
        mask
            (batch, segments, tokens) bool, True = valid; other tokens have no influence.

        Returns
        -------
        (batch, segments, dim)
        """
        latent, tokens, mask = latents.flatten(0, 1).unsqueeze(1), tokens.flatten(0, 1), mask.flatten(0, 1)
        for layer in self.layers:
            latent = layer(latent, tokens, mask)
        return self.norm(latent).view(latents.shape)
