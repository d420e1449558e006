"""What an observer of simulated rooms is told, and what it is worth."""

import json
from contextlib import redirect_stdout
from dataclasses import asdict, fields, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from kuaihl.errors import LabelError
from tests.fixtures.small_dataset import simulated, write_dataset, write_simulated
from train.dataset import Segments, write_info
from train.simulator import __main__ as command
from train.simulator.observations import Shown, Simulation, course, shows_in
from train.simulator.observer import Course, forecasts, observe
from train.simulator.oracle import SEGMENTS_SEEN, bound, inputs
from train.simulator.render.look import STUCK
from train.simulator.rooms.room import Room, room, room_ids
from train.simulator.rooms.sayings import SAID
from train.simulator.settings import TALENTS, SimulatorConfig

SEGMENTS = 100
# Noise that only the audience shows, and so much of it that it must.
CONFIG = SimulatorConfig(size="tiny", min_segments=SEGMENTS, max_segments=SEGMENTS, noise_sd=1.0, max_comments=30)
SIMULATED = simulated(CONFIG)


@pytest.fixture(scope="module")
def made() -> dict[str, Room]:
    return {name: room(CONFIG, index) for index, name in enumerate(room_ids(CONFIG))}


@pytest.fixture(scope="module")
def dataset(made: dict[str, Room], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rooms as a dataset, whose pictures and text nobody looks at here."""
    folder = tmp_path_factory.mktemp("rooms")
    write_simulated(folder, CONFIG, made)
    return folder


@pytest.fixture(scope="module")
def ran(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows that the command writes, and the lines that it prints for them."""
    out = tmp_path_factory.mktemp("numbers") / "bound.json"
    printed = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr("sys.argv", ["train.simulator", "bound", "--dataset", str(dataset), "--out", str(out)])
        # an epoch of four rooms is a single step
        patch.setattr("train.simulator.oracle.observe", partial(observe, epochs=300))
        command.main()
    return json.loads(out.read_text())["rows"], printed.getvalue().splitlines()[2:]


def shown_in(dataset: Path, name: str) -> Shown:
    segments = Segments(dataset)
    return shows_in(segments, next(r for r in segments.rooms if r.name == name), Simulation(CONFIG).named(name))


def test_what_shows_is_the_truth(dataset: Path, made: dict[str, Room]) -> None:
    for name in ("train-0001", "test-0007"):
        one, shown = made[name], shown_in(dataset, name)
        told = zip(shown.talent, shown.idle, shown.hype, strict=True)
        assert [*told] == [(TALENTS.index(t.talent), t.idle, t.hype) for t in one.truth]
        moving = np.reshape(one.look.state, (SEGMENTS, 3)) != STUCK
        assert shown.stuck.tolist() == (3 - moving.sum(1)).tolist()
        assert shown.gifts.tolist() == np.sum(np.reshape(one.look.gifts, (SEGMENTS, 3)), axis=1, where=moving).tolist()
        intensity = [t.intensity if some.any() else np.nan for t, some in zip(one.truth, moving, strict=True)]
        np.testing.assert_array_equal(shown.intensity, intensity)
        written = np.histogram([c.time_s for c in one.comments], bins=30.0 * np.arange(SEGMENTS + 1))[0]
        np.testing.assert_allclose(np.expm1(shown.comments), written, rtol=1e-5)
        assert [getattr(shown, kind).tolist() for kind in SAID] == one.said.T.tolist()
        np.testing.assert_allclose(shown.excited, (one.excited + 1) / (written + 2), rtol=1e-5)
        np.testing.assert_array_equal(np.isnan(shown.streamer), not one.known)
        for episode in one.plan.episodes:
            assert shown.place[episode.start : episode.end].tolist() == [*range(episode.end - episode.start)]
            if episode.announced is not None:
                assert shown.announced[episode.announced] > 0
        assert np.count_nonzero(shown.announced) <= sum(e.announced is not None for e in one.plan.episodes)
    assert not made["test-0007"].known


def test_a_stream_that_is_stuck_hides_intensity_and_gifts(dataset: Path, made: dict[str, Room]) -> None:
    segments = Segments(dataset)
    there = next(r for r in segments.rooms if r.name == "train-0001")
    one = made["train-0001"]
    state = np.zeros((SEGMENTS, 3), dtype=int)
    state[7], state[8, 1:] = STUCK, STUCK
    shown = shows_in(segments, there, replace(one, look=replace(one.look, state=tuple(state.ravel().tolist()))))
    assert np.flatnonzero(np.isnan(shown.intensity)).tolist() == [7]
    assert shown.stuck.tolist() == [0] * 7 + [3, 2] + [0] * (SEGMENTS - 9)
    assert shown.gifts[7:10].tolist() == [0, one.look.gifts[24], sum(one.look.gifts[27:30])]


def test_photos_hide_the_intensity_of_their_scene(dataset: Path, made: dict[str, Room]) -> None:
    segments = Segments(dataset)
    there = next(r for r in segments.rooms if r.name == "train-0001")
    one = made["train-0001"]
    photographed = shows_in(segments, there, replace(one, look=replace(one.look, photos=())))
    assert np.isnan(photographed.intensity).all()
    drawn, hidden = (course(shown, one.lvtr) for shown in (shown_in(dataset, "train-0001"), photographed))
    changed = (drawn.told != hidden.told).any(0)
    assert changed.sum() == 2
    assert np.isfinite(hidden.told).all()
    assert hidden.told[:, changed].tolist() == [[1.0, 0.0]] * SEGMENTS
    np.testing.assert_allclose(drawn.told[:, changed][:, 1], one.plan.intensity, rtol=1e-6)
    np.testing.assert_allclose(hidden.label, one.lvtr, rtol=1e-6)
    assert hidden.scored.tolist() == [False] + [True] * (SEGMENTS - 1)
    assert hidden.streamer == 1 + one.host.index


def test_the_gru_observes_the_past_alone_and_learns() -> None:
    """A label that is what was told two segments before: trees could see it too, a wrong shift could not."""
    rng = np.random.default_rng(0)

    def made_up() -> Course:
        told = rng.normal(size=(60, 3)).astype(np.float32)
        label = 1 / (1 + np.exp(-np.r_[0.0, 0.0, told[:-2, 1]]))
        return Course(told, int(rng.integers(3)), label, np.arange(60) > 1)

    train, validation, test = ([made_up() for _ in range(count)] for count in (40, 5, 5))
    observer = observe(train, validation)
    predicted, remembered = forecasts(observer, test)
    label = np.concatenate([one.label[one.scored] for one in test])
    assert kendalltau(predicted, label).statistic > 0.8
    future = [replace(one, told=np.r_[one.told[:-1], one.told[-1:] + 9.0]) for one in test]
    for before, after in zip((predicted, remembered), forecasts(observer, future), strict=True):
        np.testing.assert_array_equal(after, before)


def test_an_observer_knows_the_past_alone(dataset: Path) -> None:
    shown, t = shown_in(dataset, "train-0002"), 40
    told = [f.name for f in fields(Shown)]
    before = inputs(shown, told)
    assert before.shape == (SEGMENTS, 1 + SEGMENTS_SEEN * (len(told) - 1))
    for name in told[1:]:
        values = getattr(shown, name).astype(float)
        after = inputs(replace(shown, **{name: np.r_[values[:t], values[t:] + 1.0]}), told)
        np.testing.assert_array_equal(after[: t + 1], before[: t + 1])
        changed = (after != before) & ~np.isnan(before)
        assert changed[t + 1 :].any(1).tolist() == [True] * (SEGMENTS - t - 1)
        assert changed[t + 1].sum() == 1
    hype = inputs(shown, ["streamer", "hype"])[t, 1:]
    np.testing.assert_array_equal(hype, shown.hype[t - SEGMENTS_SEEN : t])
    assert np.isnan(inputs(shown, ["hype"])[0, 1:]).all()


def test_who_is_told_more_predicts_better(ran: tuple[list[dict[str, Any]], list[str]], made: dict[str, Room]) -> None:
    rows, _ = ran
    pooled = [row["pooled"] for row in rows]
    said, comments, excited, gifts, hype, recurrent, persistence, ceiling = pooled[3:]
    assert max(*pooled[:3], said) + 0.05 < comments < excited < gifts < hype < ceiling  # only it tells of the noise
    assert hype > gifts + 0.05
    assert hype > recurrent > max(pooled[:3])  # four rooms are few to learn from
    tests = [one for one in made.values() if one.split == "test"]
    label, appeal = (np.concatenate([getattr(one, x)[1:] for one in tests]) for x in ("lvtr", "appeal"))
    before = np.concatenate([one.appeal[:-1] for one in tests])
    assert ceiling == pytest.approx(kendalltau(appeal, label).statistic, abs=1e-6)
    assert persistence == pytest.approx(kendalltau(before, label).statistic, abs=1e-6)
    each = [kendalltau(one.appeal[:-1], one.lvtr[1:]).statistic for one in tests]
    assert rows[-2]["per_room"] == pytest.approx(np.mean(each), abs=1e-6)
    assert [row["pooled_share"] for row in rows] == pytest.approx([tau / persistence for tau in pooled])
    assert rows[0]["per_room"] is None  # who streams is the same all through a room


def test_each_row_is_printed(ran: tuple[list[dict[str, Any]], list[str]]) -> None:
    for row, line in zip(*ran, strict=True):
        assert line.startswith(row["name"])
        assert f"{row['pooled']:.4f}" in line
        assert f"{row['pooled_share']:.1%}" in line


def test_rooms_must_come_out_as_they_were(dataset: Path, tmp_path: Path) -> None:
    def described(name: str, **changes: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "rooms").symlink_to(dataset / "rooms")
        write_info(folder, replace(SIMULATED, **changes))
        return folder

    write_dataset(tmp_path / "random")
    with pytest.raises(LabelError, match="but of random numbers"):
        bound(tmp_path / "random")
    photographed = described("photos", made_by=SIMULATED.made_by.replace(" --out", " --scenes my photos.tar --out"))
    for scenes in (None, tmp_path / "others.tar"):
        with pytest.raises(LabelError, match=r"with the photos of my photos\.tar, .* --scenes"):
            bound(photographed, scenes=scenes)
    with pytest.raises(LabelError, match="no --scenes"):
        bound(dataset, scenes=tmp_path / "others.tar")
    written = described("written", made_by=SIMULATED.made_by.replace(" --out", " --comment-bank chat.parquet --out"))
    with pytest.raises(LabelError, match=r"with the chat of chat\.parquet, .* --comment-bank"):
        bound(written)
    with pytest.raises(LabelError, match="no --comment-bank"):
        bound(dataset, comment_bank=tmp_path / "chat.parquet")
    other = described("other", parameters={**asdict(CONFIG), "intensity_gain": 1.4})
    with pytest.raises(LabelError, match="does not come out"):
        bound(other)
