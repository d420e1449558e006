"""An hour of 720p30 H.264 with speech and 10,000 comments: KuaiHL, a straightforward pipeline, and four hours.

Run as `python -m tests.benchmarks.bench_pipeline [RECORDING]`. The recording, by default the example, is scaled to
720p30 once and repeated without re-encoding.
"""

import contextlib
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import torch

from kuaihl.predictor import DEFAULT_CHECKPOINT, Predictor
from kuaihl.records import segments_of

EXAMPLE = Path(__file__).parents[2] / "assets" / "example" / "recording.mp4"
HOUR_S = 3600.0
COMMENTS_PER_HOUR = 10_000
WORDS = ("what", "a", "great", "run", "lol", "nice", "gg", "hype", "how", "did", "that", "happen", "song")


def scale(source: Path, out: Path) -> None:
    """Re-encode a recording as 1280x720 H.264 at 30 fps with a keyframe every 2 s."""
    with av.open(str(source)) as given, av.open(str(out), "w", format="matroska") as made:
        video = made.add_stream("libx264", rate=30, options={"preset": "ultrafast", "g": "60"})
        video.width, video.height, video.pix_fmt, video.time_base = 1280, 720, "yuv420p", Fraction(1, 30)
        audio = made.add_stream("aac", rate=48_000)
        frame_number = 0
        resampler = av.AudioResampler("fltp", "stereo", 48_000)
        for frame in given.decode(given.streams.video[0], given.streams.audio[0]):
            if isinstance(frame, av.AudioFrame):
                for piece in resampler.resample(frame):
                    piece.pts = None
                    made.mux(audio.encode(piece))
                continue
            scaled = frame.reformat(1280, 720, "yuv420p")
            while frame_number <= frame.time * 30:
                scaled.time_base, scaled.pts, scaled.pict_type = Fraction(1, 30), frame_number, 0
                made.mux(video.encode(scaled))
                frame_number += 1
        made.mux(video.encode(None))
        made.mux(audio.encode(None))


def repeat(source: Path, out: Path, *, duration_s: float) -> None:
    """Repeat a recording packet by packet up to a duration."""
    with av.open(str(out), "w", format="mp4") as made:
        streams: dict[int, av.stream.Stream] = {}
        offset_s = 0.0
        while offset_s < duration_s:
            with av.open(str(source)) as given:
                streams = streams or {s.index: made.add_stream_from_template(s) for s in given.streams}
                length_s = given.duration / av.time_base + 0.1  # the sound may end after the pictures
                for packet in given.demux():
                    if packet.dts is None:
                        continue
                    if offset_s + packet.dts * packet.time_base >= duration_s:
                        break
                    shift = round(offset_s / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream_index]
                    made.mux(packet)
            offset_s += length_s


def write_log(out: Path, *, duration_s: float) -> None:
    """Write comments at random times as a table."""
    rng = np.random.default_rng(0)
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["time", "user", "text"])
        for moment_s in np.sort(rng.uniform(0, duration_s, round(COMMENTS_PER_HOUR * duration_s / HOUR_S))):
            said = " ".join(rng.choice(WORDS, rng.integers(1, 9)))
            table.writerow([f"{moment_s:.2f}", f"viewer{rng.integers(800)}", said])


def ours(recording: Path, log: Path) -> dict[str, float]:
    """Predict as a user does and return the seconds of each stage."""
    return Predictor.from_pretrained().predict(recording, log).timings_s


def straightforward(recording: Path, log: Path) -> dict[str, float]:
    """Run a first draft of the pipeline: whisper.transcribe, exact frames one by one, float32, no batches."""
    import decord
    import whisper

    from kuaihl.comments import reader, selection
    from kuaihl.features.pretrained import find_text_encoder, find_visual_encoder
    from kuaihl.features.text import TextEncoder
    from kuaihl.features.vision import VisualEncoder
    from kuaihl.model.kuaihl import load
    from kuaihl.speech.whisper_weights import find_whisper
    from kuaihl.speech.whisper_weights import load as load_whisper

    model, folder = load(DEFAULT_CHECKPOINT)
    config = model.config
    visual = VisualEncoder(
        config.visual_encoder, weights=find_visual_encoder(config.visual_encoder, checkpoint=folder), device="cpu"
    )
    text = TextEncoder(config.text_encoder, weights=find_text_encoder(config.text_encoder), device="cpu")
    listener = load_whisper(find_whisper(config.speech_model))
    timings: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], object]) -> object:
        began = time.perf_counter()
        done = work()
        timings[stage] = time.perf_counter() - began
        return done

    video = decord.VideoReader(str(recording))
    rate = video.get_avg_fps()
    segments = segments_of(len(video) / rate)
    heard = timed("listening", lambda: whisper.transcribe(listener, str(recording), fp16=False)["segments"])
    speech = [[u["text"] for u in heard if s.start_s <= u["start"] < s.end_s] for s in segments]

    size = visual.swin.patch_embed.img_size

    @torch.inference_mode()
    def look() -> None:
        for segment in segments:
            for part in (1 / 6, 1 / 2, 5 / 6):
                moment_s = segment.start_s + part * (segment.end_s - segment.start_s)
                frame = torch.from_numpy(video[int(moment_s * rate)].asnumpy()).permute(2, 0, 1)[None].float()
                small = torch.nn.functional.interpolate(frame, size, mode="bilinear", antialias=True)
                visual.swin((small - visual.mean) / visual.std)

    timed("looking", look)
    written = selection.by_segment(reader.read(log).comments, segments)

    @torch.inference_mode()
    def read() -> None:
        for said, lines in zip(speech, written, strict=True):
            given = text.tokenizer(
                " ".join(said), " ".join(c.text for c in lines), truncation=True, max_length=200, return_tensors="pt"
            )
            text.bert(**given).last_hidden_state.mean(1)

    timed("reading", read)
    return timings


def measure(way: str, recording: Path, log: Path) -> dict[str, float]:
    """Run one pipeline in a process of its own; return seconds by stage and peak memory with its children."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_pipeline", way, str(recording), str(log)]
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                family = [watched, *watched.children(recursive=True)]
                peak = max(peak, sum(member.memory_info().rss for member in family))
            time.sleep(0.2)
        printed = process.stdout.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return json.loads(printed.splitlines()[-1]) | {"peak_gib": peak / 2**30}


def main(source: Path = EXAMPLE) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scale(source, folder / "scaled.mkv")
        results = {}
        for label, way, hours in (
            ("ours, 1 h", "ours", 1), ("straightforward, 1 h", "straightforward", 1), ("ours, 4 h", "ours", 4)
        ):  # fmt: skip
            recording, log = folder / f"{hours}h.mp4", folder / f"{hours}h.csv"
            if not recording.exists():
                repeat(folder / "scaled.mkv", recording, duration_s=hours * HOUR_S)
                write_log(log, duration_s=hours * HOUR_S)
            measured = results[label] = measure(way, recording, log)
            stages = ", ".join(f"{k} {v:.1f}" for k, v in measured.items() if k not in {"total", "peak_gib"})
            speed = hours * HOUR_S / measured["total"]
            figures = f"{measured['total']:8.1f} s {speed:6.1f}x real time {measured['peak_gib']:6.2f} GiB"
            print(f"{label:<22}{figures}  ({stages})")
        ratio = results["straightforward, 1 h"]["total"] / results["ours, 1 h"]["total"]
        growth = results["ours, 4 h"]["peak_gib"] / results["ours, 1 h"]["peak_gib"] - 1
        print(f"ours is {ratio:.1f} times as fast as the straightforward way; 4 h take {growth:+.1%} memory of 1 h")


if __name__ == "__main__":
    if len(sys.argv) > 3:
        stages = {"ours": ours, "straightforward": straightforward}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
        print(json.dumps({**stages, "total": sum(stages.values())}))
    else:
        main(*(Path(a) for a in sys.argv[1:]))
