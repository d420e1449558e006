"""Simulated rooms: reproducible bytes, splits, and the phenomena that the paper describes."""

import hashlib
import itertools
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from scipy.stats import kendalltau

from kuaihl.errors import LabelError
from train.simulator.render.room_frames import draw_frame, draw_segment
from train.simulator.rooms.phrases import load_grammars, make_sentence
from train.simulator.rooms.room import Room, find_room, room_ids, simulate_room
from train.simulator.rooms.visuals import STEADY, STUCK, TRANSITION
from train.simulator.settings import TALENTS, SimulatorConfig

SMALL = SimulatorConfig(size="small")
TINY = SimulatorConfig(size="tiny")

DIGEST = """
import hashlib
from train.simulator.settings import SimulatorConfig
from train.simulator.render.room_frames import draw_segment
from train.simulator.rooms.room import simulate_room
room = simulate_room(SimulatorConfig(size="tiny"), 6)
content = repr(room).encode() + draw_segment(room, 3).tobytes() + room.impressions.view_s.tobytes()
digest = hashlib.sha256(content).hexdigest()
"""


@pytest.fixture(scope="module")
def rooms() -> list[Room]:
    """Every third training room, and all of validation and test."""
    size = SMALL.rooms
    held_out = range(size.train, size.train + size.validation + size.test)
    return [simulate_room(SMALL, i) for i in (*range(0, size.train, 3), *held_out)]


def count_comments(room: Room) -> np.ndarray:
    return np.histogram([c.time_s for c in room.comments], bins=30.0 * np.arange(len(room.segments) + 1))[0]


def truth_of(rooms: list[Room], field: str) -> np.ndarray:
    return np.array([getattr(truth, field) for room in rooms for truth in room.truth])


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    here: dict[str, str] = {}
    exec(DIGEST, here)  # noqa: S102
    other = subprocess.run(
        [sys.executable, "-c", f"{DIGEST}\nprint(digest)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
        timeout=60,
    )
    assert other.stdout.strip() == here["digest"]
    changed = simulate_room(SimulatorConfig(size="tiny", seed=1), 6)
    assert hashlib.sha256(repr(changed).encode()).digest() != hashlib.sha256(repr(here["room"]).encode()).digest()


def test_a_room_does_not_depend_on_other_rooms() -> None:
    together = [simulate_room(TINY, i) for i in range(len(room_ids(TINY)))]
    assert [room.id for room in together] == list(room_ids(TINY))
    assert len(together) == 8
    assert all(repr(simulate_room(TINY, i)) == repr(together[i]) for i in (7, 2))
    assert simulate_room(SMALL, 2).truth != together[2].truth


def test_large_is_base_with_more_training_rooms() -> None:
    base, large = SimulatorConfig(size="base"), SimulatorConfig(size="large")
    names = room_ids(large)
    assert names[: len(room_ids(base))] == room_ids(base)
    assert all(simulate_room(large, index) == simulate_room(base, index) for index in (5, 749))
    added = [simulate_room(large, index) for index in (750, 822, 2549)]
    assert len(names) == 2550
    assert [room.id for room in added] == ["train-0750", "train-0822", "train-2549"]
    assert all(room.known and room.day < 70 for room in added)
    assert len({room.truth for room in (*added, simulate_room(large, 0), simulate_room(large, 72))}) == 5


def test_a_room_is_found_by_id_or_number() -> None:
    assert find_room(TINY, "test-0007") == find_room(TINY, "7") == 7
    ranges = "train-0000 to train-0003, validation-0004 to validation-0005, test-0006 to test-0007"
    for name in ("train-0007", "8", "-1"):
        with pytest.raises(LabelError, match=ranges):
            find_room(TINY, name)
    with pytest.raises(LabelError, match="test-0749, train-0750 to train-2549"):
        find_room(SimulatorConfig(size="large"), "test-0750")


def test_splits_follow_the_calendar(rooms: list[Room]) -> None:
    days = {"train": (0, 69), "validation": (70, 79), "test": (80, 89)}
    for room in rooms:
        first, last = days[room.split]
        assert first <= room.day <= last
        assert 40 <= len(room.segments) <= 120
    splits = [name.rpartition("-")[0] for name in room_ids(SimulatorConfig(size="base"))]
    assert Counter(splits) == {"train": 600, "validation": 75, "test": 75}


def test_a_tenth_of_streamers_appears_in_test_only(rooms: list[Room]) -> None:
    size = SMALL.rooms
    unseen = round(0.1 * size.streamers)
    every = rooms + [simulate_room(SMALL, i) for i in range(size.streamers - unseen) if i % 3]
    trained = {room.streamer for room in every if room.split == "train"}
    assert len(trained) == size.streamers - unseen
    assert all(room.known == (room.streamer in trained) for room in every)
    assert len({room.streamer for room in every if not room.known}) == unseen
    assert {room.split for room in every if not room.known} == {"test"}


def test_many_segments_lie_above_the_largest_delta_with_spread(rooms: list[Room]) -> None:
    lvtr, appeal = truth_of(rooms, "lvtr"), truth_of(rooms, "appeal")
    assert np.quantile(lvtr, 0.05) < 0.5
    high = lvtr > 0.6
    assert 0.6 < high.mean() < 0.9
    assert lvtr[high].std() > 0.08
    assert 0.8 < kendalltau(appeal[high], lvtr[high]).statistic < 0.95


def test_lvtr_is_the_ratio_of_the_impressions(rooms: list[Room]) -> None:
    squares = []
    for room in rooms[::7]:
        log = room.impressions
        assert (np.diff(log.time_s) >= 0).all()
        for index, truth in enumerate(room.truth):
            views = log.view_s[(log.time_s >= 30.0 * index) & (log.time_s < 30.0 * (index + 1))]
            assert (len(views), int((views >= SMALL.long_view_s).sum())) == (truth.impressions, truth.long_views)
            expected, std = len(views) * truth.appeal, np.sqrt(len(views) * truth.appeal * (1 - truth.appeal))
            squares.append(((truth.long_views - expected) / std) ** 2)
    # Long views are binomial with probability p_t: the mean of squared z-scores is 1.
    assert np.mean(squares) == pytest.approx(1.0, abs=4 * np.sqrt(2 / len(squares)))


def test_appeal_has_the_configured_weights(rooms: list[Room]) -> None:
    logits = [np.log(room.appeal / (1 - room.appeal)) for room in rooms]
    logit = np.concatenate([logit - logit.mean() for logit in logits])
    causes = [truth_of(rooms, field) for field in ("intensity", "interaction", "fatigue")]
    weight = np.linalg.lstsq(np.column_stack([*causes, np.ones(len(logit))]), logit, rcond=None)[0]
    np.testing.assert_allclose(weight[:3], [3.5, 1.0, -0.6], atol=0.4)


def test_comments_have_bursts_and_recurring_authors(rooms: list[Room]) -> None:
    counts = np.concatenate([count_comments(room) for room in rooms])
    assert 10 <= np.median(counts) <= 80
    assert np.quantile(counts, 0.95) > 2.5 * np.median(counts)
    for room in rooms[::9]:
        times_s = [c.time_s for c in room.comments]
        assert times_s == sorted(times_s)
        assert 0 <= times_s[0] < times_s[-1] < room.segments[-1].end_s
        by_author = Counter(c.user for c in room.comments)
        assert sum(n for n in by_author.values() if n >= 3) > 0.5 * len(room.comments)
    assert {c.kind for room in rooms for c in room.comments} == {"message", "gift", "paid", "bot"}


def test_comments_are_excited_in_exciting_moments(rooms: list[Room]) -> None:
    lagged = [np.maximum(np.arange(len(room.truth)) - room.comment_lag, 0) for room in rooms]
    excitement = np.concatenate([truth_of([r], "excitement")[index] for r, index in zip(rooms, lagged, strict=True)])
    excited = np.concatenate([room.excited_comments for room in rooms])
    counts = np.concatenate([count_comments(room) for room in rooms])
    assert (excited <= counts).all()
    low, high = (excited[mask].sum() / counts[mask].sum() for mask in (excitement < 0.2, excitement > 0.8))
    assert low < 0.25
    assert high > 0.5


def test_no_observable_of_a_segment_is_close_to_the_next_lvtr(rooms: list[Room]) -> None:
    """Kendall's tau over all segments. The excitement behind the comments is no function of the appeal either."""
    label = np.concatenate([room.lvtr[1:] for room in rooms])
    observed = {
        "gifts": [room.plan.gifts.sum((1, 2)) for room in rooms],
        "comments": [count_comments(room) for room in rooms],
        "excited": [room.excited_comments / np.maximum(count_comments(room), 1) for room in rooms],
        "intensity": [room.plan.intensity for room in rooms],
        "photos": [np.array(room.visuals.framing).reshape(-1, 3).sum(1) for room in rooms],
    }
    taus = {
        name: kendalltau(np.concatenate([v[:-1] for v in values]), label).statistic for name, values in observed.items()
    }
    assert all(not value > 0.38 for value in taus.values()), taus
    assert taus["gifts"] < 0.35
    assert min(taus["excited"], taus["intensity"]) > 0.2
    within = [kendalltau(truth_of([room], "excitement"), room.appeal).statistic for room in rooms]
    assert np.mean(within) < 0.7


def test_streamers_have_several_streams() -> None:
    for size in ("tiny", "small"):
        config = SimulatorConfig(size=size)
        made = [simulate_room(config, i) for i in range(config.rooms.train)]
        streams = Counter(room.streamer for room in made)
        assert min(streams.values()) >= 2
        assert len({room.day for room in made}) > 1


def test_cross_correlation_finds_the_lag_of_the_comments(rooms: list[Room]) -> None:
    correct = []
    for room in rooms:
        felt, chat = truth_of([room], "excitement"), np.log1p(count_comments(room))
        fits = [np.corrcoef(chat[3:], felt[3 - lag : len(felt) - lag])[0, 1] for lag in range(4)]
        correct.append(int(np.argmax(fits)) == room.comment_lag)
    assert {room.comment_lag for room in rooms} == {0, 1, 2}
    assert np.mean(correct) > 0.9


def test_half_of_the_episodes_are_announced(rooms: list[Room]) -> None:
    announced, ahead = [], []
    for room in rooms:
        for episode in room.plan.episodes:
            if episode.idle or episode.start < 3:
                continue
            plans = load_grammars("speech")[episode.talent]["plan"]
            segments = [
                int(u.start_s // 30)
                for u in room.speech
                if 30.0 * (episode.start - 2) <= u.start_s < 30.0 * (episode.start + 1)
                and any(plan in u.text for plan in plans)
            ]
            announced.append(bool(segments))
            ahead += [episode.start - segment for segment in segments]
    assert np.mean(announced) == pytest.approx(0.5, abs=0.07)
    assert set(ahead) == {0, 1, 2}


def test_speech_stays_in_its_segment_and_fits_the_talent(rooms: list[Room]) -> None:
    sung, talking, idle = 0, [], []
    for room in rooms[::5]:
        assert all(u.end_s <= v.start_s for u, v in itertools.pairwise(room.speech))
        words = np.zeros(len(room.segments))
        for u in room.speech:
            index = int(u.start_s // 30)
            assert u.end_s <= room.segments[index].end_s
            words[index] += len(u.text.split())
            if u.text.startswith(("I will wait by", "Hold my hand", "La la la")):
                assert room.truth[index].talent == "singing"
                sung += 1
        mask = truth_of([room], "idle")
        talking += words[~mask].tolist()
        idle += words[mask].tolist()
    assert 25 < np.mean(talking) < 70
    assert np.mean(idle) < 0.6 * np.mean(talking)
    assert sung > 5


@pytest.mark.parametrize("kind", ["speech", "comments"])
def test_a_talent_has_many_sentences(kind: str) -> None:
    rng = np.random.default_rng(0)
    phrases = ("calm", "peak") if kind == "speech" else ("calm", "hot", "about", "burst")
    grammars = load_grammars(kind)
    assert set(grammars) == set(TALENTS)
    for talent, grammar in grammars.items():
        sentences = {make_sentence(grammar, phrase, rng=rng) for phrase in phrases for _ in range(800)}
        assert len(sentences) > 100, talent
        every = [make_sentence(grammar, phrase, rng=rng) for phrase in grammar for _ in range(20)]
        assert not any("{" in text for text in every)


def test_pictures_are_stuck_or_in_transition_at_their_rates(rooms: list[Room]) -> None:
    state = np.concatenate([room.visuals.state for room in rooms])
    pk = np.repeat((truth_of(rooms, "talent") == "pk") & ~truth_of(rooms, "idle"), 3)
    assert (state == STUCK).mean() == pytest.approx(0.05, abs=0.01)
    assert (state == TRANSITION).mean() == pytest.approx(0.05, abs=0.01)
    assert (state[pk] == STUCK).mean() > 2 * (state[~pk] == STUCK).mean()


def test_a_stuck_picture_stands_still_and_a_steady_one_moves(rooms: list[Room]) -> None:
    room = next(room for room in rooms if STUCK in room.visuals.state)
    for state in (STUCK, STEADY):
        slot = room.visuals.state.index(state)
        first, second = (draw_frame(room, 10.0 * slot + s, (160, 90)) for s in (5.0, 6.3))
        # The spinner in the middle turns.
        assert np.array_equal(first[:, :60], second[:, :60]) == (state == STUCK)


def test_pictures_tell_talents_apart_in_other_rooms(rooms: list[Room]) -> None:
    pictures: dict[bool, list[tuple[np.ndarray, str]]] = {True: [], False: []}
    for number, room in enumerate(rooms):
        for index in range(2, len(room.segments), 17):
            truth = room.truth[index]
            if truth.idle or set(room.visuals.state[3 * index : 3 * index + 3]) != {STEADY}:
                continue
            small = draw_frame(room, 30.0 * index + 15.0, (32, 32)).reshape(16, 2, 16, 2, 3).mean((1, 3)) / 255.0
            pictures[number % 2 == 0].append((small.ravel(), truth.talent))
    centroids = np.array([np.mean([x for x, t in pictures[True] if t == talent], axis=0) for talent in TALENTS])
    correct = [TALENTS[np.argmin(((centroids - x) ** 2).sum(1))] == talent for x, talent in pictures[False]]
    assert len(correct) > 60
    assert np.mean(correct) > 0.6


def test_gifts_are_rare_and_of_few_viewers(rooms: list[Room]) -> None:
    gifts = np.concatenate([room.plan.gifts.sum((1, 2)) for room in rooms])
    assert 0.05 < (gifts > 0).mean() < 0.25
    intensity = truth_of(rooms, "intensity")
    assert gifts[intensity > 0.6].mean() > 1.3 * gifts[intensity < 0.2].mean()
    for room in rooms:
        assert room.visuals.gifts == tuple(room.plan.gifts.sum(2).ravel())
        log = [c for c in room.comments if c.kind in {"gift", "paid"}]
        slots = np.bincount([int(c.time_s // 10) for c in log], minlength=3 * len(room.segments))
        np.testing.assert_array_equal(slots, (room.plan.gifts > 0).sum(2).ravel())
        assert len({c.user for c in log}) <= room.plan.gifts.shape[2]


def test_a_segment_is_drawn_at_5_15_and_25_s(rooms: list[Room]) -> None:
    pictures = draw_segment(rooms[0], 4, size=(96, 64))
    assert pictures.shape == (3, 64, 96, 3)
    assert pictures.dtype == np.uint8
    for picture, time_s in zip(pictures, (125.0, 135.0, 145.0), strict=True):
        np.testing.assert_array_equal(picture, draw_frame(rooms[0], time_s, (96, 64)))
