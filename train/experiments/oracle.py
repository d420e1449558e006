"""What the observable content of simulated rooms says about the next LVTR, alone and together.

*Alone*: Kendall's tau of one observable of a segment with the LVTR of the next. *Together*: gradient boosting on the
true content of the last segments, which nothing perceives without error. For comparison, *true persistence* predicts
the appeal of the segment before and *ceiling* that of the segment itself; both are hidden. Rooms are simulated but not
rendered.

Run as `python -m train.experiments.oracle [--size base] [--out F.json] [--figure F.png]`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro
from sklearn.ensemble import HistGradientBoostingRegressor
from tqdm import tqdm

from train.baselines.tabular import lags
from train.command import plain_errors
from train.experiments.figure_style import BLUE, GREY, VERMILION, make_panels, write_figure
from train.files import write_json
from train.metrics import DELTAS, Tau, taus
from train.simulator.rooms.comment_bank import read_bank
from train.simulator.rooms.photo_scenes import read_scenes
from train.simulator.rooms.room import Room, room_ids, simulate_room
from train.simulator.rooms.streamer_speech import SENTENCE_KINDS
from train.simulator.rooms.visuals import PHOTO, STUCK
from train.simulator.settings import SLOTS_PER_SEGMENT, TALENTS, SimulatorConfig, SizeName

LOOKBACK = 8
"""Segments that gradient boosting looks back on."""
CATEGORIES = ("streamer", "talent", "announced")
PICTURES = ("talent", "idle", "intensity", "gifts")
TEXT = ("talent", "idle", "announced", *SENTENCE_KINDS, "excited", "comments")
"""Observables of speech and comments, which also show who does what."""
ORACLES = {
    "all": ("streamer", *PICTURES, *TEXT),
    "without streamer": (*PICTURES, *TEXT),
    "without text": ("streamer", *PICTURES),
    "without pictures": ("streamer", *TEXT),
    "streamer only": ("streamer",),
}
"""Observables that each oracle knows."""


@dataclass(frozen=True)
class OracleConfig:
    """Simulate rooms and score their observables on the test rooms."""

    size: SizeName = "base"
    """Size of the simulation."""
    seed: int = 0
    """Seed of the simulation."""
    scenes: Path | None = None
    """Folder or tar of photos, as for train.prepare rooms; they hide the intensity."""
    comment_bank: Path | None = None
    """Parquet file of real chat, as for train.prepare rooms."""
    out: Path | None = None
    """JSON file for the results."""
    figure: Path | None = None
    """Figure of the observables alone (.png, .pdf, .svg)."""


def observe(room: Room) -> dict[str, np.ndarray]:
    """Return the observable content of a room by name, each (segments,); NaN where it does not show.

    `CATEGORIES` are indices. ``streamer`` is NaN without training rooms, ``announced`` the announced talent plus one or
    0, ``intensity`` is hidden by photos and stuck pictures, gifts by the latter; ``excited`` is the (smoothed) share of
    excited comments, `SENTENCE_KINDS` count sentences.
    """
    count = len(room.truth)
    announced = np.zeros(count)
    for episode in room.plan.episodes:
        if episode.announced is not None:
            announced[episode.announced] = 1 + TALENTS.index(episode.talent)
    slots = (count, SLOTS_PER_SEGMENT)
    moving = np.reshape(room.visuals.state, slots) != STUCK
    shown = (moving & (np.reshape(room.visuals.framing, slots) != PHOTO)).any(1)
    edges = [segment.start_s for segment in room.segments] + [room.segments[-1].end_s]
    comments = np.histogram([c.time_s for c in room.comments if c.kind == "message"], bins=edges)[0]
    return {
        "streamer": np.full(count, room.host.index if room.known else np.nan),
        "talent": np.array([TALENTS.index(t.talent) for t in room.truth]),
        "idle": np.array([float(t.idle) for t in room.truth]),
        "intensity": np.where(shown, room.plan.intensity, np.nan),
        "gifts": (np.reshape(room.visuals.gifts, slots) * moving).sum(1),
        "announced": announced,
        **dict(zip(SENTENCE_KINDS, room.sentence_counts.T, strict=True)),
        "excited": (room.excited_comments + 1) / (comments + 2),
        "comments": np.log1p(comments),
    }


@dataclass(frozen=True)
class Rows:
    """Segments of the rooms of a split, except each first: content before them, labels, and names of their rooms."""

    content: list[Mapping[str, np.ndarray]]
    appeal: list[np.ndarray]
    label: np.ndarray
    rooms: np.ndarray

    def table(self, names: Sequence[str]) -> np.ndarray:
        """Return observables of the last `LOOKBACK` segments (rows, columns), that of the streamer once."""
        return np.concatenate([make_table(content, names)[1:] for content in self.content])

    def last(self, name: str) -> np.ndarray:
        """Return an observable of the segment before (rows,)."""
        return np.concatenate([content[name][:-1] for content in self.content]).astype(float)


def make_table(content: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Return what is known before each segment of a room (segments, columns)."""
    return np.hstack(
        [content[n][:, None] if n == "streamer" else lags(content[n])[:, -LOOKBACK:] for n in dict.fromkeys(names)]
    )


def collect(rooms: Sequence[Room]) -> Rows:
    """Return the rows of some rooms."""
    return Rows(
        content=[observe(room) for room in rooms],
        appeal=[room.appeal for room in rooms],
        label=np.concatenate([room.lvtr[1:] for room in rooms]),
        rooms=np.concatenate([np.full(len(room.truth) - 1, room.id) for room in rooms]),
    )


def score_oracles(train: Rows, validation: Rows, test: Rows) -> tuple[dict[str, list[Tau]], dict[str, list[Tau]]]:
    """Return tau on the test rows at each of `DELTAS`, of every observable alone and of every oracle, by name.

    A category is scored by the mean label of its training rows. Rows where an observable does not show are left out of
    its tau alone.
    """

    def score(predicted: np.ndarray) -> list[Tau]:
        known = np.isfinite(predicted)
        return taus(predicted[known], test.label[known], test.rooms[known], deltas=DELTAS)

    alone = {name: score(_predict_alone(train, test, name)) for name in dict.fromkeys(ORACLES["all"])}
    oracles = {
        name: score(_predict_boosting(train, validation, test, names))
        for name, names in tqdm(ORACLES.items(), unit="oracle", leave=False)
    }
    oracles["true persistence"] = score(np.concatenate([appeal[:-1] for appeal in test.appeal]))
    oracles["ceiling"] = score(np.concatenate([appeal[1:] for appeal in test.appeal]))
    return alone, oracles


def _predict_alone(train: Rows, test: Rows, name: str) -> np.ndarray:
    values = test.last(name)
    if name not in CATEGORIES:
        return values
    seen = train.last(name)
    means = {value: train.label[seen == value].mean() for value in np.unique(seen)}
    return np.array([means.get(value, np.nan) for value in values])


def _predict_boosting(train: Rows, validation: Rows, test: Rows, names: Sequence[str]) -> np.ndarray:
    """Fit on training rows, stop by validation rows, and predict test rows."""
    trees = HistGradientBoostingRegressor(
        categorical_features=[0] if names[0] == "streamer" else None,
        learning_rate=0.1,
        max_iter=1000,
        min_samples_leaf=40,
        l2_regularization=1.0,
        early_stopping=True,
        n_iter_no_change=20,
        random_state=0,
    )
    trees.fit(train.table(names), train.label, X_val=validation.table(names), y_val=validation.label)
    return trees.predict(test.table(names))


def print_table(title: str, results: Mapping[str, Sequence[Tau]]) -> None:
    """Print pooled tau at each Delta, and tau per room."""
    print(f"{title:<18}" + "".join(f"{'all' if d is None else f'> {d}':>8}" for d in DELTAS) + f"{'per room':>10}")
    for name, row in results.items():
        values = [tau.pooled for tau in row] + [row[0].per_room]
        print(f"{name:<18}" + "".join(f"{'-':>8}" if value is None else f"{value:8.3f}" for value in values))


def draw_observables(alone: Mapping[str, Sequence[Tau]], out: Path) -> None:
    """Draw the size of tau of each observable alone, of all segments."""
    heights = {name: abs(row[0].pooled or 0.0) for name, row in alone.items()}
    names = sorted(heights, key=heights.__getitem__)
    figure, ((axes,),) = make_panels(1, 1, size=(6.0, 3.6))
    axes.barh(names, [heights[name] for name in names], color=BLUE)
    axes.axvline(0.35, color=VERMILION, linestyle="--", linewidth=1)
    axes.set_xlabel("|tau| of one segment with the LVTR of the next")
    axes.tick_params(colors=GREY)
    write_figure(figure, out)


def main() -> None:
    """Run the command."""
    config = tyro.cli(OracleConfig, prog="python -m train.experiments.oracle", description=__doc__)
    simulation = SimulatorConfig(size=config.size, seed=config.seed)
    scenes = None if config.scenes is None else read_scenes(config.scenes)
    bank = None if config.comment_bank is None else read_bank(config.comment_bank)
    count = len(room_ids(simulation))
    rooms = [simulate_room(simulation, i, scenes=scenes, bank=bank) for i in tqdm(range(count), unit="room")]
    splits = [collect([r for r in rooms if r.split == split]) for split in ("train", "validation", "test")]
    alone, oracles = score_oracles(*splits)
    print_table("observable alone", alone)
    print_table("oracle", oracles)
    if config.out:
        results = {"alone": alone, "oracles": oracles}
        write_json(config.out, {k: {n: [asdict(t) for t in row] for n, row in v.items()} for k, v in results.items()})
    if config.figure:
        draw_observables(alone, config.figure)


if __name__ == "__main__":
    with plain_errors():
        main()
