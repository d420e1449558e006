"""Live use against the whole-recording pass: the same numbers, as early as they can be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kuaihl.comments import reader, selection
from kuaihl.features.text import TextFeatures
from kuaihl.media.recording import open_recording
from kuaihl.predictor import Predictor
from kuaihl.records import segments_of
from kuaihl.session import Session, replay
from tests.fixtures.made_embeddings import encoded
from tests.fixtures.predictions import reads_speech_alone


@pytest.fixture(scope="module", params=[False, True], ids=["shipped", "speech alone"])
def predictor(request: pytest.FixtureRequest) -> Predictor:
    found = Predictor.from_pretrained(device="cpu")
    if request.param:
        found.model = reads_speech_alone(found.config)
    return found


@pytest.mark.parametrize("segments", [1, 7, 53])
def test_a_replay_gives_the_numbers_of_the_whole_bit_for_bit(predictor: Predictor, segments: int) -> None:
    given = encoded(predictor.config, segments)
    whole = predictor.score(given, streamer=predictor.config.streamers[0])
    steps = list(replay(predictor, given, streamer=predictor.config.streamers[0]))
    assert [step.found for step in steps] == list(whole.segments)
    assert steps[-1].next_score == whole.next_score
    assert [step.next_score for step in steps[:-1]] == [step.found.score for step in steps[1:]]


def test_a_replay_leaves_out_what_is_missing(predictor: Predictor) -> None:
    given = encoded(predictor.config, 25)
    text = TextFeatures(speech=given.text.speech, comments=None, both=None)
    deaf = replace(given, comments=None, pictures=None, text=text)
    assert [step.found for step in replay(predictor, deaf)] == list(predictor.score(deaf).segments)
    assert predictor.score(deaf).curve != predictor.score(given).curve


def test_raw_segments_give_the_numbers_of_the_recording(
    predictor: Predictor, short_recording: Path, short_log: Path
) -> None:
    whole = predictor.predict(short_recording, short_log)
    opened = open_recording(short_recording)
    written = selection.by_segment(reader.read(short_log).comments, opened.segments)
    session = Session(predictor)
    came = zip(opened.pictures(), opened.sound(), written, strict=True)
    steps = [session.feed(s, pictures=p, sound=w, comments=c) for (s, p), (_, w), c in came]
    assert [step.found.speech for step in steps] == [s.speech for s in whole.segments]
    assert [step.found.comments for step in steps] == [s.comments for s in whole.segments]
    live = [step.next_score for step in steps]
    np.testing.assert_allclose(live, [*whole.curve[1:], whole.next_score], atol=1e-5)


def test_what_comes_later_changes_nothing_before(predictor: Predictor) -> None:
    one, other = encoded(predictor.config, 9), encoded(predictor.config, 9)
    other.pictures[5:] += 1
    ahead, behind = (list(replay(predictor, given)) for given in (one, other))
    assert ahead[:5] == behind[:5]
    assert [a.next_score for a in ahead[5:]] != [b.next_score for b in behind[5:]]


def test_sound_and_speech_are_one_too_many(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="not both"):
        Session(predictor).feed(segments_of(30.0)[0], sound=np.zeros(10, np.float32), speech=[])
