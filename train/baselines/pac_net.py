"""After PAC-Net (Wang et al., ECCV 2022), which is known by its abstract: a classifier for each group of a history."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.baselines.rival import Rival, TokenSizes, Window, mlp

GROUPS = 4
_ROUNDS = 10
_TEMPERATURE = 0.1


class PACNet(Rival):
    """Classifiers customised by the mean of each group, and a generic one, weighted by their relevance."""

    def __init__(self, sizes: TokenSizes, *, dim: int = 256) -> None:
        super().__init__(sizes)
        self.encode = mlp(sizes.token, dim, dim)
        self.customise = nn.Linear(dim, dim + 1)
        self.generic_key, self.generic = (
            nn.Parameter(torch.randn(dim) * 0.02),
            nn.Parameter(torch.randn(dim + 1) * 0.02),
        )

    def forward(self, window: Window) -> Tensor:
        """Return logits (batch, segments)."""
        history, mask = self.read_history(window)
        centres, has_member = k_means(history, mask)
        frames, groups = self.encode(self.read(window)), self.encode(centres)
        batch, _, dim = groups.shape
        keys = torch.cat([groups, self.generic_key.expand(batch, 1, dim)], dim=1)
        classifiers = torch.cat([self.customise(groups), self.generic.expand(batch, 1, dim + 1)], dim=1)
        relevance = F.normalize(frames, dim=-1) @ F.normalize(keys, dim=-1).transpose(1, 2) / _TEMPERATURE
        absent = ~F.pad(has_member, (0, 1), value=True).unsqueeze(1)
        logits = frames @ classifiers[..., :dim].transpose(1, 2) / dim**0.5 + classifiers[..., dim].unsqueeze(1)
        return (relevance.masked_fill(absent, -torch.inf).softmax(-1) * logits).sum(-1)


def k_means(items: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Group the valid items of each batch entry, which come first, by Lloyd's algorithm.

    Parameters
    ----------
    items, mask
        (batch, items, dim), (batch, items) bool. Groups start at items that are evenly spaced.

    Returns
    -------
    Means (batch, 4, dim), through which gradients flow, and which groups have any item (batch, 4).
    """
    counts, number = mask.sum(1, keepdim=True), torch.arange(GROUPS, device=items.device)
    has_member, start = number < counts, number * counts.clamp(min=GROUPS) // GROUPS
    fixed = items.detach()
    centres = fixed.gather(1, start.unsqueeze(-1).expand(-1, -1, items.shape[-1]))
    member = items.new_zeros(*start.shape, items.shape[1])
    for _ in range(_ROUNDS):
        distance = torch.cdist(centres, fixed).masked_fill(~has_member.unsqueeze(-1), torch.inf)
        member = F.one_hot(distance.argmin(1), GROUPS).transpose(1, 2) * mask.unsqueeze(1)
        means = member.to(fixed) @ fixed / member.sum(-1, keepdim=True).clamp(min=1)
        centres = torch.where(member.any(-1, keepdim=True), means, centres)
    size = member.sum(-1, keepdim=True)
    return member.to(items) @ items / size.clamp(min=1), size.squeeze(-1) > 0
