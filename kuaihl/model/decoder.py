"""Causal decoder: each segment of a window attends to itself and to those before it (Eq. 3)."""

import torch
from torch import Tensor, nn


class CausalDecoder(nn.Module):
    """Pre-norm transformer layers under a lower triangular mask, with a learned position in the window.

    The paper fills the mask's upper triangle with 0, which would hide the past; here the lower one is visible. Not in
    the paper is the ``recurrent`` layer before them, a GRU whose output is added (as in the Temporal Fusion
    Transformer; Lim et al., 2021): it smooths the past, which attention alone takes long to learn.
    """

    def __init__(
        self, *, dim: int, heads: int, layers: int, window: int, dropout: float, recurrent: bool = False
    ) -> None:
        super().__init__()
        self.recurrent = nn.GRU(dim, dim, batch_first=True) if recurrent else None
        self.dropout = nn.Dropout(dropout)
        self.position = nn.Parameter(torch.randn(window, dim) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, heads, 4 * dim, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, segments: Tensor, *, recurrent: bool = False) -> Tensor:
        """(batch, segments, dim) -> (batch, segments, dim); at most ``window`` segments, padding at the end."""
        length = segments.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
        if recurrent:
            if self.recurrent is None:
                raise ValueError("this decoder has no recurrent layer")
            with torch.autocast(segments.device.type, enabled=False):
                segments = segments + self.recurrent(self.dropout(segments.float()))[0]
        segments = segments + self.position[:length]
        for layer in self.layers:
            segments = layer(segments, src_mask=~mask)
        return self.norm(segments)
