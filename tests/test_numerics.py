"""The same input gives the same curve, whatever the number of threads, the batch sizes and the precision."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from kuaihl import devices
from kuaihl import predictor as predictor_module
from kuaihl.features import text, vision
from kuaihl.predictor import Predictor

SRT = "1\n00:01:05,000 --> 00:01:08,000\nthat was close\n\n2\n00:04:31,000 --> 00:04:33,000\nthank you for the gift\n"


@pytest.fixture(scope="module")
def compute(predictor: Predictor, example: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], np.ndarray]:
    """Return a function that encodes and scores the example: (segments,)."""
    transcript = tmp_path_factory.mktemp("speech") / "speech.srt"
    transcript.write_text(SRT, encoding="utf-8")

    def curve() -> np.ndarray:
        embeddings = predictor.encode(example / "recording.mp4", example / "comments.json", transcript=transcript)
        prediction = predictor.score(embeddings)
        return np.array([*prediction.curve[1:], prediction.next_score])

    return curve


@pytest.fixture(scope="module")
def reference(compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The curve in float32, with one thread and the default batch sizes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "working_dtype", lambda device: torch.float32)
        result = compute()
    torch.set_num_threads(threads)
    return result


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [1, 8, 64])
def test_threads_and_batch_sizes(
    compute: Callable[[], np.ndarray],
    reference: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    one_thread: None,
    threads: int,
    size: int,
) -> None:
    monkeypatch.setattr(devices, "working_dtype", lambda device: torch.float32)
    monkeypatch.setattr(predictor_module, "_SEGMENTS_PER_STEP", size)
    monkeypatch.setattr(vision, "_PICTURES_PER_BATCH", {"cpu": size})
    monkeypatch.setattr(text, "_PIECES_PER_BATCH", {"cpu": 64 * size})
    torch.set_num_threads(threads)
    np.testing.assert_allclose(compute(), reference, atol=1e-5, rtol=0)


def test_bfloat16(
    compute: Callable[[], np.ndarray], reference: np.ndarray, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    """Also where the hardware has no bfloat16: it is emulated there."""
    monkeypatch.setattr(devices, "working_dtype", lambda device: torch.bfloat16)
    curve = compute()
    np.testing.assert_allclose(curve, reference, atol=3e-3, rtol=0)
    assert not np.array_equal(curve, reference)
    assert kendalltau(curve, reference).statistic > 0.99
