"""The whole way on short real recordings, with the checkpoint that is shipped."""

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from kuaihl.comments.reader import read
from kuaihl.comments.selection import COUNTED
from kuaihl.errors import CheckpointError, CommentLogError, KuaiHLError, RecordingError
from kuaihl.features.embeddings import Embeddings, Footage
from kuaihl.highlights import HighlightOptions
from kuaihl.media.recording import Recording, open_recording
from kuaihl.model.config import Target
from kuaihl.predictor import ALIGNMENT_BAND, STAGES, Predictor
from kuaihl.progress import Progress
from kuaihl.records import CommentLog, RecordingInfo, segments_of
from kuaihl.session import replay
from tests.conftest import COMMENTS_PER_SEGMENT
from tests.fixtures.made_embeddings import changed, two_targets
from tests.fixtures.videos import write_recording


@pytest.fixture(scope="module")
def encoded(predictor: Predictor, short_recording: Path, short_log: Path) -> Embeddings:
    return predictor.encode(short_recording, short_log)


def cut(source: Path, out: Path, *, until_s: float) -> Path:
    """Keep the packets before a time, as if the stream had got only so far."""
    with av.open(str(source)) as given, av.open(str(out), "w") as made:
        streams = {s.index: made.add_stream_from_template(s) for s in given.streams}
        for packet in given.demux():
            if packet.dts is not None and packet.pts * packet.time_base < until_s:
                packet.stream = streams[packet.stream_index]
                made.mux(packet)
    return out


def values(curve: Sequence[float | None]) -> np.ndarray:
    return np.array(curve, dtype=float)


def test_every_segment_but_the_first_and_a_forecast(predictor: Predictor, encoded: Embeddings) -> None:
    found = predictor.score(encoded)
    assert found.curve[0] is None
    assert ((values(found.curve[1:]) > 0) & (values(found.curve[1:]) < 1)).all()
    assert 0 < found.next_score < 1
    assert [s.segment.start_s for s in found.segments] == [0.0, 30.0, 60.0, 90.0, 120.0]
    assert [s.comments for s in found.segments] == COMMENTS_PER_SEGMENT
    assert found.target == "lvtr"
    assert "simulated" in found.trained_on
    assert found.trained_on == predictor.config.targets[0].trained_on
    assert len(found.checkpoint.sha256) == 64
    assert set(found.timings_s) == set(STAGES)
    modalities = found.modalities
    assert (modalities.pictures, modalities.speech, modalities.comments) == (True, True, True)


def test_the_example_is_predicted_as_before(predictor: Predictor, example: Path) -> None:
    """Compare with an earlier version. In bf16 and float32 they differ by up to 1e-3."""
    embeddings = predictor.encode(example / "recording.mp4", example / "comments.json")
    golden = json.loads(Path(__file__).with_name("fixtures").joinpath("example_curve.json").read_text())
    assert len(predictor.score(embeddings, options=HighlightOptions(top_k=2)).highlights) == 2
    for target, expected in golden.items():
        found = predictor.score(embeddings, target=target)
        np.testing.assert_allclose(values(found.curve), values(expected["curve"]), atol=2e-3)
        assert found.next_score == pytest.approx(expected["next_score"], abs=2e-3)


def test_the_alignment_is_a_path_through_its_band(predictor: Predictor, encoded: Embeddings) -> None:
    alignments = predictor.score(encoded).alignments
    assert [(a.source, a.other) for a in alignments] == [
        ("comments", "pictures"),
        ("comments", "speech"),
        ("speech", "pictures"),
    ]
    for alignment in alignments:
        assert alignment.path[0] == (0, 0)
        assert alignment.path[-1] == (4, 4)
        assert alignment.cost.shape == (5, 2 * ALIGNMENT_BAND + 1)
        along = [alignment.cost[i, j - i + ALIGNMENT_BAND] for i, j in alignment.path]
        assert alignment.distance == pytest.approx(sum(along), rel=1e-5)
    (alone,) = predictor.score(encoded, sources=("comments", "pictures")).alignments
    np.testing.assert_array_equal(alone.cost, alignments[0].cost)


def test_nothing_knows_what_comes_later(
    predictor: Predictor, encoded: Embeddings, short_recording: Path, short_log: Path, tmp_path: Path
) -> None:
    whole = predictor.score(encoded)
    for kept in (1, 3):
        earlier = cut(short_recording, tmp_path / f"{kept}.mp4", until_s=30.0 * kept)
        part = predictor.predict(earlier, short_log)
        assert len(part.segments) == kept
        np.testing.assert_allclose(values(part.curve), values(whole.curve[:kept]), atol=1e-5)
        assert part.next_score == pytest.approx(whole.curve[kept], abs=1e-5)


def test_what_a_recording_lacks_is_masked_and_said(predictor: Predictor, short_log: Path, tmp_path: Path) -> None:
    silent = write_recording(tmp_path / "silent.mp4", duration_s=65, fps=5, audio=None)
    dark = write_recording(tmp_path / "dark.mp4", duration_s=65, video=None)
    for path, log, expected in (
        (silent, None, (True, False, False)),
        (dark, None, (False, True, False)),
        (dark, short_log, (False, True, True)),
        (silent, short_log, (True, False, True)),
    ):
        found = predictor.predict(path, log)
        modalities = found.modalities
        assert (modalities.pictures, modalities.speech, modalities.comments) == expected
        assert np.isfinite(values(found.curve[1:])).all()
        assert len(found.alignments) == (sum(expected) == 2)


def test_a_transcript_stands_for_speech_recognition(
    predictor: Predictor, short_recording: Path, tmp_path: Path
) -> None:
    subtitles = tmp_path / "words.srt"
    subtitles.write_text("1\n00:00:31,000 --> 00:00:33,000\nhello everyone\n", encoding="utf-8")
    found = predictor.predict(short_recording, transcript=subtitles)
    assert [s.speech for s in found.segments] == ["", "hello everyone", "", "", ""]
    assert found.modalities.speech


def test_the_offset_moves_comments_and_what_falls_out_is_counted(
    predictor: Predictor, short_recording: Path, tmp_path: Path
) -> None:
    subtitles = tmp_path / "none.srt"
    subtitles.write_text("1\n00:00:01,000 --> 00:00:02,000\nhi\n", encoding="utf-8")
    log = tmp_path / "chat.csv"
    log.write_text("time,user,text\n1,ann,hello\n40,bo,nice\n41,Nightbot,rules\n139,cy,bye\n", encoding="utf-8")
    found = predictor.predict(short_recording, log, transcript=subtitles, comment_offset_s=-20)
    assert [s.comments for s in found.segments] == [1, 0, 0, 1, 0]
    reasons = {s.reason: s.count for s in found.skipped}
    assert reasons["comments before the recording starts"] == 1
    assert reasons["bot, left out of the text"] == 1
    read_before = predictor.predict(short_recording, read(log), transcript=subtitles, comment_offset_s=-20)
    assert (read_before.segments, read_before.skipped) == (found.segments, found.skipped)


def test_a_log_that_is_already_read_takes_no_stream_start(predictor: Predictor, short_recording: Path) -> None:
    with pytest.raises(KuaiHLError, match="stream_start"):
        predictor.predict(short_recording, CommentLog("made up", ()), stream_start="2024-05-01T20:00:00Z")


def test_comments_change_the_prediction(predictor: Predictor, encoded: Embeddings, short_recording: Path) -> None:
    without = predictor.predict(short_recording)
    assert not np.allclose(values(without.curve[1:]), values(predictor.score(encoded).curve[1:]), atol=1e-4)


def test_known_streamers_count_and_others_are_strangers(predictor: Predictor, encoded: Embeddings) -> None:
    stranger, nobody = predictor.score(encoded, streamer="nobody knows"), predictor.score(encoded)
    known = predictor.score(encoded, streamer=predictor.config.streamers[0])
    assert stranger.curve == nobody.curve
    assert known.curve != nobody.curve


def test_what_is_left_out_is_not_read(
    predictor: Predictor, encoded: Embeddings, short_recording: Path, short_log: Path, tmp_path: Path, monkeypatch
) -> None:
    def fail(*_, **__):
        pytest.fail("it was read")

    monkeypatch.setattr(Recording, "read_frames", fail)
    said = predictor.predict(short_recording, tmp_path / "none.json", sources=["speech"])
    assert said.curve == predictor.score(encoded, sources=["speech"]).curve
    monkeypatch.setattr(Recording, "read_audio", fail)
    written = predictor.predict(short_recording, short_log, sources=["comments"], transcript=tmp_path / "none.srt")
    assert written.curve == predictor.score(encoded, sources=["comments"]).curve
    by_chat = predictor.predict(short_recording, short_log, target="participation")
    assert by_chat.curve == predictor.score(encoded, target="participation").curve


def test_what_counts_as_a_comment_can_be_chosen(predictor: Predictor, short_recording: Path, tmp_path: Path) -> None:
    (log := tmp_path / "log.txt").write_text("[0:00:01] Ann: hi\n[0:00:02] Bo: !drops\n[0:00:03] Nightbot: drops\n")
    for counted, first in [(COUNTED, 2), (["message"], 1), (["bot"], 1), (["message", "command", "bot"], 3)]:
        found = predictor.predict(short_recording, log, sources=["comments"], counted=counted)
        assert found.segments[0].comments == first
        assert sum(skipped.count for skipped in found.skipped) == 3 - first


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"sources": ["smell"]}, "no source 'smell': sources are pictures, speech, comments"),
        ({"sources": []}, "nothing to predict lvtr from"),
        ({"sources": ["speech"], "target": "participation"}, "nothing to predict participation from"),
        ({"counted": ["smell"]}, "smell"),
    ],
)
def test_choices_that_leave_nothing_are_told(
    predictor: Predictor, short_recording: Path, short_log: Path, wrong: dict, why: str
) -> None:
    with pytest.raises(KuaiHLError, match=why):
        predictor.predict(short_recording, short_log, **wrong)


def test_progress_names_the_stages_and_can_stop(predictor: Predictor, short_recording: Path, short_log: Path) -> None:
    reports: list[tuple[str, float]] = []
    predictor.predict(short_recording, short_log, progress=Progress(lambda *report: reports.append(report)))
    assert list(dict.fromkeys(stage for stage, _ in reports)) == list(STAGES)
    for stage in STAGES:
        fractions = [fraction for name, fraction in reports if name == stage]
        assert (fractions[0], fractions[-1]) == (0.0, 1.0)
        assert fractions == sorted(fractions)

    def stop(stage: str, share: float) -> None:
        if stage == "looking":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predictor.predict(short_recording, short_log, progress=Progress(stop))


def test_a_model_trained_without_a_source_never_sees_it(predictor: Predictor, encoded: Embeddings) -> None:
    deaf = copy.copy(predictor)
    deaf.model = copy.deepcopy(predictor.model)
    deaf.model.config = replace(deaf.config, targets=(Target(excluded_inputs=("comments", "streamer")),))
    found, expected = deaf.score(encoded), predictor.score(changed(encoded, comments=None))
    assert found.segments == expected.segments
    assert found.modalities == expected.modalities
    assert [step.segment for step in replay(deaf, encoded, found)] == [
        replace(s, reaction=None) for s in found.segments
    ]


def test_each_target_rests_on_what_its_head_has_seen(predictor: Predictor, encoded: Embeddings) -> None:
    both = two_targets(predictor)
    lvtr, chat = (both.score(encoded, target=name) for name in ("lvtr", "participation"))
    assert both.score(encoded).curve == lvtr.curve
    np.testing.assert_allclose(values(lvtr.curve), values(predictor.score(encoded).curve), atol=1e-6)
    assert (lvtr.target, lvtr.trained_on) == ("lvtr", "simulated rooms")
    assert (chat.target, chat.trained_on) == ("participation", "real chat")
    assert (chat.modalities.pictures, chat.modalities.speech, chat.modalities.comments) == (False, False, True)
    assert (len(lvtr.alignments), chat.alignments) == (3, ())
    blind = both.score(changed(encoded, pictures=None, speech=None), target="participation")
    assert (blind.curve, blind.next_score) == (chat.curve, chat.next_score)
    with pytest.raises(KuaiHLError, match="nothing to predict participation from, which takes comments"):
        both.score(changed(encoded, comments=None), target="participation")
    assert [step.segment for step in replay(both, encoded, chat)] == [replace(s, reaction=None) for s in chat.segments]


def test_what_is_not_predicted_is_refused_before_any_work(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not predict 'mood': it predicts lvtr"):
        predictor.predict(tmp_path / "nothing.mp4", target="mood")


def test_a_recording_is_opened_once(predictor: Predictor, short_recording: Path, encoded: Embeddings) -> None:
    opened = open_recording(short_recording)
    found = predictor.encode(replace(opened, info=replace(opened.info, name="as it was opened")))
    assert found.recording.name == "as it was opened"
    np.testing.assert_array_equal(found.features.pictures, encoded.features.pictures)


def test_bad_input(predictor: Predictor, short_recording: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("#EXTM3U\n")
    with pytest.raises(RecordingError):
        predictor.predict(text)
    with pytest.raises(CommentLogError):
        predictor.predict(short_recording, short_recording)
    with pytest.raises(CheckpointError):
        Predictor.from_pretrained(tmp_path)


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives(
    encoded: Embeddings, predictor: Predictor, short_recording: Path, short_log: Path
) -> None:
    found = Predictor.from_pretrained(device="cuda").predict(short_recording, short_log)
    np.testing.assert_allclose(values(found.curve), values(predictor.score(encoded).curve), atol=0.02)


def test_half_an_hour_of_black_has_no_highlight(predictor: Predictor) -> None:
    segments = segments_of(1800.0)
    black = predictor.visual_encoder.encode(np.zeros((1, 90, 160, 3), np.uint8))
    footage = Footage(
        recording=RecordingInfo("black.mp4", 1800.0, "mp4", "h264", None, 160, 90),
        segments=tuple(segments),
        speech=None,
        pictures=np.tile(black, (len(segments), 3, 1)),
        skipped=(),
        timings_s={},
    )
    prediction = predictor.score(predictor.encode_comments(footage, None))
    assert np.ptp(prediction.curve[1:]) > 0.02  # the window fills up, which is no moment
    assert prediction.highlights == ()
