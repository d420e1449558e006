"""Attribution: against new predictions, and where the cause is known because the test made it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kuaihl.attribution import TOP_TEXTS, TextCount, contributions, explain, indices_at, influential_segments
from kuaihl.errors import KuaiHLError
from kuaihl.features.embeddings import SOURCES, Embeddings
from kuaihl.media.recording import open_recording, thumbnail
from kuaihl.model.inputs import ModelInputs
from kuaihl.model.kuaihl import KuaiHL
from kuaihl.predictor import Predictor
from kuaihl.progress import Progress
from kuaihl.records import Comment
from tests.fixtures.made_embeddings import changed, encoded, two_targets
from tests.fixtures.predictions import made_up


def test_contributions_are_predictions_made_anew(predictor: Predictor) -> None:
    given, streamer = encoded(predictor.config, 30), predictor.config.streamers[3]
    prediction = predictor.score(given, streamer=streamer)
    found = contributions(predictor, given, prediction)
    assert set(found.scores_without) == {*SOURCES, "streamer"}
    np.testing.assert_array_equal(found.scores[1:], np.float32([*prediction.curve[1:], prediction.next_score]))
    for source in SOURCES:
        alone = predictor.score(changed(given, **{source: None}), streamer=streamer)
        assert not getattr(alone.modalities, source)
        np.testing.assert_array_equal(
            found.scores_without[source][1:], np.float32([*alone.curve[1:], alone.next_score])
        )
    stranger = predictor.score(given)
    np.testing.assert_array_equal(found.scores_without["streamer"][1:-1], np.float32(stranger.curve[1:]))
    assert found.of(7) == {k: pytest.approx(float(found.scores[7] - v[7])) for k, v in found.scores_without.items()}
    used = predictor.score(given, sources=["pictures", "comments"])
    assert set(contributions(predictor, given, used).scores_without) == {"pictures", "comments"}


def test_a_target_is_explained_by_what_its_head_reads(predictor: Predictor) -> None:
    both = two_targets(predictor)
    given = encoded(both.config, 30)
    prediction = both.score(given, target="participation")
    found = contributions(both, given, prediction)
    assert set(found.scores_without) == {"comments"}
    earlier = influential_segments(both, given, prediction, 27, top=60)
    assert {source for influence in earlier for source in influence.contributions} == {"comments"}
    assert len(earlier) == 20


def test_occlusion_is_the_prediction_without_one_source_of_one_segment(predictor: Predictor) -> None:
    given, index = encoded(predictor.config, 30), 27
    prediction = predictor.score(given)
    found = influential_segments(predictor, given, prediction, index, top=30)
    assert {i.segment.index for i in found} == set(range(7, 27))
    assert [i.magnitude for i in found] == sorted(
        (max(map(abs, i.contributions.values())) for i in found), reverse=True
    )
    assert all(set(i.contributions) == set(SOURCES) for i in found)
    assert found[:5] == influential_segments(predictor, given, prediction, index)
    third = found[3]
    place = third.segment.index
    inputs = predictor.build_inputs(given)
    inputs.token_mask[0, place, 0] = False  # the pictures
    expected = predictor.model.sweep(predictor.build_inputs(given))[index] - predictor.model.sweep(inputs)[index]
    assert third.contributions["pictures"] == pytest.approx(float(expected), abs=1e-6)
    assert third.speech == " ".join(u.text for u in given.speech[place])
    assert third.comment_count == len(given.comments[place])
    assert third.top_comments == (TextCount("hi", third.comment_count),)


class CommentsAlone(KuaiHL):
    """A model whose causes are known: it predicts from the mean of log1p of comments in the window alone."""

    def encode_segments(self, inputs: ModelInputs, **_: int) -> torch.Tensor:
        return inputs.chat_activity[0, :, :1] * inputs.mask("chat_activity")[0, :, None]

    def decode(self, latents: torch.Tensor, **_: int) -> torch.Tensor:
        return (latents[..., 0].cumsum(1) / torch.arange(1, latents.shape[1] + 1)).sigmoid()


def test_the_known_cause_is_found(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "model", CommentsAlone(predictor.config).eval())
    given = encoded(predictor.config, 16)
    comments = [[Comment(s.start_s, "hm", user="one")] for s in given.segments]
    comments[13] = [Comment(390.0 + k / 10, "WOW", user=f"viewer {k}") for k in range(200)]
    given = changed(given, comments=comments)
    prediction = predictor.score(given)
    added = contributions(predictor, given, prediction).of(16)
    assert added["comments"] > 0.1
    assert (added["pictures"], added["speech"]) == (0.0, 0.0)
    first, *others = influential_segments(predictor, given, prediction, 16, top=16)
    assert first.segment.index == 13
    assert (first.comment_count, first.top_comments) == (200, (TextCount("WOW", 200),))
    assert first.contributions["comments"] > 3 * others[0].magnitude
    assert all(i.contributions["pictures"] == i.contributions["speech"] == 0.0 for i in (first, *others))


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
    return changed(encoded(predictor.config, 12), pictures=np.stack([worst] * 12), speech=None, comments=None), best


@pytest.mark.parametrize("planted", [3, 8, 10])
def test_appealing_pictures_in_a_dull_room_are_found(
    predictor: Predictor, dull_room: tuple[Embeddings, np.ndarray], planted: int
) -> None:
    dull, best = dull_room
    pictures = dull.features.pictures.copy()
    pictures[planted] = best
    given = changed(dull, pictures=pictures)
    scores, contributed = [], []
    for one in (dull, given):
        prediction = predictor.score(one)
        scores.append(prediction.curve[11])
        influences = influential_segments(predictor, one, prediction, 11, top=11)
        contributed += [i.contributions["pictures"] for i in influences if i.segment.index == planted]
    assert abs(scores[1] - scores[0]) > 1e-4, "the cause has an effect"
    # Without the pictures of that segment, both rooms are the same.
    assert contributed[1] - contributed[0] == pytest.approx(scores[1] - scores[0], abs=1e-5)


def test_a_lively_minute_in_a_quiet_chat_is_found(predictor: Predictor) -> None:
    given = encoded(predictor.config, 16)
    chatters = [f"viewer {k}" for k in range(40)]
    comments = [
        [Comment(s.start_s + k, "hi", user=chatters[(7 * s.index + k) % 40]) for k in range(4)] for s in given.segments
    ]
    shouting = [Comment(425.0 + k / 10, "WOW", user=user) for k, user in enumerate(chatters)]
    recordings = (changed(given, comments=comments), changed(given, comments=[*comments[:14], shouting, comments[15]]))
    before, after = (predictor.score(one, target="participation") for one in recordings)
    assert after.curve[15] > before.curve[15], "the cause has an effect"
    cause = influential_segments(predictor, recordings[1], after, 15)[0]
    assert (cause.segment.index, cause.top_comments) == (14, (TextCount("WOW", 40),))
    assert cause.contributions["comments"] > 0


def test_of_a_loud_segment_the_most_frequent_texts_are_returned(predictor: Predictor) -> None:
    given = encoded(predictor.config, 4)
    texts = ["rare 0", "WOW", *(f"rare {k}" for k in range(1, 5000)), *["WOW"] * 2999, *["hm"] * 70]
    loud = [Comment(31.0, text, user=f"viewer {k}") for k, text in enumerate(texts)]
    given = changed(given, comments=[given.comments[0], loud, *given.comments[2:]])
    found = influential_segments(predictor, given, predictor.score(given), 3)
    (influence,) = (influence for influence in found if influence.segment.index == 1)
    assert influence.comment_count == len(texts)
    expected = [TextCount("WOW", 3000), TextCount("hm", 70), TextCount("rare 0", 1), TextCount("rare 1", 1)]
    assert list(influence.top_comments[:4]) == expected
    assert len(influence.top_comments) == TOP_TEXTS


def test_explaining_can_be_stopped_between_any_two_segments(predictor: Predictor) -> None:
    given, reports = encoded(predictor.config, 8), []
    prediction = predictor.score(given)
    progress = Progress(lambda _, fraction: reports.append(fraction))
    whole = explain(predictor, given, prediction, range(1, 9), progress=progress)
    assert len(whole["explanations"]) == 8
    assert reports == sorted(reports)
    assert sum(fraction >= 0.5 for fraction in reports) >= 8

    def stop(_: str, fraction: float) -> None:
        if fraction > 0.7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain(predictor, given, prediction, range(1, 9), progress=Progress(stop))


@pytest.mark.parametrize("index", [-1, 0, 6])
def test_there_is_nothing_to_explain_before_the_first_prediction(predictor: Predictor, index: int) -> None:
    with pytest.raises(ValueError, match="segments 1 to 5"):
        influential_segments(predictor, given := encoded(predictor.config, 5), predictor.score(given), index)


def test_without_times_highlights_and_forecast_are_told() -> None:
    prediction = made_up()
    peaks = [int(highlight.peak_s // 30) for highlight in prediction.highlights]
    assert indices_at(prediction, ()) == [*peaks, 24]
    assert indices_at(prediction, (59.9, 30.0, prediction.recording.duration_s)) == [1, 24]


@pytest.mark.parametrize("at", [0.0, 29.9, 708.0])
def test_times_without_a_prediction_are_refused(at: float) -> None:
    with pytest.raises(KuaiHLError, match=r"from 30 s on, .* after 707 s, the end"):
        indices_at(made_up(), (at,))
