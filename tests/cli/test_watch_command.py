"""What watch predicts from is chosen as for predict, and goes on where its log is none."""

from pathlib import Path

import numpy as np
import pytest

from kuaihl.comments.reader import read
from kuaihl.comments.selection import select_kinds
from kuaihl.errors import NothingToPredictFromError
from kuaihl.predictor import Predictor
from kuaihl.watch.watcher import Watch
from tests.fixtures.videos import write_recording

AT_ONCE = {"until_idle_s": 0.3, "comment_wait_s": 0.0}
LOG = "[0:00:01] Ann: hi\n[0:00:02] Nightbot: drops are on\n[0:00:33] Bo: !drops\n[0:00:40] Ann: what a play\n"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watched")
    (folder / "chat.txt").write_text(LOG)
    return write_recording(folder / "a.mkv", duration_s=72.0, fps=2, size=(160, 90))


def test_numbers_are_those_of_predict_with_the_same_choices(predictor: Predictor, recording: Path) -> None:
    log = recording.with_name("chat.txt")
    chosen = {"counted": ("message", "bot"), "sources": ("pictures", "comments")}
    seen = list(Watch(str(recording), comments=log, **chosen, **AT_ONCE).run(predictor))
    encoded = predictor.encode(recording, select_kinds(read(log), chosen["counted"])).without("speech")
    whole = predictor.score(encoded)
    assert [s.comments for s in seen] == [s.comments for s in whole.segments] == [2, 1, 0]
    assert all(s.speech == "" for s in seen)
    # Decord, by which whole recordings are decoded if it is installed, scales pictures a little differently.
    np.testing.assert_allclose([s.next_score for s in seen], [*whole.curve[1:], whole.next_score], atol=0.01)


@pytest.mark.parametrize("sources", [("pictures", "speech", "comments"), ("pictures", "speech")])
def test_a_target_without_its_sources_is_refused(
    predictor: Predictor, recording: Path, sources: tuple[str, ...]
) -> None:
    log = None if "comments" in sources else recording.with_name("chat.txt")
    watch = Watch(str(recording), comments=log, sources=sources, target="participation", **AT_ONCE)
    with pytest.raises(NothingToPredictFromError, match="takes comments"):
        next(watch.run(predictor))


def test_beside_a_log_of_nonsense_pictures_and_speech_go_on(
    predictor: Predictor, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kuaihl.watch.log_follower.PUZZLED_S", 0.0)
    (log := recording.with_name("nonsense.txt")).write_text("words that are no log\n")
    seen = list(Watch(str(recording), comments=log, **AT_ONCE).run(predictor))
    told = capsys.readouterr().err
    assert told.count("nonsense.txt is not a comment log of a known format") == 1
    assert seen == list(Watch(str(recording), **AT_ONCE).run(predictor))
    with pytest.raises(NothingToPredictFromError, match="takes comments"):
        next(Watch(str(recording), comments=log, target="participation", **AT_ONCE).run(predictor))
