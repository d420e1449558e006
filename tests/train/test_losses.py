"""The ranking losses against double loops and the identities that must hold."""

import math

import pytest
import torch

from train.losses import pairwise_loss, pointwise_loss

KEPT = {
    "all": lambda s, y: True,
    "border": lambda s, y: y - s >= 0,
    "inverted": lambda s, y: s <= 0,
    "under": lambda s, y: 0 < s < y,
}


def scores(batch: int = 4, segments: int = 7, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    s, y = (torch.rand(batch, segments, generator=rng, dtype=torch.float64) for _ in range(2))
    y[:, 2] = y[:, 3]  # a tie
    return s, y, torch.rand(batch, segments, generator=rng) > 0.2


def pairs(s: torch.Tensor, y: torch.Tensor, valid: torch.Tensor, region: str, sigma: float) -> list[float]:
    return [
        math.log(1 + math.exp(-sigma * float(s[i] - s[j])))
        for i in range(len(s))
        for j in range(len(s))
        if valid[i] and valid[j] and y[i] > y[j] and KEPT[region](float(s[i] - s[j]), float(y[i] - y[j]))
    ]


@pytest.mark.parametrize("region", KEPT)
@pytest.mark.parametrize("sigma", [1.0, 5.0])
def test_pairwise_equals_a_double_loop(region: str, sigma: float) -> None:
    s, y, valid = scores()
    rows = [pairs(*row, region, sigma) for row in zip(s, y, valid, strict=True)]
    expected = sum(sum(row) / len(row) if row else 0.0 for row in rows) / len(rows)
    assert float(pairwise_loss(s, y, region=region, sigma=sigma, valid=valid)) == pytest.approx(expected)


def test_border_is_inverted_and_under_together() -> None:
    s, y, valid = scores(batch=1, segments=20)
    count = {region: len(pairs(s[0], y[0], valid[0], region, 1.0)) for region in KEPT}
    loss = {region: float(pairwise_loss(s, y, region=region, valid=valid)) for region in KEPT}
    assert count["inverted"] + count["under"] == count["border"]
    together = loss["inverted"] * count["inverted"] + loss["under"] * count["under"]
    assert together == pytest.approx(loss["border"] * count["border"])


def test_pointwise_equals_a_loop() -> None:
    s, y, valid = scores()
    valid[0] = False
    rows = [
        [-(b * math.log(a) + (1 - b) * math.log(1 - a)) for a, b, v in zip(*row, strict=True) if v]
        for row in zip(s.tolist(), y.tolist(), valid.tolist(), strict=True)
    ]
    expected = sum(sum(row) / len(row) if row else 0.0 for row in rows) / len(rows)
    assert float(pointwise_loss(s, y, valid=valid)) == pytest.approx(expected)


@pytest.mark.parametrize("region", KEPT)
def test_padding_and_order_change_nothing(region: str) -> None:
    s, y, valid = scores()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    padded = [torch.cat([x, torch.full((4, 3), fill)], dim=1) for x, fill in ((s, 0.9), (y, math.nan), (valid, False))]
    for loss in (pointwise_loss, lambda *a, **k: pairwise_loss(*a, region=region, **k)):
        expected = loss(s, y, valid=valid)
        torch.testing.assert_close(loss(s[:, order], y[:, order], valid=valid[:, order]), expected)
        torch.testing.assert_close(loss(padded[0], padded[1], valid=padded[2].bool()), expected)


def test_no_pairs_no_loss_and_no_gradient() -> None:
    s = torch.rand(2, 5, requires_grad=True)
    loss = pairwise_loss(s, torch.full((2, 5), 0.5))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(s.grad, torch.zeros(2, 5))


def test_border_stops_pushing_where_the_gap_is_reached() -> None:
    y = torch.tensor([[0.2, 0.4]])
    wide = torch.tensor([[0.1, 0.9]], requires_grad=True)
    pairwise_loss(wide, y, region="border").backward()
    assert not wide.grad.any()
    pairwise_loss(wide, y, region="all").backward()
    assert wide.grad[0, 1] < 0


def test_unknown_region() -> None:
    with pytest.raises(ValueError, match="region must be"):
        pairwise_loss(torch.rand(1, 2), torch.rand(1, 2), region="beyond")
