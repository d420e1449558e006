"""Speech recognition: the speech of a segment is packed into one Whisper window; many segments are decoded at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from whisper.audio import HOP_LENGTH, log_mel_spectrogram
from whisper.tokenizer import Tokenizer, get_tokenizer
from whisper.utils import compression_ratio

from kuaihl.devices import choose_device, working_dtype
from kuaihl.records import Segment, Utterance
from kuaihl.speech.decoding import Decoded, GreedyWhisper, Vocabulary
from kuaihl.speech.vad import SAMPLE_RATE_HZ, Region, VoiceDetector
from kuaihl.speech.whisper_weights import find_whisper, load

WINDOW_S = 30
"""Whisper's window; no segment is longer."""
_MARGIN_S = 2.0
_MIN_PADDED_S = 8
"""Silence after the speech of a shortened window, and its minimum length: in tighter ones Whisper repeats itself."""
_STEP_S = 2
"""Windows are padded to a multiple of this, so that several have one length."""
_MAX_SEGMENTS = 32
"""Maximum batch: more would delay progress and save little."""
_CPU_BUDGET_BYTES = 800 * 2**20
_ENCODED_AT_ONCE = 4
# Approximate shares of the time, for progress: of encoding in a pass, and of the first pass.
_ENCODING_SHARE, _FIRST_SHARE = 0.4, 0.8
_MAX_TOKENS_PER_S = 10
_MIN_TOKENS_PER_S = 1.5
_MIN_DOUBTFUL_S = 4.0
"""Windows of at least this much speech with fewer tokens are decoded again; slow speech has 2 a second, fast 5."""
_MAX_COMPRESSION = 2.4
_MIN_MEAN_LOGPROB = -1.0
_MAX_NO_SPEECH = 0.6
"""The last three are openai-whisper's own limits for hallucinated text."""
_Item = TypeVar("_Item")
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})


@dataclass(frozen=True, eq=False)
class _Window:
    """The speech of one segment, and its regions in the segment."""

    segment: Segment
    regions: tuple[Region, ...]
    audio: np.ndarray

    @property
    def duration_s(self) -> float:
        return len(self.audio) / SAMPLE_RATE_HZ

    @property
    def padded_s(self) -> int:
        stepped = int(-(-(self.duration_s + _MARGIN_S) // _STEP_S)) * _STEP_S
        return min(WINDOW_S, max(_MIN_PADDED_S, stepped))

    def halves(self) -> tuple["_Window", "_Window"]:
        """Split near the middle: between two regions, or at the quietest place of a single region."""
        if len(self.regions) == 1:
            (whole,) = self.regions
            cut = _find_quietest(self.audio)
            first, second = (Region(whole.start, whole.start + cut),), (Region(whole.start + cut, whole.end),)
        else:
            cuts = np.cumsum([region.end - region.start for region in self.regions])[:-1]
            nearest = int(np.abs(cuts - len(self.audio) / 2).argmin())
            cut = int(cuts[nearest])
            first, second = self.regions[: nearest + 1], self.regions[nearest + 1 :]
        return _Window(self.segment, first, self.audio[:cut]), _Window(self.segment, second, self.audio[cut:])


@dataclass(frozen=True, eq=False)
class _Transcription:
    """Whisper's result for a window."""

    window: _Window
    decoded: Decoded
    language: str


class SpeechRecognizer:
    """Whisper with voice activity detection.

    The text of a segment depends on its own audio alone, with a multilingual model also on the language, which is
    detected from this segment and those before it.

    Parameters
    ----------
    name
        A name that openai-whisper knows, or the path of a model; see `kuaihl.speech.whisper_weights.find_whisper`.
    device
        Device of Whisper, by default a GPU if there is one. The detector always runs on the CPU.

    Raises
    ------
    CheckpointError
        The model or the detector is not found.
    """

    def __init__(self, name: str = "tiny.en", *, device: str | torch.device | None = None) -> None:
        self.device = choose_device(device)
        model = load(find_whisper(name))
        self._n_mels = model.dims.n_mels
        self._tokenizers = _Tokenizers(multilingual=model.is_multilingual, languages=model.num_languages)
        self._whisper = GreedyWhisper(
            model,
            _vocabulary(self._tokenizers.get("en"), size=model.dims.n_vocab),
            device=self.device,
            dtype=working_dtype(self.device),
        )
        self._max_tokens = model.dims.n_text_ctx // 2
        self._frames_per_s = model.dims.n_audio_ctx // WINDOW_S
        self._detector = VoiceDetector()

    def transcribe(
        self, audio: Iterable[tuple[Segment, np.ndarray]], *, progress: Callable[[float], None] | None = None
    ) -> list[Utterance]:
        """Transcribe the speech of a recording.

        Parameters
        ----------
        audio
            Segments in order, each with its 16 kHz mono audio (samples,) float32; a few are held at a time.
        progress
            Receives the number of finished segments, several times a second; an exception that it raises stops the
            transcription.
        """
        segments = self.transcribe_segments(audio, progress=progress)
        return [utterance for _, utterances in segments for utterance in utterances]

    def transcribe_segments(
        self,
        audio: Iterable[tuple[Segment, np.ndarray]],
        *,
        ahead: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Segment, list[Utterance]]]:
        """Yield each segment with its utterances; ``ahead`` segments are read before the first is yielded.

        For a live stream, ``ahead=1`` yields each segment as soon as it is complete; by default batches are as large as
        memory allows.
        """
        language = _Language(self._tokenizers)
        source = iter(audio)
        batch: list[tuple[Segment, np.ndarray]] = []
        done = 0

        def report(share: float) -> None:
            if progress is not None:
                progress(done + share * len(batch))

        def check(item: _Item) -> _Item:
            report(0.0)  # may raise
            return item

        with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
            while batch := list(map(check, islice(source, ahead or self._batch_size()))):
                packed = [pool.submit(self._pack, segment, samples) for segment, samples in batch]
                try:
                    windows = [check(future).result() for future in packed]
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                utterances = self._recognize([window for window in windows if len(window.audio)], language, report)
                report(1.0)
                done += len(batch)
                for segment, _ in batch:
                    yield segment, utterances.get(segment.index, [])

    def _batch_size(self) -> int:
        """Return the number of segments whose caches fit into memory."""
        budget = _CPU_BUDGET_BYTES
        if self.device.type == "cuda":
            budget = int(0.4 * torch.cuda.mem_get_info(self.device)[0])
        return max(1, min(_MAX_SEGMENTS, budget // self._whisper.row_bytes(WINDOW_S * self._frames_per_s)))

    def _pack(self, segment: Segment, audio: np.ndarray) -> _Window:
        """Concatenate the speech of a segment, without the silence between."""
        regions = tuple(self._detector.regions(audio))
        pieces = [audio[region.start : region.end] for region in regions]
        return _Window(segment, regions, np.concatenate([audio[:0], *pieces])[: WINDOW_S * SAMPLE_RATE_HZ])

    def _recognize(
        self, windows: list[_Window], language: "_Language", report: Callable[[float], None]
    ) -> dict[int, list[Utterance]]:
        """Transcribe windows: return utterances by segment index; ``report`` receives the share done."""
        results = self._decode(windows, language.detect, lambda share: report(_FIRST_SHARE * share))
        doubtful = [result for result in results if self._is_doubtful(result)]
        languages = [result.language for result in doubtful for _ in range(2)]
        halves = iter(
            self._decode(
                [half for result in doubtful for half in result.window.halves()],
                lambda _: languages,
                lambda share: report(_FIRST_SHARE + (1 - _FIRST_SHARE) * share),
            )
        )
        utterances = {}
        for result in results:
            best = [result]
            if result in doubtful:
                best = max(best, [next(halves), next(halves)], key=self._count_tokens)
            utterances[result.window.segment.index] = [utterance for half in best for utterance in self._place(half)]
        return utterances

    def _is_doubtful(self, result: _Transcription) -> bool:
        """Return whether Whisper repeats itself, or stopped early, as it does at the cut between two regions."""
        duration_s = result.window.duration_s
        short = duration_s > _MIN_DOUBTFUL_S and len(result.decoded.tokens) < _MIN_TOKENS_PER_S * duration_s
        return short or _is_looping(self._text(result.decoded))

    def _count_tokens(self, results: list[_Transcription]) -> int:
        """Count tokens that are not hallucinated."""
        return sum(len(result.decoded.tokens) for result in results if not self._is_hallucinated(result))

    def _is_hallucinated(self, result: _Transcription) -> bool:
        """Apply openai-whisper's own tests for hallucinated text."""
        decoded = result.decoded
        silence = decoded.no_speech > _MAX_NO_SPEECH and decoded.mean_logprob < _MIN_MEAN_LOGPROB
        return silence or _is_looping(self._text(decoded))

    def _decode(
        self,
        windows: Sequence[_Window],
        languages: Callable[[Tensor], list[str]],
        report: Callable[[float], None],
    ) -> list[_Transcription]:
        """Encode and decode windows; ``languages`` receives the logits after the start token, in window order."""
        if not windows:
            return []
        padded_s = [window.padded_s for window in windows]
        # Long windows first: rows that finish early are then at the end of the batch.
        order = sorted(range(len(windows)), key=lambda i: -padded_s[i])
        groups, encoded = [], 0
        for length_s in sorted(set(padded_s), reverse=True):
            mels = [self._mel(windows[i].audio, length_s) for i in order if padded_s[i] == length_s]
            features = []
            for batch in torch.stack(mels).split(_ENCODED_AT_ONCE):
                report(_ENCODING_SHARE * encoded / len(windows))
                features.append(self._whisper.encode(batch))
                encoded += len(batch)
            groups.append(torch.cat(features))
        detected: list[str] = []

        def prompts(logits: Tensor) -> list[tuple[int, ...]]:
            ranks = torch.tensor(order, device=logits.device).argsort()
            detected.extend(languages(logits[ranks]))
            return [self._tokenizers.get(detected[i]).sot_sequence_including_notimestamps[1:] for i in order]

        limits = [min(self._max_tokens, 10 + int(_MAX_TOKENS_PER_S * windows[i].duration_s)) for i in order]
        decoded = self._whisper.decode(
            groups,
            prompts,
            max_tokens=limits,
            progress=lambda share: report(_ENCODING_SHARE + (1 - _ENCODING_SHARE) * share),
        )
        rows = {i: row for row, i in enumerate(order)}
        return [_Transcription(window, decoded[rows[i]], detected[i]) for i, window in enumerate(windows)]

    def _mel(self, audio: np.ndarray, length_s: int) -> Tensor:
        samples = torch.from_numpy(audio)
        padding = length_s * SAMPLE_RATE_HZ - len(samples)
        mel = log_mel_spectrogram(samples, self._n_mels, padding=padding)
        return mel[:, : length_s * SAMPLE_RATE_HZ // HOP_LENGTH]

    def _text(self, decoded: Decoded) -> str:
        return self._tokenizers.get("en").decode(list(decoded.tokens)).strip()

    def _place(self, result: _Transcription) -> list[Utterance]:
        """Distribute the words over the regions in proportion to time."""
        if self._is_hallucinated(result):
            return []
        window, language, text = result.window, result.language, self._text(result.decoded)
        joint = "" if language in _UNSPACED else " "
        words = list(text) if language in _UNSPACED else text.split()
        lengths = np.array([region.end - region.start for region in window.regions])
        sizes = np.array([len(word) for word in words])
        middles = (np.cumsum(sizes) - sizes / 2) / max(1, sizes.sum()) * lengths.sum()
        owners = np.searchsorted(np.cumsum(lengths), middles, side="right")
        start_s = window.segment.start_s
        return [
            Utterance(
                start_s=start_s + region.start / SAMPLE_RATE_HZ,
                end_s=min(window.segment.end_s, start_s + region.end / SAMPLE_RATE_HZ),
                text=share,
            )
            for index, region in enumerate(window.regions)
            if (share := joint.join(word for word, owner in zip(words, owners, strict=True) if owner == index).strip())
        ]


class _Tokenizers:
    """Whisper's tokenizers, one for each language: they share their tables and differ in the prompt."""

    def __init__(self, *, multilingual: bool, languages: int) -> None:
        self.multilingual = multilingual
        self._languages = languages

    def get(self, language: str) -> Tokenizer:
        return get_tokenizer(self.multilingual, num_languages=self._languages, language=language, task="transcribe")


class _Language:
    """The language of a recording, detected from all windows so far."""

    def __init__(self, tokenizers: _Tokenizers) -> None:
        self._tokenizers = tokenizers
        self._evidence: Tensor | float = 0.0

    def detect(self, logits: Tensor) -> list[str]:
        """Return the language of each window, in order of time, from its logits after the start token."""
        if not self._tokenizers.multilingual:
            return ["en"] * len(logits)
        tokenizer = self._tokenizers.get("en")
        logprobs = logits[:, list(tokenizer.all_language_tokens)].log_softmax(dim=-1)
        evidence = logprobs.cumsum(dim=0) + self._evidence
        self._evidence = evidence[-1]
        return [tokenizer.all_language_codes[i] for i in evidence.argmax(dim=-1).tolist()]


def _vocabulary(tokenizer: Tokenizer, *, size: int) -> Vocabulary:
    """Return a vocabulary that suppresses what openai-whisper suppresses, and every special token but the end."""
    return Vocabulary(
        start=tokenizer.sot,
        end=tokenizer.eot,
        no_speech=tokenizer.no_speech,
        suppressed=(*tokenizer.non_speech_tokens, *range(tokenizer.eot + 1, size)),
        never_first=(*tokenizer.encode(" "), tokenizer.eot),
    )


def _find_quietest(audio: np.ndarray) -> int:
    """Return the middle of the quietest tenth of a second in the middle half of the audio, in samples."""
    quarter, span = len(audio) // 4, SAMPLE_RATE_HZ // 10
    spans = (len(audio) - 2 * quarter) // span
    if not spans:
        return len(audio) // 2
    loudness = np.square(audio[quarter : quarter + spans * span]).reshape(spans, span).sum(axis=1)
    return quarter + int(loudness.argmin()) * span + span // 2


def _is_looping(text: str) -> bool:
    return bool(text) and compression_ratio(text) > _MAX_COMPRESSION
