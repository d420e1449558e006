"""Hints: auxiliary targets that a model learns beside its labels, if the dataset has them (FitNets; Romero, 2015).

A linear layer on the output of the perceiver predicts the content of a segment, another on that of the decoder the
state of an observer after the next segment. The checkpoint has neither layer.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import KuaiHL, Output
from train.dataset import Batch
from train.mixture import TrainingSet


class Learner(nn.Module):
    """A model with a linear layer for each of `train.dataset.HINTS`.

    Parameters
    ----------
    sizes
        Number of columns of each; empty without hints.
    """

    def __init__(self, model: KuaiHL, sizes: Sequence[int] = ()) -> None:
        super().__init__()
        self.model = model
        self.hint_heads = nn.ModuleList(nn.Linear(model.config.dim, size) for size in sizes)

    def forward(self, batch: Batch) -> tuple[Output, Tensor]:
        """Return the output, and the squared error of the hints: their sum, a mean over segments and windows."""
        output = self.model(batch.features, target=batch.target)
        error = output.scores.new_zeros(batch.segment_mask.shape)
        for head, states, hint in zip(self.hint_heads, (output.latents, output.hidden), batch.hints, strict=False):
            error = error + (head(states).float() - hint).square().mean(-1)
        lengths = batch.segment_mask.sum(-1)
        per_window = (error * batch.segment_mask).sum(-1) / lengths.clamp(min=1)
        return output, per_window.sum() / lengths.count_nonzero().clamp(min=1)


def hint_sizes(sets: Sequence[TrainingSet]) -> Sequence[int]:
    """Return the number of columns of the datasets' hints; LabelError if there are none, or they differ."""
    sizes = {tuple(data.segments.info.hints.values()) for data in sets if data.segments.info.hints}
    if len(sizes) != 1:
        reason = "Hints of the datasets have different sizes" if sizes else "No dataset has hints"
        raise LabelError(f"{reason}: leave out --hint-weight.")
    return sizes.pop()
