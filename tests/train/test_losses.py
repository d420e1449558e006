"""The ranking losses against double loops, and identities that must hold."""

import math

import pytest
import torch

from train.losses import pairwise_loss, pointwise_loss

IN_REGION = {
    "all": lambda s, y: True,
    "border": lambda s, y: y - s >= 0,
    "inverted": lambda s, y: s <= 0,
    "under": lambda s, y: 0 < s < y,
}


def draw(batch: int = 4, segments: int = 7, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return scores, labels with a tie, and a mask."""
    rng = torch.Generator().manual_seed(seed)
    s, y = (torch.rand(batch, segments, generator=rng, dtype=torch.float64) for _ in range(2))
    y[:, 2] = y[:, 3]
    return s, y, torch.rand(batch, segments, generator=rng) > 0.2


def pair_losses(s: torch.Tensor, y: torch.Tensor, mask: torch.Tensor, region: str, sigma: float) -> list[float]:
    return [
        math.log(1 + math.exp(-sigma * float(s[i] - s[j])))
        for i in range(len(s))
        for j in range(len(s))
        if mask[i] and mask[j] and y[i] > y[j] and IN_REGION[region](float(s[i] - s[j]), float(y[i] - y[j]))
    ]


def mean_of_means(rows: list[list[float]]) -> float:
    return sum(sum(row) / len(row) if row else 0.0 for row in rows) / len(rows)


@pytest.mark.parametrize("region", IN_REGION)
@pytest.mark.parametrize("sigma", [1.0, 5.0])
def test_pairwise_equals_a_double_loop(region: str, sigma: float) -> None:
    s, y, mask = draw()
    expected = mean_of_means([pair_losses(*row, region, sigma) for row in zip(s, y, mask, strict=True)])
    assert float(pairwise_loss(s, y, region=region, sigma=sigma, mask=mask)) == pytest.approx(expected)


def test_pointwise_equals_a_loop() -> None:
    s, y, mask = draw()
    mask[0] = False
    rows = [
        [-(b * math.log(a) + (1 - b) * math.log(1 - a)) for a, b, m in zip(*row, strict=True) if m]
        for row in zip(s.tolist(), y.tolist(), mask.tolist(), strict=True)
    ]
    assert float(pointwise_loss(s, y, mask=mask)) == pytest.approx(mean_of_means(rows))


def test_border_is_inverted_and_under_together() -> None:
    s, y, mask = draw(batch=1, segments=20)
    count = {region: len(pair_losses(s[0], y[0], mask[0], region, 1.0)) for region in IN_REGION}
    loss = {region: float(pairwise_loss(s, y, region=region, mask=mask)) for region in IN_REGION}
    assert count["inverted"] + count["under"] == count["border"]
    total = loss["inverted"] * count["inverted"] + loss["under"] * count["under"]
    assert total == pytest.approx(loss["border"] * count["border"])


@pytest.mark.parametrize("region", IN_REGION)
def test_padding_and_order_change_nothing(region: str) -> None:
    s, y, mask = draw()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    padded = [torch.cat([x, torch.full((4, 3), fill)], dim=1) for x, fill in ((s, 0.9), (y, math.nan), (mask, False))]
    for loss in (pointwise_loss, lambda *a, **k: pairwise_loss(*a, region=region, **k)):
        expected = loss(s, y, mask=mask)
        torch.testing.assert_close(loss(s[:, order], y[:, order], mask=mask[:, order]), expected)
        torch.testing.assert_close(loss(padded[0], padded[1], mask=padded[2].bool()), expected)


def test_no_pairs_no_loss_and_no_gradient() -> None:
    s = torch.rand(2, 5, requires_grad=True)
    loss = pairwise_loss(s, torch.full((2, 5), 0.5))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(s.grad, torch.zeros(2, 5))


def test_border_has_no_gradient_once_the_gap_is_reached() -> None:
    y = torch.tensor([[0.2, 0.4]])
    s = torch.tensor([[0.1, 0.9]], requires_grad=True)
    pairwise_loss(s, y, region="border").backward()
    assert not s.grad.any()
    pairwise_loss(s, y, region="all").backward()
    assert s.grad[0, 1] < 0


def test_unknown_region() -> None:
    with pytest.raises(ValueError, match="region must be"):
        pairwise_loss(torch.rand(1, 2), torch.rand(1, 2), region="beyond")
