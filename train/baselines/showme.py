"""After ShowMe (Bhattacharya et al., ACM MM 2022), known by its abstract: preferred clips make a vector."""

import torch
from torch import Tensor, nn

from train.baselines.rival import Rival, TokenSizes, Window, mlp, pooled


class Stream(nn.Module):
    """One kind of feature: what the user prefers, times what the video shows."""

    def __init__(self, before: int, dim: int, *, heads: int) -> None:
        super().__init__()
        self.prime_history, self.prime_video = mlp(before, dim, dim), mlp(before, dim, dim)
        self.attend_history = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.attend_video = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.weigh = nn.Linear(dim, 1)

    def forward(self, tokens: Tensor, history: Tensor, history_mask: Tensor) -> Tensor:
        """(batch, segments, before), (batch, items, before) -> (batch, segments, dim)."""
        clips = self.prime_history(history)
        attended, _ = self.attend_history(clips, clips, clips, key_padding_mask=~history_mask, need_weights=False)
        weights = self.weigh(attended).squeeze(-1).masked_fill(~history_mask, -torch.inf).softmax(-1)
        user = pooled(clips, weights)
        video = self.prime_video(tokens)
        future = torch.ones(video.shape[1], video.shape[1], dtype=torch.bool, device=video.device).triu(1)
        seen, _ = self.attend_video(video, video, video, attn_mask=future, need_weights=False)
        return (video + seen) * user.unsqueeze(1) / video.shape[-1] ** 0.5


class ShowMe(Rival):
    """A stream of pictures and one of text, in place of the original's objects and poses.

    A segment of the history is one token, so that a clip needs no weights of its frames.
    """

    def __init__(self, sizes: TokenSizes, *, dim: int = 256, heads: int = 4) -> None:
        super().__init__(sizes)
        self.pictures = Stream(sizes.pictures, dim, heads=heads)
        self.text = Stream(sizes.token - sizes.pictures, dim, heads=heads)
        self.head = mlp(2 * dim, dim, 1)

    def forward(self, window: Window) -> Tensor:
        """Return logits (batch, segments)."""
        tokens, (history, mask), end = self.read(window), self.read_history(window), self.sizes.pictures
        pictures = self.pictures(tokens[..., :end], history[..., :end], mask)
        text = self.text(tokens[..., end:], history[..., end:], mask)
        return self.head(torch.cat([pictures, text], dim=-1)).squeeze(-1)
