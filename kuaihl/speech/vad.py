"""Voice activity detection with Silero's model in onnxruntime, one segment at a time."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from kuaihl.errors import CheckpointError

SAMPLE_RATE_HZ = 16_000
_FRAME = 512
_CONTEXT = 64
_SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"


@dataclass(frozen=True, slots=True)
class Region:
    """A region of speech, in samples from the start of the audio."""

    start: int
    end: int


class VoiceDetector:
    """Silero's detector, version 6, in the variant that processes a sequence of frames in one call.

    Every call starts from an empty state, so that the regions of a segment depend on its own audio alone.

    Raises
    ------
    CheckpointError
        The package silero-vad is missing, or carries another model.
    """

    def __init__(self, *, threshold: float = 0.5, min_silence_s: float = 0.5, padding_s: float = 0.2) -> None:
        self._threshold = threshold
        self._min_silence = round(min_silence_s * SAMPLE_RATE_HZ)
        self._padding = round(padding_s * SAMPLE_RATE_HZ)
        options = onnxruntime.SessionOptions()
        # The recurrent part is sequential; callers process several segments in parallel instead.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(_model(), options, providers=["CPUExecutionProvider"])

    def probabilities(self, audio: np.ndarray) -> np.ndarray:
        """Return the probability of speech in each 32 ms of 16 kHz audio: (samples,) -> (frames,) float32."""
        frames = np.zeros((-(-len(audio) // _FRAME), _FRAME), np.float32)
        if not len(frames):
            return np.zeros(0, np.float32)
        frames.reshape(-1)[: len(audio)] = audio
        before = np.zeros((len(frames), _CONTEXT), np.float32)
        before[1:] = frames[:-1, -_CONTEXT:]
        state = np.zeros((1, 1, 128), np.float32)
        feed = {"input": np.concatenate([before, frames], axis=1), "h": state, "c": state}
        return np.asarray(self._session.run(["speech_probs"], feed)[0]).reshape(-1)

    def regions(self, audio: np.ndarray) -> list[Region]:
        """Return padded regions of speech in order, at least ``min_silence_s`` apart before the padding.

        As in Silero's own code, speech starts where the probability reaches the threshold, and continues while it is at
        most 0.15 below.
        """
        speech = _hysteresis(self.probabilities(audio), high=self._threshold, low=self._threshold - 0.15)
        edges = np.flatnonzero(np.diff(speech, prepend=False, append=False)) * _FRAME
        regions: list[Region] = []
        for start, end in edges.reshape(-1, 2).tolist():
            padded = Region(max(0, start - self._padding), min(len(audio), end + self._padding))
            if regions and start - self._min_silence < regions[-1].end - self._padding:
                regions[-1] = Region(regions[-1].start, padded.end)
            else:
                regions.append(padded)
        return regions


def _hysteresis(values: np.ndarray, *, high: float, low: float) -> np.ndarray:
    """Mark values of at least ``high``, and those after them of at least ``low``: (frames,) -> (frames,) bool."""
    decided = (values >= high) | (values < low)
    last = np.maximum.accumulate(np.where(decided, np.arange(len(values)), -1))
    return (last >= 0) & (values[last] >= high)


def _model() -> bytes:
    """Return the model of the installed package, without importing it."""
    advice = "Install it: pip install --force-reinstall --no-deps 'silero-vad>=6.2.3,<7'"
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or spec.origin is None:
        raise CheckpointError(f"The Python package silero-vad, which detects speech, is not installed. {advice}")
    file = Path(spec.origin).parent / "data" / "silero_vad_16k_sequence.onnx"
    if not file.is_file():
        raise CheckpointError(f"The Python package silero-vad lacks {file}. {advice}")
    model = file.read_bytes()
    if hashlib.sha256(model).hexdigest() != _SHA256:
        raise CheckpointError(f"{file} is not the expected model: its SHA-256 differs. {advice}")
    return model
