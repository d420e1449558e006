"""A stream whose viewers cheer just after what is heard, for tests of how a log lies in time."""

import wave
from pathlib import Path

import numpy as np

HOUR_S = 3600
_RATE_HZ = 8_000


def a_stream(seed: int, *, length_s: int = HOUR_S, cheering: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Make up how loud each second is in dB, with outbursts, and when viewers wrote: at any time, and after them."""
    rng = np.random.default_rng(seed)
    level_db = -36 + 4 * np.sin(2 * np.pi * np.arange(length_s) / 1500) + 5 * rng.normal(size=length_s)
    rate = np.full(length_s, 0.3)
    for burst in rng.integers(length_s, size=length_s // 60):
        level_db[burst : burst + rng.integers(3, 12)] += 14
        if cheering:
            after = np.arange(length_s) - burst - 5
            rate += np.where(after >= 0, 2.5 * rng.exponential() * np.exp(-np.maximum(after, 0) / 6), 0)
    return level_db, np.repeat(np.arange(length_s), rng.poisson(rate)) + 0.5


def write_stream(folder: Path, *, late_s: float, seed: int = 3, length_s: int = 1500) -> tuple[Path, Path]:
    """Write such a stream: sound (noise, louder and quieter) and a log that is so much late."""
    level_db, times_s = a_stream(seed, length_s=length_s)
    loud = np.repeat(10 ** (np.clip(level_db, -60, -14) / 20), _RATE_HZ)
    sound = np.clip(loud * np.random.default_rng(seed).normal(size=len(loud)), -1, 1)
    with wave.open(str(recording := folder / "cheers.wav"), "wb") as out:
        out.setparams((1, 2, _RATE_HZ, 0, "NONE", ""))
        out.writeframes((32767 * sound).astype("<i2").tobytes())
    rows = "".join(f"{time_s + late_s},viewer{i % 50},what a moment\n" for i, time_s in enumerate(times_s))
    (log := folder / "late.csv").write_text(f"time,user,text\n{rows}", encoding="utf-8")
    return recording, log
