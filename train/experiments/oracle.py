"""How far one gets who knows all that shows in a room: boosting that is told ever more of the truth, and then a GRU.

Appeal is hidden. It is seen in what the audience does, and true persistence, the tau of the appeal one segment earlier,
is the score of one who could look behind that. These are scores of observers who can not, but mistake nothing they see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from tqdm import tqdm

from train.baselines.tabular import labels_of, lags, rooms_of_rows, scored_of
from train.dataset import read_info
from train.experiments.standings import open_task
from train.metrics import Tau, taus
from train.simulator.observations import Shown, course, shows_in, simulation_of
from train.simulator.observer import forecasts, observe
from train.simulator.rooms.sayings import SAID

SEGMENTS_SEEN = 8
"""How far back boosting looks; the GRU remembers."""
_TOLD = {
    "streamer": ("streamer",),
    "+ what is on (talent, place in it, idle, announced)": ("talent", "place", "idle", "announced"),
    "+ intensity, where it shows": ("intensity",),
    "+ what is said (answers, thanks, excitement)": SAID,
    "+ comments (counts)": ("comments", "commenters", "burst"),
    "+ the share of them written in excitement": ("excited",),
    "+ gifts on screen, where it is not stuck": ("stuck", "gifts"),
    "+ hype (hidden)": ("hype",),
}
"""Observers: each is told the truth of these fields of `Shown`, and of all those above."""
_RECURRENT = "all but hype, to a GRU"


@dataclass(frozen=True, slots=True)
class Row:
    """Tau of an observer, and as a share of that of true persistence; None where it is not defined."""

    name: str
    pooled: float | None
    per_room: float | None
    pooled_share: float | None
    per_room_share: float | None


@dataclass(frozen=True, slots=True)
class Bound:
    """Observers on the scored segments of the test rooms, then true persistence and the ceiling."""

    dataset: str
    segments: int
    rows: tuple[Row, ...]


def bound(dataset: Path, *, scenes: Path | None = None, comment_bank: Path | None = None) -> Bound:
    """Fit each observer on the training rooms of a dataset, as long as validation wants, and score it.

    Neither trees nor a GRU are perfect observers: one could do a little better.

    Parameters
    ----------
    dataset
        Folder that train.simulator wrote. Its rooms are made anew from its parameters.
    scenes, comment_bank
        The photos and the chat that it was made with.

    Raises
    ------
    LabelError
        The dataset is not of simulated rooms, or they do not come out as they were.
    """
    info = read_info(dataset)
    simulation = simulation_of(dataset, info, scenes=scenes, comment_bank=comment_bank)
    task = open_task(dataset)
    parts = (task.train, task.validation, task.test)
    names = [room.name for part in parts for room in part]
    truth = {name: simulation.named(name) for name in tqdm(names, unit="room")}
    shown = [[shows_in(task.segments, room, truth[room.name]) for room in part] for part in parts]
    kept = [np.concatenate([scored_of(task.segments, room) for room in part]) for part in parts]
    label = [labels_of(task.segments, part) for part in parts]

    def score(predicted: np.ndarray) -> Tau:
        return taus(predicted, label[2], rooms_of_rows(task.segments, task.test), deltas=[None])[0]

    found: dict[str, Tau] = {}
    told: list[str] = []
    for name, more in tqdm(_TOLD.items(), unit="observer"):
        told += more
        tables = [
            np.concatenate([inputs(room, told) for room in part])[rows] for part, rows in zip(shown, kept, strict=True)
        ]
        found[name] = score(_predict(tables, label))
    learned, chosen, foreseen = (
        [course(one, truth[room.name].lvtr) for one, room in zip(*pair, strict=True)]
        for pair in zip(shown, parts, strict=True)
    )
    found[_RECURRENT] = score(forecasts(observe(learned, chosen), foreseen)[0])
    appeal = [truth[room.name].appeal for room in task.test]
    before = np.concatenate([np.r_[np.nan, some[:-1]] for some in appeal])
    persistence = found["true persistence"] = score(before[kept[2]])
    found["ceiling"] = score(np.concatenate(appeal)[kept[2]])
    return Bound(
        dataset=info.source,
        segments=persistence.segments,
        rows=tuple(
            Row(
                name,
                tau.pooled,
                tau.per_room,
                pooled_share=_share(tau.pooled, persistence.pooled),
                per_room_share=_share(tau.per_room, persistence.per_room),
            )
            for name, tau in found.items()
        ),
    )


def inputs(shown: Shown, told: Sequence[str]) -> np.ndarray:
    """What an observer who is told some fields knows before each segment (segments, columns).

    The streamer comes first; of all others those of the `SEGMENTS_SEEN` segments before, NaN before the start.
    """
    past = [lags(getattr(shown, name))[:, -SEGMENTS_SEEN:] for name in told if name != "streamer"]
    return np.concatenate([shown.streamer[:, None], *past], axis=1)


def print_bound(found: Bound) -> None:
    """Print the table for people."""
    print(f"{found.segments} test segments of {found.dataset}; shares are of true persistence")
    width = max(len(row.name) for row in found.rows)
    print(f"{'told the truth of':<{width}}{'tau pooled':>12}{'share':>8}{'tau per room':>14}{'share':>8}")
    for row in found.rows:
        pooled, each = ("-" if tau is None else f"{tau:.4f}" for tau in (row.pooled, row.per_room))
        of_pooled, of_each = (
            "-" if share is None else f"{share:.1%}" for share in (row.pooled_share, row.per_room_share)
        )
        print(f"{row.name:<{width}}{pooled:>12}{of_pooled:>8}{each:>14}{of_each:>8}")


def _predict(tables: Sequence[np.ndarray], label: Sequence[np.ndarray]) -> np.ndarray:
    """Fit on the first of ``tables`` and ``label``, stop by the second, predict the third."""
    trees = HistGradientBoostingRegressor(
        categorical_features=[0],
        learning_rate=0.1,
        max_iter=1000,
        min_samples_leaf=40,
        l2_regularization=1.0,
        early_stopping=True,
        n_iter_no_change=20,
        random_state=0,
    )
    trees.fit(tables[0], label[0], X_val=tables[1], y_val=label[1])
    return trees.predict(tables[2])


def _share(tau: float | None, of: float | None) -> float | None:
    return None if tau is None or not of else tau / of
