"""A stand-in for the predictor, for the tests of the command line: it notes how it is called, and predicts at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kuaihl.config import KuaiHLConfig, Target
from kuaihl.predictor import STAGES, Predictor
from kuaihl.recording import Recording, open_recording
from kuaihl.records import Prediction
from tests.predictions import made_up

WRITTEN = (
    "prediction.json, segments.csv, curve.html, alignment.html, report.html, chapters.txt, chapters.ffmetadata, "
    "chapters.vtt, highlights.srt, highlights.edl, highlights.otio"
)
NAMES = sorted(WRITTEN.split(", "))
"""The files of results."""


@dataclass
class Standing:
    """Which checkpoints were loaded, what was predicted with which arguments, and what to return or raise."""

    outcome: Prediction | BaseException | Callable[[Recording], Prediction] = field(default_factory=made_up)
    checkpoints: list[Path | str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    config: KuaiHLConfig = field(
        default_factory=lambda: KuaiHLConfig(
            streamers=("alice",),
            targets=(Target(), Target("participation", "real chat", without=("pictures", "speech", "text"))),
        )
    )

    def predict(
        self, recording: Recording, comments: object, *, progress: Callable[[str, float], None], **options: Any
    ) -> Prediction:
        self.calls.append({"recording": recording.path, "comments": comments, **options})
        for stage in STAGES:
            progress(stage, 0.5)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome if isinstance(self.outcome, Prediction) else self.outcome(recording)


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, *, recording: Path) -> Standing:
    """Let every checkpoint that is loaded be one stand-in, and work in a folder with something to name on a command.

    For stream.mp4, which is empty, it is as if ``recording`` was opened.
    """
    standing = Standing()

    def load(cls: type, path_or_repo: Path | str) -> Standing:
        standing.checkpoints.append(path_or_repo)
        return standing

    opened = open_recording(recording)
    monkeypatch.setattr(Predictor, "from_pretrained", classmethod(load))
    monkeypatch.setattr(
        "kuaihl.batch.running.open_recording",
        lambda path: opened if path == Path("stream.mp4") else open_recording(path),
    )
    monkeypatch.chdir(folder)
    for name in ("stream.mp4", "words.srt"):
        Path(name).write_text("")
    Path("talk.json").write_text("2,Ann,hi\n15,Bo,hello\n")
    return standing
