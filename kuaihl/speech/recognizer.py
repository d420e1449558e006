"""Sound -> utterances: speech regions, packed into one Whisper window a segment, decoded many segments at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
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
from kuaihl.speech.transcripts import read_transcript
from kuaihl.speech.vad import SAMPLE_RATE_HZ, Region, VoiceDetector
from kuaihl.speech.whisper_weights import find_whisper, load

__all__ = ["SpeechRecognizer", "read_transcript"]

WINDOW_S = 30
"""What Whisper was trained to hear; no segment is longer."""
_MARGIN_S = 2.0
_MIN_PADDED_S = 8
"""Silence after the speech of a shortened window, and its least length: in tighter ones Whisper repeats itself."""
_STEP_S = 2
"""Windows are lengthened to a multiple of this, so that several have one length."""
_MAX_SEGMENTS = 32
"""Heard at once where memory allows: more would hold progress up and save little."""
_CPU_BUDGET_BYTES = 800 * 2**20
_ENCODED_AT_ONCE = 4
# Rough shares of the time, for progress: of encoding in a pass, and of the first pass (doubtful windows get another).
_ENCODING_SHARE, _FIRST_SHARE = 0.4, 0.8
_MAX_TOKENS_PER_S = 10
_MIN_TOKENS_PER_S = 1.5
_MIN_DOUBTFUL_S = 4.0
"""Fewer tokens in that much speech are doubted; slow speech has 2, fast speech 5."""
_MAX_COMPRESSION = 2.4
_MIN_MEAN_LOGPROB = -1.0
_MAX_NO_SPEECH = 0.6
"""The last three are openai-whisper's own limits for text that was never said."""
_Item = TypeVar("_Item")
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})


@dataclass(frozen=True, eq=False)
class _Window:
    """The speech of one segment, and where in the segment its pieces were."""

    segment: Segment
    regions: tuple[Region, ...]
    sound: np.ndarray

    @property
    def duration_s(self) -> float:
        return len(self.sound) / SAMPLE_RATE_HZ

    @property
    def padded_s(self) -> int:
        stepped = int(-(-(self.duration_s + _MARGIN_S) // _STEP_S)) * _STEP_S
        return min(WINDOW_S, max(_MIN_PADDED_S, stepped))

    def halves(self) -> tuple["_Window", "_Window"]:
        """Split near the middle: between two regions, or where a single region is quietest."""
        if len(self.regions) == 1:
            (whole,) = self.regions
            cut = _quietest(self.sound)
            first, second = (Region(whole.start, whole.start + cut),), (Region(whole.start + cut, whole.end),)
        else:
            cuts = np.cumsum([region.end - region.start for region in self.regions])[:-1]
            nearest = int(np.abs(cuts - len(self.sound) / 2).argmin())
            cut = int(cuts[nearest])
            first, second = self.regions[: nearest + 1], self.regions[nearest + 1 :]
        return _Window(self.segment, first, self.sound[:cut]), _Window(self.segment, second, self.sound[cut:])


@dataclass(frozen=True, eq=False)
class _Heard:
    """What Whisper made of a window."""

    window: _Window
    decoded: Decoded
    language: str


class SpeechRecognizer:
    """Whisper behind a voice activity detector.

    Words of a segment depend on its own sound alone; with a multilingual model also on the language, which is settled
    from this segment and those before.

    Parameters
    ----------
    name
        A name that openai-whisper knows, or the path of a model; see `kuaihl.speech.whisper_weights.find_whisper`.
    device
        Where Whisper runs; by default a GPU if there is one. The detector always runs on the CPU.

    Raises
    ------
    CheckpointError
        Where the model or the detector is not found.
    """

    def __init__(self, name: str = "tiny.en", *, device: str | torch.device | None = None) -> None:
        self.device = choose_device(device)
        model = load(find_whisper(name))
        self._n_mels = model.dims.n_mels
        self._tokenizers = _Tokenizers(multilingual=model.is_multilingual, languages=model.num_languages)
        self._whisper = GreedyWhisper(
            model,
            _vocabulary(self._tokenizers.of("en"), size=model.dims.n_vocab),
            device=self.device,
            dtype=working_dtype(self.device),
        )
        self._max_tokens = model.dims.n_text_ctx // 2
        self._frames_per_s = model.dims.n_audio_ctx // WINDOW_S
        self._detector = VoiceDetector()

    def transcribe(
        self, sound: Iterable[tuple[Segment, np.ndarray]], *, progress: Callable[[float], None] | None = None
    ) -> list[Utterance]:
        """Recognise a recording's speech.

        Parameters
        ----------
        sound
            Segments in order, each with its 16 kHz mono sound (samples,) float32; a few are held at a time.
        progress
            Told, several times a second, how many segments are finished; what it raises stops the work.
        """
        return [utterance for _, said in self.listen(sound, progress=progress) for utterance in said]

    def listen(
        self,
        sound: Iterable[tuple[Segment, np.ndarray]],
        *,
        ahead: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Segment, list[Utterance]]]:
        """Recognise segment by segment; ``ahead`` segments are taken from ``sound`` before the first is yielded.

        For a stream that is still going on, ``ahead=1`` gives each segment's words as soon as it was heard; by default
        as many are heard together as memory allows.
        """
        language = _Language(self._tokenizers)
        source = iter(sound)
        batch: list[tuple[Segment, np.ndarray]] = []
        done = 0

        def tell(share: float) -> None:
            if progress is not None:
                progress(done + share * len(batch))

        def passing(item: _Item) -> _Item:
            tell(0.0)  # may stop the work
            return item

        with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
            while batch := list(map(passing, islice(source, ahead or self._batch_size()))):
                with closing(pool.map(lambda item: self._pack(*item), batch)) as packed:  # closed, it packs no more
                    windows = list(map(passing, packed))
                said = self._recognize([window for window in windows if len(window.sound)], language, tell)
                tell(1.0)
                done += len(batch)
                for segment, _ in batch:
                    yield segment, said.get(segment.index, [])

    def _batch_size(self) -> int:
        """Count the segments whose caches fit into memory together."""
        budget = _CPU_BUDGET_BYTES
        if self.device.type == "cuda":
            budget = int(0.4 * torch.cuda.mem_get_info(self.device)[0])
        return max(1, min(_MAX_SEGMENTS, budget // self._whisper.row_bytes(WINDOW_S * self._frames_per_s)))

    def _pack(self, segment: Segment, sound: np.ndarray) -> _Window:
        """Put a segment's speech together, without the silences between."""
        regions = tuple(self._detector.regions(sound))
        pieces = [sound[region.start : region.end] for region in regions]
        return _Window(segment, regions, np.concatenate([sound[:0], *pieces])[: WINDOW_S * SAMPLE_RATE_HZ])

    def _recognize(
        self, windows: list[_Window], language: "_Language", tell: Callable[[float], None]
    ) -> dict[int, list[Utterance]]:
        """Recognise windows: utterances by segment index; ``tell`` gets the share that is done."""
        heard = self._decode(windows, language.settle, lambda share: tell(_FIRST_SHARE * share))
        doubtful = [one for one in heard if self._is_doubtful(one)]
        spoken = [one.language for one in doubtful for _ in range(2)]
        halves = iter(
            self._decode(
                [half for one in doubtful for half in one.window.halves()],
                lambda _: spoken,
                lambda share: tell(_FIRST_SHARE + (1 - _FIRST_SHARE) * share),
            )
        )
        said = {}
        for one in heard:
            best = [one]
            if one in doubtful:
                again = [next(halves), next(halves)]
                best = max(best, again, key=self._words)
            said[one.window.segment.index] = [utterance for part in best for utterance in self._place(part)]
        return said

    def _is_doubtful(self, heard: _Heard) -> bool:
        """Whether Whisper went round in circles, or stopped early: it takes the cut between two regions for an end."""
        duration_s = heard.window.duration_s
        short = duration_s > _MIN_DOUBTFUL_S and len(heard.decoded.tokens) < _MIN_TOKENS_PER_S * duration_s
        return short or _is_looping(self._text(heard.decoded))

    def _words(self, heard: list[_Heard]) -> int:
        """Count tokens that stand for something said."""
        return sum(len(one.decoded.tokens) for one in heard if not self._is_unsaid(one))

    def _is_unsaid(self, heard: _Heard) -> bool:
        """Apply openai-whisper's own tests for text that was never said."""
        decoded = heard.decoded
        silence = decoded.no_speech > _MAX_NO_SPEECH and decoded.mean_logprob < _MIN_MEAN_LOGPROB
        return silence or _is_looping(self._text(decoded))

    def _decode(
        self,
        windows: Sequence[_Window],
        languages: Callable[[Tensor], list[str]],
        tell: Callable[[float], None],
    ) -> list[_Heard]:
        """Encode and decode windows; ``languages`` gets the logits after the start token, in the windows' order."""
        if not windows:
            return []
        padded_s = [window.padded_s for window in windows]
        # Long ones first: rows that finish first are then at the end of the batch.
        order = sorted(range(len(windows)), key=lambda i: -padded_s[i])
        groups, encoded = [], 0
        for length_s in sorted(set(padded_s), reverse=True):
            mels = [self._mel(windows[i].sound, length_s) for i in order if padded_s[i] == length_s]
            parts = []
            for part in torch.stack(mels).split(_ENCODED_AT_ONCE):
                tell(_ENCODING_SHARE * encoded / len(windows))
                parts.append(self._whisper.encode(part))
                encoded += len(part)
            groups.append(torch.cat(parts))
        spoken: list[str] = []

        def prompts(logits: Tensor) -> list[tuple[int, ...]]:
            ranks = torch.tensor(order, device=logits.device).argsort()
            spoken.extend(languages(logits[ranks]))
            return [self._tokenizers.of(spoken[i]).sot_sequence_including_notimestamps[1:] for i in order]

        limits = [min(self._max_tokens, 10 + int(_MAX_TOKENS_PER_S * windows[i].duration_s)) for i in order]
        decoded = self._whisper.decode(
            groups,
            prompts,
            max_tokens=limits,
            progress=lambda share: tell(_ENCODING_SHARE + (1 - _ENCODING_SHARE) * share),
        )
        rows = {i: row for row, i in enumerate(order)}
        return [_Heard(window, decoded[rows[i]], spoken[i]) for i, window in enumerate(windows)]

    def _mel(self, sound: np.ndarray, length_s: int) -> Tensor:
        samples = torch.from_numpy(sound)
        padding = length_s * SAMPLE_RATE_HZ - len(samples)
        mel = log_mel_spectrogram(samples, self._n_mels, padding=padding)
        return mel[:, : length_s * SAMPLE_RATE_HZ // HOP_LENGTH]

    def _text(self, decoded: Decoded) -> str:
        return self._tokenizers.of("en").decode(list(decoded.tokens)).strip()

    def _place(self, heard: _Heard) -> list[Utterance]:
        """Give each region its share of the words, in proportion to time."""
        if self._is_unsaid(heard):
            return []
        window, language, text = heard.window, heard.language, self._text(heard.decoded)
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
    """Whisper's tokenizers, one a language: they share their tables and differ in the prompt."""

    def __init__(self, *, multilingual: bool, languages: int) -> None:
        self.multilingual = multilingual
        self._languages = languages

    def of(self, language: str) -> Tokenizer:
        return get_tokenizer(self.multilingual, num_languages=self._languages, language=language, task="transcribe")


class _Language:
    """The language of a recording, settled from what was heard so far."""

    def __init__(self, tokenizers: _Tokenizers) -> None:
        self._tokenizers = tokenizers
        self._evidence: Tensor | float = 0.0

    def settle(self, logits: Tensor) -> list[str]:
        """Take the logits after the start token (windows, vocabulary) in order of time; return each one's language."""
        if not self._tokenizers.multilingual:
            return ["en"] * len(logits)
        tokenizer = self._tokenizers.of("en")
        heard = logits[:, list(tokenizer.all_language_tokens)].log_softmax(dim=-1)
        evidence = heard.cumsum(dim=0) + self._evidence
        self._evidence = evidence[-1]
        return [tokenizer.all_language_codes[i] for i in evidence.argmax(dim=-1).tolist()]


def _vocabulary(tokenizer: Tokenizer, *, size: int) -> Vocabulary:
    """Suppress what openai-whisper suppresses, and every special token but the end."""
    return Vocabulary(
        start=tokenizer.sot,
        end=tokenizer.eot,
        no_speech=tokenizer.no_speech,
        suppressed=(*tokenizer.non_speech_tokens, *range(tokenizer.eot + 1, size)),
        never_first=(*tokenizer.encode(" "), tokenizer.eot),
    )


def _quietest(sound: np.ndarray) -> int:
    """Find the sample amid the quietest tenth of a second of a sound's middle half."""
    quarter, span = len(sound) // 4, SAMPLE_RATE_HZ // 10
    spans = (len(sound) - 2 * quarter) // span
    if not spans:
        return len(sound) // 2
    loudness = np.square(sound[quarter : quarter + spans * span]).reshape(spans, span).sum(axis=1)
    return quarter + int(loudness.argmin()) * span + span // 2


def _is_looping(text: str) -> bool:
    return bool(text) and compression_ratio(text) > _MAX_COMPRESSION
