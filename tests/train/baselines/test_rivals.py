"""Rivals of Table I: what they read and what they do not, sizes, and that they learn."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from sklearn.cluster import KMeans
from torch import Tensor

from train.baselines.adaptive_fcsn import AdaptiveFCSN
from train.baselines.antpivot import AntPivot, sinusoids
from train.baselines.dpp_lstm import DppLSTM, dpp_kernel, dpp_log_likelihood, summary
from train.baselines.gif_rankers import PHDGIFs, Video2GIF, pair_huber
from train.baselines.kuailive_models import (
    KuaiLiveCausal,
    KuaiLiveGRU,
    KuaiLiveLocalGlobal,
    KuaiLiveMLP,
    benchmark_loss,
)
from train.baselines.pac_net import GROUPS, PACNet, k_means
from train.baselines.pr_net import PRNet
from train.baselines.rival import HISTORY, Rival, TokenSizes, Window
from train.baselines.showme import ShowMe

SIZES = TokenSizes(pictures=8, text=8, activity=3, streamers=2)
RIVALS: dict[str, Callable[[TokenSizes], Rival]] = {
    "adaptive-fcsn": AdaptiveFCSN,
    "antpivot": partial(AntPivot, dim=32, pictures=True, dropout=0.1),
    "dpp-lstm": partial(DppLSTM, dim=32),
    "kuailive-causal": KuaiLiveCausal,
    "kuailive-gru": KuaiLiveGRU,
    "kuailive-local-global": KuaiLiveLocalGlobal,
    "kuailive-mlp": KuaiLiveMLP,
    "pac-net": partial(PACNet, dim=32),
    "phd-gifs": PHDGIFs,
    "pr-net": partial(PRNet, dim=32),
    "showme": partial(ShowMe, dim=32),
    "video2gif": Video2GIF,
}
LEARNING_RATES = {"adaptive-fcsn": 1e-3, "dpp-lstm": 1e-2, "kuailive-local-global": 3e-4, "pr-net": 1e-2}
PERSONAL = ("adaptive-fcsn", "pac-net", "phd-gifs", "pr-net", "showme")

pytestmark = pytest.mark.usefixtures("one_thread")


def make_window(lengths: list[int], *, histories: list[int], seed: int = 0) -> Window:
    rng = torch.Generator().manual_seed(seed)
    mask = torch.arange(20) < torch.tensor(lengths)[:, None]
    history_mask = torch.arange(HISTORY) < torch.tensor(histories)[:, None]
    tokens = torch.randn(len(lengths), 20, SIZES.raw, generator=rng) * mask.unsqueeze(-1)
    history = torch.randn(len(lengths), HISTORY, SIZES.raw, generator=rng) * history_mask.unsqueeze(-1)
    return Window(tokens, mask, history, history_mask, torch.arange(len(lengths)) % 3)


def build(name: str) -> Rival:
    torch.manual_seed(0)
    return RIVALS[name](SIZES).eval()


@pytest.mark.parametrize("name", RIVALS)
def test_scores_depend_on_the_window_and_nothing_else(name: str) -> None:
    """No value of padding, of a later segment, or of another window changes a score."""
    model, window = build(name), make_window([20, 7, 1], histories=[20, 3, 0])
    scores = model(window)
    assert scores.shape == ((3, 20) if model.every_position else (3, 1))
    assert torch.isfinite(window.last(scores) if model.every_position else scores).all()
    noise = torch.randn(window.tokens.shape)
    padded = replace(
        window,
        tokens=torch.where(window.mask.unsqueeze(-1), window.tokens, noise),
        history=torch.where(window.history_mask.unsqueeze(-1), window.history, noise),
    )
    alone = replace(
        window, **{f: getattr(window, f)[1:2] for f in ("tokens", "mask", "history", "history_mask", "streamer")}
    )
    if model.every_position:
        later = replace(window, tokens=torch.where(torch.arange(20)[:, None] > 4, noise, window.tokens))
        torch.testing.assert_close(model(later)[:2, :5], scores[:2, :5])
        torch.testing.assert_close(model(padded)[window.mask], scores[window.mask])
        torch.testing.assert_close(model(alone)[:, :7], scores[1:2, :7])
    else:
        torch.testing.assert_close(model(padded), scores)
        torch.testing.assert_close(model(alone), scores[1:2])


@pytest.mark.parametrize("name", RIVALS)
def test_what_is_read(name: str) -> None:
    """The streamer changes every score, the history those of personal methods."""
    model, window = build(name), make_window([20, 20], histories=[5, 5])
    with torch.no_grad():
        model.streamer.weight.normal_()
    last = window.last if model.every_position else lambda scores: scores[:, 0]
    scores = last(model(window))
    assert (last(model(replace(window, streamer=window.streamer + 1))) != scores).all()
    other = last(model(replace(window, history=window.history.flip(0) * window.history_mask.unsqueeze(-1))))
    assert (other != scores).all() if name in PERSONAL else torch.equal(other, scores)
    assert RIVALS[name](replace(SIZES, streamers=0)).streamer is None


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_learn(name: str) -> None:
    """The label follows from the last segment; for personal methods, together with the history."""
    torch.manual_seed(0)
    model = RIVALS[name](SIZES)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATES.get(name, 2e-3))

    def draw(seed: int) -> tuple[Window, Tensor, Tensor]:
        window = make_window([20] * 32, histories=[8] * 32, seed=seed)
        likes = torch.where(torch.arange(32) % 2 == 0, 1.0, -1.0) if name in PERSONAL else torch.ones(32)
        direction = torch.zeros(SIZES.raw)
        direction[:4] = direction[8:12] = 1.0
        if name in PERSONAL:
            history = 0.3 * window.history + 2 * likes[:, None, None] * direction
            window = replace(window, history=history * window.history_mask.unsqueeze(-1))
        tokens = 0.3 * window.tokens
        amount = torch.randn(32, 20, generator=torch.Generator().manual_seed(seed))
        tokens = tokens + amount.unsqueeze(-1) * direction
        label = (2 * likes.unsqueeze(1) * amount).sigmoid()
        return replace(window, tokens=tokens, streamer=torch.zeros_like(window.streamer)), label, window.mask

    window, label, _ = draw(0)
    tau, steps = 0.0, 0
    while tau <= 0.5:
        assert steps < 300, tau
        for _ in range(20):
            steps += 1
            optimizer.zero_grad()
            model.loss(*draw(steps)).backward()
            optimizer.step()
        scores = model.eval()(window)
        scores = window.last(scores) if model.every_position else scores[:, 0]
        tau = kendalltau(scores.detach(), window.last(label)).statistic
        model.train()


def count(model: Rival) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_of_the_originals() -> None:
    """Counted by hand, for tokens of 40 without a streamer."""
    sizes, base = TokenSizes(16, 24), 40  # base: the vector for no history
    convolutions = [
        (40, 64),
        (64, 64),
        (64, 128),
        (128, 128),
        (128, 256),
        *[(256, 256)] * 2,
        (256, 512),
        *[(512, 512)] * 5,
    ]
    expected = sum(3 * a * b + b for a, b in convolutions) + 7 * 512 * 4096 + 4096 + 4096 * 4096 + 4096
    expected += 2 * 4096 + 2 + 2 * 512 + 2 + 2 * 2 * 4 + 2 * 2 * 32
    expected += 2 * (40 * 5 + 5) + 40 * 40 + 40 + 41 * 2 * (4096 + 512)
    assert count(AdaptiveFCSN(sizes, divisor=1)) == expected + base
    assert count(Video2GIF(sizes)) == 41 * 512 + 513 * 128 + 129 + base
    assert count(PHDGIFs(sizes)) == 81 * 512 + 513 * 64 + 65 + HISTORY + 1 + base
    lstm = 4 * 256 * (40 + 256 + 2)
    heads = 2 * ((40 + 512) * 256 + 256) + 257 + 257 * 256
    assert count(DppLSTM(sizes)) == 2 * 41 * 256 + lstm + heads + base
    layer = 4 * 128 * 128 + 4 * 128 + 2 * 4 * 128 * 128 + 5 * 128 + 4 * 128
    head = 129 * 64 + 65
    assert count(KuaiLiveCausal(sizes)) == 41 * 128 + 64 * 128 + 4 * layer + head + base
    assert count(KuaiLiveLocalGlobal(sizes)) == 41 * 128 + 64 * 128 + 5 * layer + head + base
    assert count(KuaiLiveGRU(sizes)) == 41 * 128 + 4 * 3 * (2 * 128 * 128 + 2 * 128) + head + base
    d = 512
    encoder = 2 * (4 * d * d + 4 * d + 8 * d * d + 5 * d + 2 * 2 * d + d) + 2 * d
    gate = (3 * d + 1) * 2 * d + (2 * d + 1) * d + d + 1
    gru = 2 * 2 * 3 * ((d + d // 2) * (d // 2) + 2 * (d // 2))
    expected = 25 * d + gru + 16 * d + d * d + d + 2 * gate + 6 * encoder + (2 * d + 1) * d + (d + 1) * d + d + 1
    assert count(AntPivot(sizes, dim=d)) == expected + base


def test_the_dpp_is_a_distribution_over_sets() -> None:
    """The likelihoods of all sets sum to one, and each is the ratio of determinants."""
    rng = torch.Generator().manual_seed(0)
    quality = torch.randn(1, 5, generator=rng, dtype=torch.float64)
    similarity = torch.randn(1, 5, 7, generator=rng, dtype=torch.float64)
    kernel = dpp_kernel(quality, similarity, torch.ones(1, 5, dtype=torch.bool))
    k, q = similarity[0].numpy(), quality[0].numpy()
    expected = np.array([[q[i] * q[j] * k[i] @ k[j] for j in range(5)] for i in range(5)])
    np.testing.assert_allclose(kernel[0], expected)
    total = 0.0
    for size in range(6):
        for members in combinations(range(5), size):
            chosen = torch.zeros(1, 5, dtype=torch.bool)
            chosen[0, list(members)] = True
            likelihood = dpp_log_likelihood(kernel, chosen).exp().item()
            with_jitter = expected + 1e-4 * np.eye(5)
            block = with_jitter[np.ix_(members, members)]
            direct = np.linalg.det(block) if size else 1.0
            assert likelihood == pytest.approx(direct / np.linalg.det(with_jitter + np.eye(5)))
            total += likelihood
    assert total == pytest.approx(1.0)


def test_the_summary_of_a_window_has_its_highest_labels() -> None:
    label = torch.tensor([[0.1, 0.9, 0.5, 0.8, 0.2, 0.3, 0.4, 1.0, 0.0, 0.6]])
    mask = torch.tensor([[True] * 7 + [False] + [True] * 2])
    assert summary(label, mask)[0].nonzero().flatten().tolist() == [1, 3]  # 15 % of 9, rounded up
    assert not summary(label, torch.zeros_like(mask)).any()


def test_k_means_by_scikit_learn() -> None:
    rng = torch.Generator().manual_seed(1)
    centres = 5 * torch.randn(4, 6, generator=rng)
    items = centres[torch.arange(20) % 4] + torch.randn(20, 6, generator=rng)
    means, has_member = k_means(torch.stack([items, items]), torch.arange(20) < torch.tensor([[17], [2]]))
    start = items[torch.tensor([0, 17 // 4, 2 * 17 // 4, 3 * 17 // 4])].numpy()
    expected = KMeans(GROUPS, init=start, n_init=1, max_iter=10).fit(items[:17].numpy())
    np.testing.assert_allclose(means[0], expected.cluster_centers_, rtol=1e-4, atol=1e-5)
    assert has_member.tolist() == [[True] * 4, [True, True, False, False]]
    torch.testing.assert_close(means[1, :2], items[:2])


def test_ranking_losses_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    scores, label = rng.normal(size=(2, 6)), rng.random((2, 6)).round(1)
    mask = rng.random((2, 6)) > 0.2
    huber, bpr = [], []
    for row in range(2):
        ranked = []
        for i in range(6):
            for j in range(6):
                if not (mask[row, i] and mask[row, j] and label[row, i] > label[row, j]):
                    continue
                violation = max(0.0, 1 - scores[row, i] + scores[row, j])
                huber.append(violation**2 / 2 if violation <= 1.5 else 1.5 * violation - 1.5**2 / 2)
                if np.float32(label[row, i]) - np.float32(label[row, j]) > 0.2:
                    ranked.append(-np.log(1 / (1 + np.exp(-(scores[row, i] - scores[row, j])))))
        bpr.append(np.mean(ranked))
    tensors = [torch.from_numpy(x).float() for x in (scores, label)]
    torch_mask = torch.from_numpy(mask)
    assert pair_huber(*tensors, torch_mask).item() == pytest.approx(np.mean(huber), rel=1e-5)
    error, weight = (scores - label) ** 2, np.ones((2, 6))
    for row in range(2):
        for i in range(5):
            if mask[row, i] and mask[row, i + 1] and abs(label[row, i] - label[row, i + 1]) > 0.15:
                weight[row, i] += 2
                weight[row, i + 1] += 2
    border = (weight * error)[mask].sum() / weight[mask].sum()
    expected = error[mask].mean() + 0.5 * np.mean(bpr) + 0.3 * border
    assert benchmark_loss(*tensors, torch_mask).item() == pytest.approx(expected, rel=1e-5)


def test_sinusoidal_positions() -> None:
    expected = [[f(p / 10_000 ** (2 * k / 6)) for k in range(3) for f in (np.sin, np.cos)] for p in range(5)]
    np.testing.assert_allclose(sinusoids(5, 6), expected, atol=1e-6)
