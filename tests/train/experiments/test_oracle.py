"""What oracles know of simulated rooms, and how well they predict."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from train.experiments.oracle import (
    LOOKBACK,
    ORACLES,
    collect,
    draw_observables,
    make_table,
    observe,
    score_oracles,
)
from train.metrics import Tau
from train.simulator.rooms.room import Room, simulate_room
from train.simulator.rooms.streamer_speech import SENTENCE_KINDS
from train.simulator.rooms.visuals import CAMERA, PHOTO, STUCK
from train.simulator.settings import TALENTS, SimulatorConfig

CONFIG = SimulatorConfig(size="small", min_segments=80, max_segments=80, max_comments=30)
NAMES = tuple(dict.fromkeys(ORACLES["all"]))


@pytest.fixture(scope="module")
def rooms() -> list[Room]:
    return [simulate_room(CONFIG, index) for index in (*range(16), 80, 81, 82, 83, *range(90, 100))]


@pytest.fixture(scope="module")
def results(rooms: list[Room]) -> tuple[dict[str, list[Tau]], dict[str, list[Tau]]]:
    return score_oracles(*(collect([r for r in rooms if r.split == s]) for s in ("train", "validation", "test")))


def test_content_is_the_truth(rooms: list[Room]) -> None:
    room = rooms[1]
    count = len(room.truth)
    content = observe(room)
    assert [*zip(content["talent"], content["idle"], strict=True)] == [
        (TALENTS.index(t.talent), t.idle) for t in room.truth
    ]
    moving = np.reshape(room.visuals.state, (count, 3)) != STUCK
    gifts = np.reshape(room.visuals.gifts, (count, 3))
    assert content["gifts"].tolist() == np.sum(gifts, axis=1, where=moving).tolist()
    assert [content[kind].tolist() for kind in SENTENCE_KINDS] == room.sentence_counts.T.tolist()
    times_s = [c.time_s for c in room.comments if c.kind == "message"]
    np.testing.assert_allclose(np.expm1(content["comments"]), np.histogram(times_s, 30.0 * np.arange(count + 1))[0])
    assert np.flatnonzero(content["announced"]).tolist() == sorted(
        {e.announced for e in room.plan.episodes if e.announced is not None}
    )
    assert np.isnan(observe(rooms[-1])["streamer"]).all()


def test_photos_and_stuck_pictures_hide_the_intensity(rooms: list[Room]) -> None:
    room = rooms[2]
    state, framing = (np.zeros((len(room.truth), 3), dtype=int) for _ in range(2))
    state[7], state[8, 1:], framing[9], framing[10], framing[11, :2] = STUCK, STUCK, PHOTO, CAMERA, PHOTO
    visuals = replace(room.visuals, state=tuple(state.ravel()), framing=tuple(framing.ravel()))
    assert np.flatnonzero(np.isnan(observe(replace(room, visuals=visuals))["intensity"])).tolist() == [7, 9]


def test_a_table_has_the_past_only(rooms: list[Room]) -> None:
    content, t = {name: values.astype(float) for name, values in observe(rooms[3]).items()}, 40
    before = make_table(content, NAMES)
    assert before.shape == (80, 1 + LOOKBACK * (len(NAMES) - 1))
    for name in NAMES[1:]:
        after = make_table(content | {name: content[name] + np.where(np.arange(80) >= t, 1.0, 0.0)}, NAMES)
        changed = (after != before) & ~np.isnan(before)
        assert not changed[: t + 1].any()
        assert changed[t + 1].sum() == 1
    np.testing.assert_array_equal(make_table(content, ["idle"])[t], content["idle"][t - LOOKBACK : t])


def test_taus_are_those_of_scipy(rooms: list[Room], results: tuple[dict[str, list[Tau]], dict[str, list[Tau]]]) -> None:
    alone, oracles = results
    tests = [room for room in rooms if room.split == "test"]
    label = np.concatenate([room.lvtr[1:] for room in tests])
    for name, row in (("comments", alone["comments"]), ("gifts", alone["gifts"])):
        values = np.concatenate([observe(room)[name][:-1] for room in tests])
        assert row[0].pooled == pytest.approx(kendalltau(values, label).statistic)
        assert row[4].pooled == pytest.approx(kendalltau(values[label > 0.6], label[label > 0.6]).statistic)
    appeal, before = (np.concatenate([room.appeal[part] for room in tests]) for part in (slice(1, None), slice(-1)))
    assert oracles["ceiling"][0].pooled == pytest.approx(kendalltau(appeal, label).statistic)
    assert oracles["true persistence"][0].pooled == pytest.approx(kendalltau(before, label).statistic)


def test_oracles_know_more_than_a_single_observable(
    results: tuple[dict[str, list[Tau]], dict[str, list[Tau]]], tmp_path: Path
) -> None:
    alone, oracles = ({name: row[0].pooled for name, row in part.items()} for part in results)
    assert max(alone["gifts"], alone["comments"]) < oracles["all"] < oracles["ceiling"]
    assert oracles["streamer only"] < oracles["all"]
    draw_observables(results[0], tmp_path / "alone.png")
    assert (tmp_path / "alone.png").read_bytes().startswith(b"\x89PNG")
