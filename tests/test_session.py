"""Live use against the whole-recording pass: the same numbers, as early as they can be."""

import copy
from pathlib import Path

import numpy as np
import pytest

from kuaihl.comments import reader, selection
from kuaihl.media.recording import open_recording
from kuaihl.predictor import Predictor
from kuaihl.records import segments_of
from kuaihl.session import Session, replay
from tests.fixtures.made_embeddings import changed, encoded
from tests.fixtures.predictions import reads_speech_alone


@pytest.fixture(scope="module", params=[False, True], ids=["shipped", "random weights"])
def predictor(request: pytest.FixtureRequest, predictor: Predictor) -> Predictor:
    predictor = copy.copy(predictor)
    if request.param:
        predictor.model = reads_speech_alone(predictor.config)
    return predictor


@pytest.mark.parametrize("segments", [1, 7, 53])
def test_a_replay_gives_the_numbers_of_the_whole_bit_for_bit(predictor: Predictor, segments: int) -> None:
    given = encoded(predictor.config, segments)
    whole = predictor.score(given, streamer=predictor.config.streamers[0])
    steps = list(replay(predictor, given, whole))
    assert [step.segment for step in steps] == list(whole.segments)
    assert steps[-1].next_score == whole.next_score
    assert [step.next_score for step in steps[:-1]] == [step.segment.score for step in steps[1:]]


def test_a_replay_leaves_out_what_is_missing_or_unused(predictor: Predictor) -> None:
    given = encoded(predictor.config, 25)
    alone = changed(given, comments=None, pictures=None)
    expected = predictor.score(alone)
    assert [step.segment for step in replay(predictor, alone, expected)] == list(expected.segments)
    chosen = predictor.score(given, sources=["speech"])
    assert [step.segment for step in replay(predictor, given, chosen)] == list(expected.segments)
    assert expected.curve != predictor.score(given).curve


def test_raw_segments_give_the_numbers_of_the_recording(
    predictor: Predictor, short_recording: Path, short_log: Path
) -> None:
    whole = predictor.predict(short_recording, short_log)
    opened = open_recording(short_recording)
    written = selection.by_segment(reader.read(short_log).comments, opened.segments)
    session = Session(predictor)
    arrivals = zip(opened.read_frames(), opened.read_audio(), written, strict=True)
    steps = [session.feed(s, pictures=p, sound=w, comments=c) for (s, p), (_, w), c in arrivals]
    assert [step.segment.speech for step in steps] == [s.speech for s in whole.segments]
    assert [step.segment.comments for step in steps] == [s.comments for s in whole.segments]
    live = [step.next_score for step in steps]
    np.testing.assert_allclose(live, [*whole.curve[1:], whole.next_score], atol=1e-5)


def test_what_comes_later_changes_nothing_before(predictor: Predictor) -> None:
    given = encoded(predictor.config, 9)
    pictures = given.features.pictures.copy()
    pictures[5:] += 1
    recordings = (given, changed(given, pictures=pictures))
    first, other = (list(replay(predictor, one, predictor.score(one))) for one in recordings)
    assert first[:5] == other[:5]
    assert not {step.next_score for step in first[5:]} & {step.next_score for step in other[5:]}


def test_sound_and_speech_exclude_each_other(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="not both"):
        Session(predictor).feed(segments_of(30.0)[0], sound=np.zeros(10, np.float32), speech=[])
