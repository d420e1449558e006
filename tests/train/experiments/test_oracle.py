"""What oracles know of simulated rooms, and how well they predict."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from kuaihl.errors import LabelError
from tests.fixtures.small_dataset import INFO, simulated
from train.dataset import Segments
from train.experiments.observations import Content, Simulation, observe_dataset_room, open_simulation
from train.experiments.oracle import LOOKBACK, OracleConfig, make_table, print_table, score_oracles
from train.simulator.rooms.room import Room
from train.simulator.rooms.streamer_speech import SENTENCE_KINDS
from train.simulator.rooms.visuals import STUCK
from train.simulator.settings import TALENTS, SimulatorConfig


def content_of(dataset: Path, name: str, room: Room) -> Content:
    segments = Segments(dataset)
    return observe_dataset_room(segments, next(r for r in segments.rooms if r.name == name), room)


@pytest.mark.parametrize("name", ["train-0001", "test-0007"])
def test_content_is_the_truth(oracle_dataset: Path, oracle_rooms: dict[str, Room], name: str) -> None:
    room = oracle_rooms[name]
    content, count = content_of(oracle_dataset, name, room), len(room.truth)
    columns = zip(content.talent, content.idle, content.hype, strict=True)
    assert [*columns] == [(TALENTS.index(t.talent), t.idle, t.hype) for t in room.truth]
    moving = np.reshape(room.visuals.state, (count, 3)) != STUCK
    assert content.stuck.tolist() == (3 - moving.sum(1)).tolist()
    gifts = np.reshape(room.visuals.gifts, (count, 3))
    assert content.gifts.tolist() == np.sum(gifts, axis=1, where=moving).tolist()
    intensity = [t.intensity if row.any() else np.nan for t, row in zip(room.truth, moving, strict=True)]
    np.testing.assert_array_equal(content.intensity, intensity)
    comments = np.histogram([c.time_s for c in room.comments], bins=30.0 * np.arange(count + 1))[0]
    np.testing.assert_allclose(np.expm1(content.comments), comments, rtol=1e-5)
    np.testing.assert_allclose(content.excited, (room.excited_comments + 1) / (comments + 2), rtol=1e-5)
    assert [getattr(content, kind).tolist() for kind in SENTENCE_KINDS] == room.sentence_counts.T.tolist()
    np.testing.assert_array_equal(np.isnan(content.streamer), not room.known)
    assert room.known == name.startswith("train")
    for episode in room.plan.episodes:
        assert content.elapsed[episode.start : episode.end].tolist() == [*range(episode.end - episode.start)]
        if episode.announced is not None:
            assert content.announced[episode.announced] > 0
    assert np.count_nonzero(content.announced) <= sum(e.announced is not None for e in room.plan.episodes)


def test_stuck_pictures_and_photos_hide_content(oracle_dataset: Path, oracle_rooms: dict[str, Room]) -> None:
    room = oracle_rooms["train-0001"]
    count = len(room.truth)
    state = np.zeros((count, 3), dtype=int)
    state[7], state[8, 1:] = STUCK, STUCK
    stuck = replace(room, visuals=replace(room.visuals, state=tuple(state.ravel().tolist())))
    content = content_of(oracle_dataset, "train-0001", stuck)
    gifts = room.visuals.gifts
    assert np.flatnonzero(np.isnan(content.intensity)).tolist() == [7]
    assert content.stuck.tolist() == [0] * 7 + [3, 2] + [0] * (count - 9)
    assert content.gifts[7:10].tolist() == [0, gifts[24], sum(gifts[27:30])]

    photos = replace(room, visuals=replace(room.visuals, photos=()))
    drawn, hidden = (content_of(oracle_dataset, "train-0001", some) for some in (room, photos))
    assert np.isnan(hidden.intensity).all()
    for field in fields(Content):
        if field.name != "intensity":
            np.testing.assert_array_equal(getattr(hidden, field.name), getattr(drawn, field.name))


def test_a_table_has_the_past_only(oracle_dataset: Path, oracle_rooms: dict[str, Room]) -> None:
    content, t = content_of(oracle_dataset, "train-0002", oracle_rooms["train-0002"]), 40
    names = [field.name for field in fields(Content)]
    before = make_table(content, names)
    assert before.shape == (len(content.hype), 1 + LOOKBACK * (len(names) - 1))
    for name in names[1:]:
        values = getattr(content, name).astype(float)
        after = make_table(replace(content, **{name: np.r_[values[:t], values[t:] + 1.0]}), names)
        changed = (after != before) & ~np.isnan(before)
        assert not changed[: t + 1].any()
        assert changed[t + 1 :].any(1).all()
        assert changed[t + 1].sum() == 1
    np.testing.assert_array_equal(make_table(content, ["streamer", "hype"])[t, 1:], content.hype[t - LOOKBACK : t])
    assert np.isnan(make_table(content, ["hype"])[0, 1:]).all()


def test_more_knowledge_predicts_better(
    oracle_dataset: Path, oracle_rooms: dict[str, Room], capsys: pytest.CaptureFixture[str]
) -> None:
    results = score_oracles(OracleConfig(oracle_dataset))
    pooled = [tau.pooled for tau in results.values()]
    speech, comments, excited, gifts, hype, persistence, ceiling = pooled[3:]
    assert max(*pooled[:3], speech) + 0.05 < comments < excited < gifts < hype < ceiling
    tests = [room for room in oracle_rooms.values() if room.split == "test"]
    label, appeal = (np.concatenate([getattr(room, name)[1:] for room in tests]) for name in ("lvtr", "appeal"))
    before = np.concatenate([room.appeal[:-1] for room in tests])
    assert ceiling == pytest.approx(kendalltau(appeal, label).statistic, abs=1e-6)
    assert persistence == pytest.approx(kendalltau(before, label).statistic, abs=1e-6)
    per_room = [kendalltau(room.appeal[:-1], room.lvtr[1:]).statistic for room in tests]
    assert results["true persistence"].per_room == pytest.approx(np.mean(per_room), abs=1e-6)
    print_table(results)
    assert f"{persistence:12.4f}" in capsys.readouterr().out


def test_the_dataset_must_be_of_the_same_simulation(
    oracle_dataset: Path, oracle_rooms: dict[str, Room], tmp_path: Path
) -> None:
    info = simulated(SimulatorConfig())

    def open_made_by(options: str, **paths: Path | None) -> Simulation:
        made = replace(info, made_by=f"python -m train.prepare rooms{options} --out rooms")
        return open_simulation(tmp_path, made, **{"scenes": None, "comment_bank": None, **paths})

    assert open_made_by("").config == SimulatorConfig()
    with pytest.raises(LabelError, match="but of random numbers"):
        open_simulation(tmp_path, INFO, scenes=None, comment_bank=None)
    for scenes in (None, tmp_path / "others.tar"):
        with pytest.raises(LabelError, match=r"photos of my photos\.tar.*--scenes"):
            open_made_by(" --scenes 'my photos.tar'", scenes=scenes)
    with pytest.raises(LabelError, match="leave out --scenes"):
        open_made_by("", scenes=tmp_path / "others.tar")
    with pytest.raises(LabelError, match=r"chat of chat\.parquet.*--comment-bank"):
        open_made_by(" --comment-bank chat.parquet")
    with pytest.raises(LabelError, match="another version"):
        content_of(oracle_dataset, "train-0001", oracle_rooms["train-0002"])
