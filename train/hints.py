"""Hints: what a model learns in training beside its labels, where somebody knows more than it can see.

A linear layer on what the perceiver gathers guesses what shows and is said in a segment, another on what the decoder
gives guesses what somebody remembered who foresaw the segment after (FitNets; Romero et al., 2015). The checkpoint has
neither.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import KuaiHL, Output
from train.dataset import Batch
from train.mixture import Part


class Learner(nn.Module):
    """A model and the layers that guess hints of ``sizes`` columns, as in `train.dataset.HINTS`; none if not given."""

    def __init__(self, model: KuaiHL, sizes: Sequence[int] = ()) -> None:
        super().__init__()
        self.model = model
        self.guesses = nn.ModuleList(nn.Linear(model.config.dim, size) for size in sizes)

    def forward(self, batch: Batch) -> tuple[Output, Tensor]:
        """Predict, and tell the squared error of the guesses, summed over hints: a mean over segments and windows."""
        output = self.model(batch.features, target=batch.target)
        missed = output.scores.new_zeros(batch.valid.shape)
        for guess, seen, hint in zip(self.guesses, (output.latents, output.hidden), batch.hints, strict=False):
            missed = missed + (guess(seen).float() - hint).square().mean(-1)
        counted = batch.valid.sum(-1)
        of_window = (missed * batch.valid).sum(-1) / counted.clamp(min=1)
        return output, of_window.sum() / counted.count_nonzero().clamp(min=1)


def hint_sizes(parts: Sequence[Part]) -> Sequence[int]:
    """Columns of the hints that datasets have; LabelError where none has any, or two have others."""
    sizes = {tuple(part.segments.info.hints.values()) for part in parts if part.segments.info.hints}
    if len(sizes) != 1:
        has = "Their hints are of different sizes" if sizes else "No dataset has hints"
        raise LabelError(f"{has}: leave out --hint, or train on what `python -m train.simulator foresee` writes.")
    return sizes.pop()
