import hashlib
import itertools
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from train.simulator.render.draw import draw, frame
from train.simulator.render.look import STEADY, STUCK, TRANSITION
from train.simulator.rooms.grammar import say
from train.simulator.rooms.room import Room, ceiling, room, room_ids, simulate
from train.simulator.rooms.speech_phrases import SPEECH
from train.simulator.settings import TALENTS, SimulatorConfig

SMALL = SimulatorConfig(size="small")
TINY = SimulatorConfig(size="tiny")

DIGEST = """
import hashlib
from train.simulator.settings import SimulatorConfig
from train.simulator.render.draw import draw
from train.simulator.rooms.room import room
made = room(SimulatorConfig(size="tiny"), 6)
print(hashlib.sha256(repr(made).encode() + draw(made, 3).tobytes() + made.impressions.view_s.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def rooms() -> list[Room]:
    """Every third training room, and all of validation and test."""
    size = SMALL.rooms
    held_out = range(size.train, size.train + size.validation + size.test)
    return [room(SMALL, i) for i in (*range(0, size.train, 3), *held_out)]


def counts(made: Room) -> np.ndarray:
    return np.histogram([c.time_s for c in made.comments], bins=30.0 * np.arange(len(made.segments) + 1))[0]


def test_same_seed_same_bytes_in_another_process() -> None:
    made = room(TINY, 6)
    content = repr(made).encode() + draw(made, 3).tobytes() + made.impressions.view_s.tobytes()
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    other = subprocess.run(
        [sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    assert other.stdout.strip() == hashlib.sha256(content).hexdigest()
    assert repr(room(SimulatorConfig(size="tiny", seed=1), 6)) != repr(made)


def test_rooms_can_be_made_alone() -> None:
    together = list(simulate(TINY))
    assert [r.id for r in together] == list(room_ids(TINY))
    assert {r.split for r in together} == {"train", "validation", "test"}
    assert len(together) == 8
    assert all(repr(room(TINY, i)) == repr(together[i]) for i in (7, 2))


def test_a_size_shares_no_room_with_another() -> None:
    assert room(SMALL, 2).truth != room(TINY, 2).truth


def test_large_is_base_and_more_rooms_to_train_with() -> None:
    base, large = SimulatorConfig(size="base"), SimulatorConfig(size="large")
    names = room_ids(large)
    assert names[: len(room_ids(base))] == room_ids(base)
    for index in (5, 640, 749):
        assert room(large, index) == room(base, index)
    more = [room(large, index) for index in (750, 822, 2549)]
    assert len(names) == 2550
    assert [made.id for made in more] == ["train-0750", "train-0822", "train-2549"]
    assert all(made.known and made.day < 70 for made in more)
    assert len({made.truth for made in (*more, room(large, 0), room(large, 72))}) == 5


def test_splits_follow_the_calendar(rooms: list[Room]) -> None:
    days = {"train": (0, 69), "validation": (70, 79), "test": (80, 89)}
    for made in rooms:
        first, last = days[made.split]
        assert first <= made.day <= last
        assert 40 <= len(made.segments) <= 120
    names = [name.rpartition("-")[0] for name in room_ids(SimulatorConfig(size="base"))]
    assert [names.count(split) for split in days] == [600, 75, 75]


def test_unseen_streamers_appear_in_test_only(rooms: list[Room]) -> None:
    size = SMALL.rooms
    unseen_count = round(0.1 * size.streamers)
    everywhere = rooms + [room(SMALL, i) for i in range(size.streamers - unseen_count) if i % 3]
    trained = {r.streamer for r in everywhere if r.split == "train"}
    assert len(trained) == size.streamers - unseen_count
    for made in everywhere:
        assert made.known == (made.streamer in trained)
    unseen = {r.streamer for r in everywhere if not r.known}
    assert len(unseen) == unseen_count
    assert {r.split for r in everywhere if not r.known} == {"test"}


def test_lvtr_is_spread_out(rooms: list[Room]) -> None:
    lvtr = np.concatenate([r.lvtr for r in rooms])
    assert np.quantile(lvtr, 0.05) < 0.2
    assert np.quantile(lvtr, 0.95) > 0.6
    assert 0.25 < np.median(lvtr) < 0.45
    kept = [(lvtr > delta).mean() for delta in (0.2, 0.4, 0.6)]
    assert kept[0] > 0.6
    assert kept[1] > 0.25
    assert kept[2] > 0.05


def test_lvtr_is_what_the_impressions_say(rooms: list[Room]) -> None:
    squares = []
    for made in rooms[::7]:
        log = made.impressions
        assert (np.diff(log.time_s) >= 0).all()
        for index, truth in enumerate(made.truth):
            mine = log.view_s[(log.time_s >= 30.0 * index) & (log.time_s < 30.0 * (index + 1))]
            assert (len(mine), int((mine >= SMALL.long_view_s).sum())) == (truth.impressions, truth.long_views)
            expected, spread = len(mine) * truth.appeal, np.sqrt(len(mine) * truth.appeal * (1 - truth.appeal))
            squares.append(((truth.long_views - expected) / spread) ** 2)
    # long views are binomial with chance p_t: the mean of squared z-scores is 1
    assert np.mean(squares) == pytest.approx(1.0, abs=4 * np.sqrt(2 / len(squares)))


def test_the_ceiling_is_high_but_not_one(rooms: list[Room]) -> None:
    assert 0.8 < ceiling(rooms) < 0.95
    assert ceiling(r for r in rooms if r.split != "train") > 0.7


def test_appeal_follows_intensity_and_tires(rooms: list[Room]) -> None:
    truth = [t for r in rooms for t in r.truth]
    logits = [np.log(r.appeal / (1 - r.appeal)) for r in rooms]
    logit = np.concatenate([logit - logit.mean() for logit in logits])
    causes = np.array([[t.intensity, t.interaction, t.fatigue, 1.0] for t in truth])
    weight = np.linalg.lstsq(causes, logit, rcond=None)[0]
    assert weight[0] == pytest.approx(1.5, abs=0.35)
    assert weight[1] == pytest.approx(0.5, abs=0.35)
    assert weight[2] == pytest.approx(-0.6, abs=0.35)


def test_comments_come_in_their_number_and_from_people_who_recur(rooms: list[Room]) -> None:
    per_segment = np.concatenate([counts(r) for r in rooms])
    assert 10 <= np.median(per_segment) <= 40
    assert np.quantile(per_segment, 0.95) > 2.5 * np.median(per_segment)
    for made in rooms[::9]:
        times_s = [c.time_s for c in made.comments]
        assert times_s == sorted(times_s)
        assert times_s[0] >= 0
        assert times_s[-1] < made.segments[-1].end_s
        written = Counter(c.user for c in made.comments)
        assert sum(n for n in written.values() if n >= 3) > 0.5 * len(made.comments)
    assert {c.kind for r in rooms for c in r.comments} == {"message", "gift", "paid", "bot"}


def test_excitement_is_written_where_hype_is(rooms: list[Room]) -> None:
    """Of what is written of a lively moment, most is excited: as many more as there are lines of these grammars."""
    low, high = [], []
    for made in rooms:
        written = counts(made)
        assert (made.excited <= written).all()
        hype = np.array([made.truth[max(0, i - made.lag)].hype for i in range(len(made.truth))])
        for share, some in ((low, hype < 0.2), (high, hype > 0.8)):
            share.append((made.excited[some].sum(), written[some].sum()))
    (few, of_few), (many, of_many) = np.sum(low, axis=0), np.sum(high, axis=0)
    assert few / of_few < 0.15
    assert many / of_many > 0.5


def test_lags_are_found_by_cross_correlation(rooms: list[Room]) -> None:
    found = []
    for made in rooms:
        hype = np.array([t.hype for t in made.truth])
        chat = np.log1p(counts(made))
        fits = [np.corrcoef(chat[3:], hype[3 - lag : len(hype) - lag])[0, 1] for lag in range(4)]
        found.append(int(np.argmax(fits)) == made.lag)
    assert {r.lag for r in rooms} == {0, 1, 2}
    assert np.mean(found) > 0.9


def test_half_of_the_episodes_are_announced(rooms: list[Room]) -> None:
    heard, early = [], []
    for made in rooms:
        for episode in made.plan.episodes:
            if episode.idle or episode.start < 3:
                continue
            plans = SPEECH[episode.talent]["plan"]
            said = [
                int(u.start_s // 30)
                for u in made.speech
                if 30.0 * (episode.start - 2) <= u.start_s < 30.0 * (episode.start + 1)
                and any(plan in u.text for plan in plans)
            ]
            heard.append(bool(said))
            early += [episode.start - s for s in said]
    assert np.mean(heard) == pytest.approx(0.5, abs=0.07)
    assert set(early) == {0, 1, 2}


def test_speech_stays_in_its_segment_and_fits_its_talent(rooms: list[Room]) -> None:
    sung = 0
    talking, waiting = [], []
    for made in rooms[::5]:
        for u, v in itertools.pairwise(made.speech):
            assert u.end_s <= v.start_s
        words = np.zeros(len(made.segments))
        for u in made.speech:
            index = int(u.start_s // 30)
            assert u.end_s <= made.segments[index].end_s
            words[index] += len(u.text.split())
            if u.text.startswith(("I will wait by", "Hold my hand", "La la la")):
                assert made.truth[index].talent == "singing"
                sung += 1
        idle = np.array([t.idle for t in made.truth])
        talking += words[~idle].tolist()
        waiting += words[idle].tolist()
    assert 25 < np.mean(talking) < 70
    assert np.mean(waiting) < 0.6 * np.mean(talking)
    assert sung > 5


@pytest.mark.parametrize("talent", TALENTS)
def test_a_talent_has_hundreds_of_sentences(talent: str) -> None:
    rng = np.random.default_rng(0)
    kinds = ("calm", "peak", "lyrics") if talent == "singing" else ("calm", "peak")
    sentences = {say(SPEECH[talent], kind, rng=rng) for kind in kinds for _ in range(1500)}
    assert len(sentences) > 150
    assert not any("{" in text for text in sentences)


def test_stuck_pictures_and_transitions_have_their_rates(rooms: list[Room]) -> None:
    state = np.concatenate([r.look.state for r in rooms])
    pk = np.concatenate([[t.talent == "pk" and not t.idle for t in r.truth for _ in range(3)] for r in rooms])
    assert (state == STUCK).mean() == pytest.approx(0.05, abs=0.01)
    assert (state == TRANSITION).mean() == pytest.approx(0.05, abs=0.01)
    assert (state[pk] == STUCK).mean() > 2 * (state[~pk] == STUCK).mean()


def test_a_stuck_picture_stands_still_and_a_steady_one_moves(rooms: list[Room]) -> None:
    made = next(r for r in rooms if STUCK in r.look.state)
    stuck = made.look.state.index(STUCK)
    steady = made.look.state.index(STEADY)
    for slot, still in ((stuck, True), (steady, False)):
        one, two = (frame(made, 10.0 * slot + s, (160, 90)).astype(int) for s in (5.0, 6.3))
        # but for the ring in the middle, which turns
        assert np.array_equal(one[:, :60], two[:, :60]) == still


def test_pictures_tell_talents_apart_in_other_rooms(rooms: list[Room]) -> None:
    seen: dict[bool, list[tuple[np.ndarray, str]]] = {True: [], False: []}
    for number, made in enumerate(rooms):
        for index in range(2, len(made.segments), 17):
            truth = made.truth[index]
            if truth.idle or set(made.look.state[3 * index : 3 * index + 3]) != {STEADY}:
                continue
            small = frame(made, 30.0 * index + 15.0, (32, 32)).reshape(16, 2, 16, 2, 3).mean((1, 3)) / 255.0
            seen[number % 2 == 0].append((small.ravel(), truth.talent))
    centroids = np.array([np.mean([x for x, t in seen[True] if t == talent], axis=0) for talent in TALENTS])
    right = [TALENTS[np.argmin(((centroids - x) ** 2).sum(1))] == talent for x, talent in seen[False]]
    assert len(right) > 60
    assert np.mean(right) > 0.6


def test_overlays_grow_with_hype(rooms: list[Room]) -> None:
    hype = np.concatenate([[t.hype for t in r.truth for _ in range(3)] for r in rooms])
    gifts = np.concatenate([r.look.gifts for r in rooms])
    assert np.corrcoef(hype, gifts)[0, 1] > 0.4
    assert gifts[hype < 0.1].mean() < 0.2
    assert gifts[hype > 0.7].mean() > 2


def test_draw_gives_the_pictures_at_5_15_and_25_s(rooms: list[Room]) -> None:
    made = rooms[0]
    pictures = draw(made, 4, size=(96, 64))
    assert pictures.shape == (3, 64, 96, 3)
    assert pictures.dtype == np.uint8
    for picture, time_s in zip(pictures, (125.0, 135.0, 145.0), strict=True):
        np.testing.assert_array_equal(picture, frame(made, time_s, (96, 64)))
