"""Perceiver block: one latent a segment gathers what the segment's tokens say (Sect. III-B)."""

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

    def forward(self, latent: Tensor, tokens: Tensor, absent: Tensor) -> Tensor:
        """(batch, 1, dim), (batch, tokens, dim), (batch, tokens) bool, True = no such token -> (batch, 1, dim)."""
        memory = self.memory_norm(torch.cat([tokens, latent], dim=1))
        hidden = torch.cat([absent, absent.new_zeros(len(absent), 1)], dim=1)  # the latent always sees itself
        latent = latent + attend_once(self.attention, self.query_norm(latent), memory, hidden)
        return latent + self.feed_forward(latent)


def attend_once(attention: nn.MultiheadAttention, query: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
    """What ``attention`` gives for one query an item, without making a key and a value of every token.

    q . (K m) = (K' q) . m, and the weighted sum of V m is V of the weighted sum of m: so the two large products are
    taken with the query and with the sum, of which there is one, and not with each token.

    Parameters
    ----------
    query, memory
        (batch, 1, dim) and (batch, tokens, dim).
    hidden
        (batch, tokens) bool, True = not seen.

    Returns
    -------
    (batch, 1, dim)
    """
    batch, dim, heads = len(query), attention.embed_dim, attention.num_heads
    to_query, to_key, to_value = attention.in_proj_weight.view(3, heads, dim // heads, dim)
    query_bias, _, value_bias = attention.in_proj_bias.view(3, heads, dim // heads)
    asked = F.linear(query[:, 0], to_query.flatten(0, 1), query_bias.flatten()).view(batch, heads, -1)
    asked = torch.einsum("bhc,hcd->bhd", asked * (dim // heads) ** -0.5, to_key)
    scores = asked @ memory.transpose(1, 2)  # (batch, heads, tokens); the key's bias would add the same to all
    weights = scores.masked_fill(hidden.unsqueeze(1), -torch.inf).softmax(-1)
    weights = F.dropout(weights, attention.dropout, attention.training)
    gathered = torch.einsum("bhd,hcd->bhc", weights @ memory, to_value) + value_bias * weights.sum(-1, keepdim=True)
    return attention.out_proj(gathered.reshape(batch, 1, dim))


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
