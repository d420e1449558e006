"""Explanations: against predictions made anew, and where the cause is known because the test built it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kuaihl.attribution import MOST_TEXTS, Written, contributions, explained, indices_at, moments
from kuaihl.errors import KuaiHLError
from kuaihl.features.embeddings import SOURCES, Embeddings
from kuaihl.media.recording import open_recording, thumbnail
from kuaihl.model.inputs import ModelInputs
from kuaihl.model.kuaihl import KuaiHL
from kuaihl.predictor import Predictor
from kuaihl.progress import Progress
from kuaihl.records import Comment
from tests.fixtures.made_embeddings import encoded, two_targets
from tests.fixtures.predictions import made_up


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.from_pretrained(device="cpu")


def test_contributions_are_predictions_made_anew(predictor: Predictor) -> None:
    given, streamer = encoded(predictor.config, 30), predictor.config.streamers[3]
    found = contributions(predictor, given, streamer=streamer)
    assert set(found.without) == {*SOURCES, "streamer"}
    for source in SOURCES:
        alone = predictor.score(given.without(source), streamer=streamer)
        assert not getattr(alone.modalities, source)
        np.testing.assert_array_equal(found.without[source][1:], np.float32([*alone.curve[1:], alone.next_score]))
    stranger = predictor.score(given)
    np.testing.assert_array_equal(found.without["streamer"][1:-1], np.float32(stranger.curve[1:]))
    assert found.added(7) == {k: pytest.approx(float(found.scores[7] - v[7])) for k, v in found.without.items()}
    assert set(contributions(predictor, given.without("speech")).without) == {"pictures", "comments"}


def test_a_target_is_explained_by_what_its_head_has_seen(predictor: Predictor) -> None:
    both, target = two_targets(predictor), "participation"
    given = encoded(both.config, 30)
    found = contributions(both, given, target=target)
    assert set(found.without) == {"comments"}
    np.testing.assert_array_equal(found.scores[1:-1], np.float32(both.score(given, target=target).curve[1:]))
    assert not np.isclose(found.scores[1:], contributions(both, given).scores[1:]).any()
    seen = moments(both, given, 27, target=target, top=60)
    assert {source for m in seen for source in m.added} == {"comments"}
    assert len(seen) == 20


def test_without_text_of_one_kind_the_other_remains(predictor: Predictor) -> None:
    given = encoded(predictor.config, 4)
    assert given.without("comments").text.fitting() is given.text.speech
    assert given.without("speech").text.fitting() is given.text.comments
    assert given.without("speech", "comments").text.fitting() is None
    assert given.without("pictures").text.fitting() is given.text.both
    assert given.pictures is not None


def test_occlusion_is_the_prediction_without_one_source_of_one_segment(predictor: Predictor) -> None:
    given, index = encoded(predictor.config, 30), 27
    found = moments(predictor, given, index, top=30)
    assert {m.segment.index for m in found} == set(range(7, 27))
    assert [m.greatest for m in found] == sorted((max(map(abs, m.added.values())) for m in found), reverse=True)
    assert all(set(m.added) == set(SOURCES) for m in found)
    assert found[:5] == moments(predictor, given, index)
    one = found[3]
    features = predictor.features(given)
    features.has_pictures[0, one.segment.index] = False
    with torch.inference_mode():
        expected = predictor.model.sweep(predictor.features(given))[index] - predictor.model.sweep(features)[index]
    assert one.added["pictures"] == pytest.approx(float(expected), abs=1e-6)
    assert one.speech == " ".join(u.text for u in given.speech[one.segment.index])
    assert one.written == len(given.comments[one.segment.index])
    assert one.comments == (Written("hi", one.written),)


class CommentsAlone(KuaiHL):
    """A model whose causes are known: it predicts from the mean of log1p of comments in the window alone."""

    def gather_all(self, features: ModelInputs, **_: int) -> torch.Tensor:
        return features.chat[0, :, :1] * features.has_comments[0, :, None]

    def decode(self, gathered: torch.Tensor, **_: int) -> torch.Tensor:
        return (gathered[..., 0].cumsum(1) / torch.arange(1, gathered.shape[1] + 1)).sigmoid()


def test_the_known_cause_is_found(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "model", CommentsAlone(predictor.config).eval())
    given = encoded(predictor.config, 16)
    comments = [[Comment(s.start_s, "hm", user="one")] for s in given.segments]
    comments[13] = [Comment(390.0 + k / 10, "WOW", user=f"viewer {k}") for k in range(200)]
    given = replace(given, comments=comments)
    found = contributions(predictor, given)
    assert found.added(16)["comments"] > 0.1
    assert (found.added(16)["pictures"], found.added(16)["speech"]) == (0.0, 0.0)
    seen = moments(predictor, given, 16, top=16)
    assert seen[0].segment.index == 13
    assert (seen[0].written, seen[0].comments) == (200, (Written("WOW", 200),))
    assert seen[0].added["comments"] > 3 * seen[1].greatest
    assert all(m.added["pictures"] == m.added["speech"] == 0.0 for m in seen)


@pytest.fixture(scope="module")
def dull_room(predictor: Predictor, example: Path) -> tuple[Embeddings, np.ndarray]:
    """Six minutes of a simulated room's least appealing pictures, and nothing else; and its most appealing ones."""
    recording = open_recording(example / "recording.mp4")
    truth = json.loads((example / "truth.json").read_text(encoding="utf-8"))["segments"]
    by_appeal = sorted(truth, key=lambda segment: segment["appeal"])

    def looked_at(segment: dict[str, float]) -> np.ndarray:
        times_s = (segment["start_s"] + part * 30 for part in (1 / 6, 1 / 2, 5 / 6))
        return predictor.visual_encoder.encode(np.stack([thumbnail(recording, s, width=224) for s in times_s]))

    worst, best = looked_at(by_appeal[0]), looked_at(by_appeal[-1])
    given = encoded(predictor.config, 12).without("speech").without("comments")
    return replace(given, pictures=np.stack([worst] * 12)), best


@pytest.mark.parametrize("planted", [3, 8, 10])
def test_appealing_pictures_in_a_dull_room_are_found(
    predictor: Predictor, dull_room: tuple[Embeddings, np.ndarray], planted: int
) -> None:
    dull, best = dull_room
    pictures = dull.pictures.copy()
    pictures[planted] = best
    given = replace(dull, pictures=pictures)
    assert predictor.score(given).curve[11] > predictor.score(dull).curve[11], "the cause has an effect"
    found = moments(predictor, given, 11)
    cause = next(moment for moment in found if moment.added["pictures"] > 0)
    assert cause.segment.index == planted
    # Nothing may weigh more but that pictures after it are dull; and where all are, none adds half as much.
    assert all(moment.segment.index > planted for moment in found[: found.index(cause)])
    alike = max(moment.added["pictures"] for moment in moments(predictor, dull, 11, top=11))
    assert cause.added["pictures"] == cause.greatest > 2 * alike


def test_a_lively_minute_in_a_quiet_chat_is_found(predictor: Predictor) -> None:
    given, target = encoded(predictor.config, 16), "participation"
    chatters = [f"viewer {k}" for k in range(40)]
    comments = [
        [Comment(s.start_s + k, "hi", user=chatters[(7 * s.index + k) % 40]) for k in range(4)] for s in given.segments
    ]
    quiet = replace(given, comments=comments)
    comments = [
        *comments[:14],
        [Comment(425.0 + k / 10, "WOW", user=user) for k, user in enumerate(chatters)],
        comments[15],
    ]
    lively = replace(given, comments=comments)
    before, after = (predictor.score(one, target=target).curve[15] for one in (quiet, lively))
    assert after > before, "the cause has an effect"
    cause = moments(predictor, lively, 15, target=target)[0]
    assert (cause.segment.index, cause.comments) == (14, (Written("WOW", 40),))
    assert cause.added["comments"] > 0


def test_of_a_loud_segment_the_most_frequent_texts_are_told(predictor: Predictor) -> None:
    given = encoded(predictor.config, 4)
    texts = ["rare 0", "WOW", *(f"rare {k}" for k in range(1, 5000)), *["WOW"] * 2999, *["hm"] * 70]
    loud = [Comment(31.0, text, user=f"viewer {k}") for k, text in enumerate(texts)]
    given = replace(given, comments=[given.comments[0], loud, *given.comments[2:]])
    (moment,) = (m for m in moments(predictor, given, 3) if m.segment.index == 1)
    assert moment.written == len(texts)
    assert moment.comments[:4] == (Written("WOW", 3000), Written("hm", 70), Written("rare 0", 1), Written("rare 1", 1))
    assert len(moment.comments) == MOST_TEXTS


def test_what_the_model_reads_is_gathered_once(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    given, gather, gathered = encoded(predictor.config, 30), predictor.features, []
    expected = [moments(predictor, given, index) for index in (7, 29, 30)]
    monkeypatch.setattr(predictor, "features", lambda *a, **k: gathered.append(a) or gather(*a, **k))
    found = contributions(predictor, given)
    assert [moments(predictor, given, index, features=found.features) for index in (7, 29, 30)] == expected
    assert len(gathered) == 1


def test_explaining_can_be_stopped_between_any_two_segments(predictor: Predictor) -> None:
    given, told = encoded(predictor.config, 30), []
    prediction = predictor.score(given)
    whole = explained(
        predictor, given, prediction, range(1, 31), progress=Progress(lambda _, share: told.append(share))
    )
    assert len(whole["reasons"]) == 30
    assert told == sorted(told)
    assert sum(share >= 0.5 for share in told) >= 30
    asked: list[float] = []

    def stop(_: str, share: float) -> None:
        asked.append(share)
        if share > 0.7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explained(predictor, given, prediction, range(1, 31), progress=Progress(stop))
    assert asked[-1] < 0.75


@pytest.mark.parametrize("index", [-1, 0, 6])
def test_there_is_nothing_to_explain_before_the_first_prediction(predictor: Predictor, index: int) -> None:
    with pytest.raises(ValueError, match="segments 1 to 5"):
        moments(predictor, encoded(predictor.config, 5), index)


def test_without_times_highlights_and_forecast_are_told() -> None:
    prediction = made_up()
    peaks = [int(highlight.peak_s // 30) for highlight in prediction.highlights]
    assert indices_at(prediction, ()) == [*peaks, 24]
    assert indices_at(prediction, (59.9, 30.0, prediction.recording.duration_s)) == [1, 24]


@pytest.mark.parametrize("at", [0.0, 29.9, 708.0])
def test_times_without_a_prediction_are_refused(at: float) -> None:
    with pytest.raises(KuaiHLError, match=r"from 30 s on, .* after 707 s, the end"):
        indices_at(made_up(), (at,))
