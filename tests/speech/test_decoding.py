"""Batched decoding against openai-whisper's own model, one window at a time and without any cache."""

import pytest
import torch
from whisper.model import ModelDimensions, Whisper

from kuaihl.speech.decoding import Decoded, GreedyWhisper, Vocabulary

CPU = torch.device("cpu")
VOCABULARY = Vocabulary(start=0, end=22, no_speech=2, suppressed=(0, 2, 7, 8), never_first=(22, 9))
PROMPT = (3, 4)


def random_model(*, n_audio_ctx: int = 40, spread: float = 1.0) -> Whisper:
    torch.manual_seed(3)
    model = Whisper(ModelDimensions(80, n_audio_ctx, 32, 2, 2, 24, 48, 32, 2, 2)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=spread if parameter.ndim > 1 else 0.1)
    return model


def engine(model: Whisper) -> GreedyWhisper:
    return GreedyWhisper(model, VOCABULARY, device=CPU, dtype=torch.float32)


@torch.no_grad()
def uncached(model: Whisper, features: torch.Tensor, max_tokens: int) -> tuple[tuple[int, ...], float, float]:
    """Decode one window (frames, dim) by running the whole text through the model for each token."""
    tokens, logprob = [VOCABULARY.start, *PROMPT], 0.0
    logits = model.decoder(torch.tensor([tokens]), features[None])[0]
    no_speech = logits[0].softmax(-1)[VOCABULARY.no_speech].item()
    text: list[int] = []
    while len(text) < max_tokens:
        last = model.decoder(torch.tensor([tokens + text]), features[None])[0, -1]
        last[list(VOCABULARY.suppressed)] = -torch.inf
        if not text:
            last[list(VOCABULARY.never_first)] = -torch.inf
        token = int(last.argmax())
        logprob += last.log_softmax(-1)[token].item()
        if token == VOCABULARY.end:
            break
        text.append(token)
    return tuple(text), logprob / (len(text) + 1), no_speech


def test_batched_decoding_is_uncached_decoding() -> None:
    model = random_model()
    groups = [torch.randn(5, 40, 32), torch.randn(7, 24, 32), torch.randn(1, 8, 32)]
    limits = [30, 5, 30, 12, 1, 30, 2, 30, 20, 3, 30, 4, 30]
    prompted: list[torch.Size] = []

    def prompts(logits: torch.Tensor) -> list[tuple[int, ...]]:
        prompted.append(logits.shape)
        return [PROMPT] * len(logits)

    decoded = engine(model).decode(groups, prompts, max_tokens=limits)
    windows = [window for group in groups for window in group]
    expected = [uncached(model, window, limit) for window, limit in zip(windows, limits, strict=True)]
    assert [d.tokens for d in decoded] == [e[0] for e in expected]
    assert [d.mean_logprob for d in decoded] == pytest.approx([e[1] for e in expected], abs=1e-4)
    assert [d.no_speech for d in decoded] == pytest.approx([e[2] for e in expected], abs=1e-5)
    assert prompted == [torch.Size((13, 24))]
    # Otherwise this proves little: rows that end by themselves, rows that are cut, and texts that differ.
    ended = [len(t) < limit for (t, *_), limit in zip(expected, limits, strict=True)]
    assert any(ended)
    assert not all(ended)
    assert len({t for t, *_ in expected}) > 6


def test_text_ends_where_the_model_has_no_more_positions() -> None:
    model = random_model()
    vocabulary = Vocabulary(start=0, end=1, no_speech=2, suppressed=(0, 1, 2), never_first=())
    whisper = GreedyWhisper(model, vocabulary, device=CPU, dtype=torch.float32)
    (decoded,) = whisper.decode([torch.randn(1, 8, 32)], lambda _: [PROMPT], max_tokens=[500])
    assert len(decoded.tokens) == model.dims.n_text_ctx - len(PROMPT)


def test_whole_windows_are_encoded_as_by_whisper() -> None:
    model = random_model(spread=0.1)
    mels = torch.randn(3, 80, 80)
    with torch.no_grad():
        expected = model.encoder(mels)
    torch.testing.assert_close(engine(model).encode(mels), expected, atol=1e-5, rtol=1e-4)


def test_short_windows_are_encoded_as_by_a_whisper_of_that_length() -> None:
    model, short = random_model(spread=0.1), random_model(n_audio_ctx=12, spread=0.1)
    held = model.state_dict()
    held["encoder.positional_embedding"] = held["encoder.positional_embedding"][:12]
    short.load_state_dict(held)
    mels = torch.randn(2, 80, 24)
    with torch.no_grad():
        expected = short.encoder(mels)
    torch.testing.assert_close(engine(model).encode(mels), expected, atol=1e-5, rtol=1e-4)


def test_memory_of_a_row_is_what_its_caches_take() -> None:
    model = random_model()
    # Keys and values of two layers, 32 wide, fp32, for 40 frames and all 48 tokens.
    assert engine(model).row_bytes(40) == 2 * 2 * 32 * 4 * (40 + 48)


def test_candidates_found_in_bf16_are_decided_in_fp32() -> None:
    model = random_model()
    groups = [torch.randn(12, 20, 32)]

    def decode(dtype: torch.dtype) -> list[Decoded]:
        whisper = GreedyWhisper(model, VOCABULARY, device=CPU, dtype=dtype)
        return whisper.decode(groups, lambda logits: [PROMPT] * len(logits), max_tokens=[20] * 12)

    exact, rough = decode(torch.float32), decode(torch.bfloat16)
    assert [d.tokens for d in rough] == [d.tokens for d in exact]
    assert [d.mean_logprob for d in rough] == pytest.approx([d.mean_logprob for d in exact], abs=0.05)


@pytest.mark.gpu
def test_gpu_gives_the_same_tokens() -> None:
    groups = [torch.randn(4, 40, 32)]
    on_cpu = engine(random_model()).decode(groups, lambda x: [PROMPT] * len(x), max_tokens=[12] * 4)
    there = GreedyWhisper(random_model(), VOCABULARY, device=torch.device("cuda"), dtype=torch.float32)
    on_gpu = there.decode([g.cuda() for g in groups], lambda x: [PROMPT] * len(x), max_tokens=[12] * 4)
    assert [d.tokens for d in on_gpu] == [d.tokens for d in on_cpu]
