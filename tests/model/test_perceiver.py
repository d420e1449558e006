"""The shortcut of the perceiver for one query against the attention of PyTorch."""

import pytest
import torch
from torch import nn

from kuaihl.model.perceiver import attend_once


@pytest.mark.parametrize(("dim", "heads"), [(16, 2), (128, 4)])
def test_one_query_is_attention(dim: int, heads: int) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(dim, heads, batch_first=True).double()
    nn.init.normal_(attention.in_proj_bias)
    query, memory = (torch.randn(9, n, dim, dtype=torch.float64, requires_grad=True) for n in (1, 7))
    mask = torch.rand(9, 7) < 0.5
    mask[:, -1] = True
    expected, _ = attention(query, memory, memory, key_padding_mask=~mask, need_weights=False)
    found = attend_once(attention, query, memory, mask)
    torch.testing.assert_close(found, expected)
    inputs = (query, memory, attention.in_proj_weight)
    for ours, theirs in zip(
        torch.autograd.grad(found.sum(), inputs), torch.autograd.grad(expected.sum(), inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
