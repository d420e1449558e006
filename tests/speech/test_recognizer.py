"""Speech recognition: packing, placing, languages, guards, and real words from synthetic speech."""

import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch
from whisper.model import ModelDimensions, Whisper
from whisper.normalizers import EnglishTextNormalizer

from kuaihl.records import Segment, segments_of
from kuaihl.speech import recognizer as recognizer_module
from kuaihl.speech import whisper_weights
from kuaihl.speech.decoding import Decoded
from kuaihl.speech.recognizer import SpeechRecognizer
from kuaihl.speech.vad import SAMPLE_RATE_HZ, Region

SENTENCES = (
    "The weather is nice today and we are going to the market.",
    "Please remember to bring your umbrella and a bottle of water.",
    "My brother works in a hospital near the river.",
)


@pytest.fixture(scope="module")
def recognizer() -> SpeechRecognizer:
    return SpeechRecognizer(device="cpu")


@pytest.fixture
def multilingual(tmp_path: Path) -> SpeechRecognizer:
    """A small random model with languages."""
    torch.manual_seed(0)
    model = Whisper(ModelDimensions(80, 1500, 16, 2, 1, 51865, 448, 16, 2, 1))
    weights = whisper_weights.WhisperWeights(vars(model.dims), model.state_dict())
    whisper_weights.save(weights, tmp_path / "model.safetensors")
    return SpeechRecognizer(str(tmp_path / "model.safetensors"), device="cpu")


def cut(sound: np.ndarray) -> Iterator[tuple[Segment, np.ndarray]]:
    for segment in segments_of(len(sound) / SAMPLE_RATE_HZ):
        first, last = round(segment.start_s * SAMPLE_RATE_HZ), round(segment.end_s * SAMPLE_RATE_HZ)
        yield segment, sound[first:last]


def window(*regions_s: tuple[float, float]) -> recognizer_module._Window:
    regions = tuple(Region(round(a * SAMPLE_RATE_HZ), round(b * SAMPLE_RATE_HZ)) for a, b in regions_s)
    samples = sum(r.end - r.start for r in regions)
    return recognizer_module._Window(Segment(2, 60.0, 90.0), regions, np.arange(samples, dtype=np.float32))


def heard(
    recognizer: SpeechRecognizer, of: recognizer_module._Window, text: str, **decoded: float
) -> recognizer_module._Transcription:
    tokens = tuple(recognizer._tokenizers.get("en").encode(" " + text))
    return recognizer_module._Transcription(
        of, Decoded(tokens, **{"mean_logprob": -0.2, "no_speech": 0.1, **decoded}), "en"
    )


def test_a_window_holds_the_speech_and_no_silence(
    recognizer: SpeechRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions = [Region(100, 300), Region(1000, 1500), Region(9000, 9010)]
    monkeypatch.setattr(recognizer._detector, "regions", lambda _: regions)
    packed = recognizer._pack(Segment(0, 0.0, 1.0), np.arange(16000, dtype=np.float32))
    assert packed.regions == tuple(regions)
    assert packed.audio.tolist() == [*range(100, 300), *range(1000, 1500), *range(9000, 9010)]


@pytest.mark.parametrize(
    ("speech_s", "padded_s"), [(0.5, 8), (6.0, 8), (6.1, 10), (12.0, 14), (27.9, 30), (29.5, 30), (30.0, 30)]
)
def test_windows_are_lengthened_by_a_margin_to_a_few_lengths(speech_s: float, padded_s: int) -> None:
    assert window((0.0, speech_s)).padded_s == padded_s


def test_halves_are_cut_between_regions_nearest_to_the_middle() -> None:
    whole = window((0, 2), (5, 8), (10, 16), (20, 21))
    first, second = whole.halves()
    assert first.regions + second.regions == whole.regions
    assert len(first.regions) == 2
    assert np.array_equal(np.concatenate([first.audio, second.audio]), whole.audio)
    assert len(first.audio) == 5 * SAMPLE_RATE_HZ


def test_a_single_region_is_halved_where_it_is_quietest() -> None:
    whole = window((3, 9))
    whole.audio[:] = np.random.default_rng(0).standard_normal(len(whole.audio))
    # Quiet at its start, which is too far out, and at 3.5 s.
    whole.audio[:1000] = 0
    whole.audio[round(3.4 * SAMPLE_RATE_HZ) : round(3.6 * SAMPLE_RATE_HZ)] *= 0.01
    first, second = whole.halves()
    assert abs(len(first.audio) / SAMPLE_RATE_HZ - 3.5) < 0.1
    assert np.array_equal(np.concatenate([first.audio, second.audio]), whole.audio)
    ((a,), (b,)) = first.regions, second.regions
    assert (a.start, a.end, b.end) == (3 * SAMPLE_RATE_HZ, b.start, 9 * SAMPLE_RATE_HZ)
    assert a.end - a.start == len(first.audio)
    assert [len(half.audio) for half in window((0, 0.01)).halves()] == [80, 80]


def test_words_go_to_the_region_where_they_are_spoken(recognizer: SpeechRecognizer) -> None:
    # 3 s and 1 s of speech, eight words of one length: six and two.
    found = recognizer._place(heard(recognizer, window((2, 5), (20, 21)), "aaaa bbbb cccc dddd eeee ffff gggg hhhh"))
    assert [(u.start_s, u.end_s, u.text) for u in found] == [
        (62.0, 65.0, "aaaa bbbb cccc dddd eeee ffff"),
        (80.0, 81.0, "gggg hhhh"),
    ]


def test_a_region_without_words_gives_no_utterance(recognizer: SpeechRecognizer) -> None:
    found = recognizer._place(heard(recognizer, window((0, 1), (2, 2.1), (5, 6)), "yes no"))
    assert [u.text for u in found] == ["yes", "no"]


def test_text_that_was_never_said_is_dropped(recognizer: SpeechRecognizer) -> None:
    of = window((0, 10))
    assert recognizer._place(heard(recognizer, of, "thank you", no_speech=0.9, mean_logprob=-1.5)) == []
    assert recognizer._place(heard(recognizer, of, "thank you", no_speech=0.9))
    assert recognizer._place(heard(recognizer, of, "and then we go " * 30)) == []


def test_doubtful_windows_are_heard_again(recognizer: SpeechRecognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {10: "only", 6: "the first part is said here again", 4: "and the second one"}
    asked: list[list[float]] = []

    def decode(windows: list, languages: object, tell: object) -> list[recognizer_module._Transcription]:
        asked.append([w.duration_s for w in windows])
        return [heard(recognizer, w, texts[round(w.duration_s)]) for w in windows]

    monkeypatch.setattr(recognizer, "_decode", decode)
    language = recognizer_module._Language(recognizer._tokenizers)
    (utterances,) = recognizer._recognize([window((0, 6), (10, 14))], language, lambda share: None).values()
    assert " ".join(u.text for u in utterances) == "the first part is said here again and the second one"
    assert asked == [[10.0], [6.0, 4.0]]


def test_language_is_settled_from_the_past_only(multilingual: SpeechRecognizer) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 51865, generator=generator) * 3
    together = recognizer_module._Language(multilingual._tokenizers).detect(logits)
    one_by_one = recognizer_module._Language(multilingual._tokenizers)
    assert [one_by_one.detect(row[None])[0] for row in logits] == together
    later = logits.clone()
    later[3:] = torch.randn(3, 51865, generator=generator) * 9
    assert recognizer_module._Language(multilingual._tokenizers).detect(later)[:3] == together[:3]
    tokenizer = multilingual._tokenizers.get("en")
    german = torch.zeros(1, 51865)
    german[0, tokenizer.to_language_token("de")] = 50.0
    assert recognizer_module._Language(multilingual._tokenizers).detect(torch.cat([german, logits]))[:2] == ["de", "de"]


def test_the_prompt_names_the_language(multilingual: SpeechRecognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multilingual._detector, "regions", lambda sound: [Region(0, len(sound))])
    monkeypatch.setattr(recognizer_module._Language, "detect", lambda self, logits: ["de", "fr"])
    prompted = []
    decode = multilingual._whisper.decode

    def spy(features: list, prompts: object, *, max_tokens: list[int], progress: object) -> list[Decoded]:
        def kept(logits: torch.Tensor) -> list[tuple[int, ...]]:
            prompted.append(prompts(logits))
            return prompted[-1]

        return decode(features, kept, max_tokens=[3] * len(max_tokens))

    monkeypatch.setattr(multilingual._whisper, "decode", spy)
    noise = np.random.default_rng(0).standard_normal(12 * SAMPLE_RATE_HZ).astype(np.float32)
    # The second window is the longer one, so that it is decoded first.
    windows = [multilingual._pack(Segment(0, 0, 30), noise[:16000]), multilingual._pack(Segment(1, 30, 60), noise)]
    found = multilingual._decode(
        windows, recognizer_module._Language(multilingual._tokenizers).detect, lambda share: None
    )
    tokenizer = multilingual._tokenizers.get("en")
    assert [p[0] for p in prompted[0]] == [tokenizer.to_language_token("fr"), tokenizer.to_language_token("de")]
    assert [(h.window.segment.index, h.language) for h in found] == [(0, "de"), (1, "fr")]


def test_silence_noise_tones_and_scraps_give_no_words(recognizer: SpeechRecognizer) -> None:
    rng = np.random.default_rng(2)
    time_s = np.arange(30 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    sounds = [0 * time_s, 0.1 * rng.standard_normal(len(time_s)), np.sin(880 * np.pi * time_s), time_s[:16], time_s[:0]]
    given = [(Segment(i, 30.0 * i, 30.0 * i + 30), s.astype(np.float32)) for i, s in enumerate(sounds)]
    assert recognizer.transcribe(given) == []


def test_sound_is_taken_in_bounded_batches(recognizer: SpeechRecognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognizer_module, "_MAX_SEGMENTS", 3)
    taken = 0

    def sound() -> Iterator[tuple[Segment, np.ndarray]]:
        nonlocal taken
        for index in range(7):
            taken += 1
            yield Segment(index, 30.0 * index, 30.0 * index + 30), np.zeros(1000, np.float32)

    ahead = [taken - segment.index for segment, _ in recognizer.transcribe_segments(sound())]
    assert ahead == [3, 2, 1, 3, 2, 1, 1]
    seen: list[float] = []

    def stop(done: float) -> None:
        seen.append(done)
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recognizer.transcribe(sound(), progress=stop)
    assert sorted(set(seen)) == [0, 3, 6]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """The sentences, spoken by espeak-ng, at 16 kHz."""
    sounds = []
    for index, sentence in enumerate(SENTENCES):
        path = tmp_path_factory.mktemp("speech") / f"{index}.wav"
        subprocess.run(
            ["espeak-ng", "-v", "en-us", "-s", "140", "-w", str(path), sentence + " " + sentence], check=True
        )
        sounds.append(_read_wav(path))
    return sounds


def _read_wav(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        rate_hz = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    times_s = np.arange(0, len(samples) / rate_hz, 1 / SAMPLE_RATE_HZ)
    return np.interp(times_s, np.arange(len(samples)) / rate_hz, samples).astype(np.float32)


@pytest.mark.speaker
def test_words_come_back_in_their_segments(recognizer: SpeechRecognizer, spoken: list[np.ndarray]) -> None:
    sound = np.zeros(95 * SAMPLE_RATE_HZ, np.float32)
    # In the first segment, in the second, and nothing in the third.
    for start_s, said in zip((3.0, 17.0, 41.0), spoken, strict=True):
        sound[round(start_s * SAMPLE_RATE_HZ) :][: len(said)] = said
    normal = EnglishTextNormalizer()
    reports: list[float] = []
    utterances = recognizer.transcribe(cut(sound), progress=reports.append)
    assert len(reports) > 40, "a visitor who cancels waits no longer than between two of these"
    assert reports == sorted(reports)
    assert reports[-1] == 4
    assert [u.start_s for u in utterances] == sorted(u.start_s for u in utterances)
    assert all(u.end_s <= 30 or u.start_s >= 30 for u in utterances)
    texts = [" ".join(u.text for u in utterances if a <= u.start_s < a + 30) for a in (0, 30, 60)]
    expected = " ".join(f"{s} {s}" for s in SENTENCES[:2])
    assert jiwer.wer(normal(expected), normal(texts[0])) < 0.25
    assert jiwer.wer(normal(f"{SENTENCES[2]} {SENTENCES[2]}"), normal(texts[1])) < 0.25
    assert texts[2] == ""
    # Heard live, one segment at a time, the words are the same.
    live = [u for _, said in recognizer.transcribe_segments(cut(sound), ahead=1) for u in said]
    assert live == utterances


@pytest.mark.speaker
def test_a_second_of_speech_at_a_segment_s_end(recognizer: SpeechRecognizer, spoken: list[np.ndarray]) -> None:
    sound = np.zeros(60 * SAMPLE_RATE_HZ, np.float32)
    sound[29 * SAMPLE_RATE_HZ :][: len(spoken[2])] = spoken[2]
    said = dict(enumerate(texts for _, texts in recognizer.transcribe_segments(cut(sound))))
    assert all(29 - 0.5 <= u.start_s < u.end_s <= 30 for u in said[0])
    assert any("hospital" in u.text for u in said[1])
    # Nothing of a segment depends on what comes later.
    sound[30 * SAMPLE_RATE_HZ :] = 0
    alone = dict(enumerate(texts for _, texts in recognizer.transcribe_segments(cut(sound))))
    assert alone[0] == said[0]
