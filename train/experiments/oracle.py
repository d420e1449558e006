"""How well LVTR can be predicted by an oracle that knows ever more of the true content of simulated rooms.

Gradient boosting knows the content of the last segments. For comparison, *true persistence* predicts the appeal of the
segment before and *ceiling* that of the segment itself; both are hidden.

Run as `python -m train.experiments.oracle --dataset D [--out F.json]`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro
from sklearn.ensemble import HistGradientBoostingRegressor
from tqdm import tqdm

from train.baselines.tabular import lags
from train.baselines.task import open_task
from train.command import plain_errors
from train.dataset import read_info
from train.experiments.observations import Content, observe_dataset_room, open_simulation
from train.files import write_json
from train.metrics import Tau, taus
from train.simulator.rooms.streamer_speech import SENTENCE_KINDS

LOOKBACK = 8
"""Segments that gradient boosting looks back on."""
STEPS = {
    "streamer": ("streamer",),
    "+ scene (talent, place, idle, announced)": ("talent", "elapsed", "idle", "announced"),
    "+ intensity, if visible": ("intensity",),
    "+ speech (kinds of sentences)": SENTENCE_KINDS,
    "+ number of comments": ("comments", "commenters", "burst"),
    "+ share of excited comments": ("excited",),
    "+ gifts on screen": ("stuck", "gifts"),
    "+ hype (hidden)": ("hype",),
}
"""Fields of `Content` that each oracle knows in addition to those before."""


@dataclass(frozen=True)
class OracleConfig:
    """Score oracles on the test rooms of a dataset of simulated rooms."""

    dataset: Path
    """Folder that train.prepare rooms wrote."""
    scenes: Path | None = None
    """Photos that the dataset was made with."""
    comment_bank: Path | None = None
    """Chat that the dataset was made with."""
    out: Path | None = None
    """JSON file for the results."""


def score_oracles(config: OracleConfig) -> dict[str, Tau]:
    """Fit each oracle on the training rooms and return its tau on the test rooms, by name.

    Raises
    ------
    LabelError
        The dataset is not of simulated rooms, or of another version.
    """
    info = read_info(config.dataset)
    simulation = open_simulation(config.dataset, info, scenes=config.scenes, comment_bank=config.comment_bank)
    task = open_task(config.dataset)
    splits = (task.train, task.validation, task.test)
    names = [room.name for rooms in splits for room in rooms]
    simulated = {name: simulation.simulate(name) for name in tqdm(names, unit="room")}
    contents = {
        room.name: observe_dataset_room(task.segments, room, simulated[room.name]) for rooms in splits for room in rooms
    }
    labels = [task.labels(rooms) for rooms in splits]

    def score(predicted: np.ndarray) -> Tau:
        return taus(predicted, labels[2], task.room_names(task.test), deltas=[None])[0]

    results: dict[str, Tau] = {}
    fields: tuple[str, ...] = ()
    for name, added in tqdm(STEPS.items(), unit="oracle"):
        fields += added
        known = {room: make_table(content, fields) for room, content in contents.items()}
        tables = [task.rows(rooms, lambda room, known=known: known[room.name]) for rooms in splits]
        results[name] = score(_predict_boosting(tables, labels))
    results["true persistence"] = score(
        task.rows(task.test, lambda room: np.r_[np.nan, simulated[room.name].appeal[:-1]])
    )
    results["ceiling"] = score(task.rows(task.test, lambda room: simulated[room.name].appeal))
    return results


def make_table(content: Content, fields: Sequence[str]) -> np.ndarray:
    """Return what is known before each segment (segments, columns): the streamer, and the last segments of the rest."""
    past = [lags(getattr(content, name))[:, -LOOKBACK:] for name in fields if name != "streamer"]
    return np.hstack([content.streamer[:, None], *past])


def _predict_boosting(tables: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> np.ndarray:
    """Fit on training rows, stop by validation rows, and predict test rows."""
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
    trees.fit(tables[0], labels[0], X_val=tables[1], y_val=labels[1])
    return trees.predict(tables[2])


def print_table(results: dict[str, Tau]) -> None:
    """Print tau of each oracle."""
    width = max(map(len, results))
    print(f"{'known':<{width}}{'tau pooled':>12}{'tau per room':>14}")
    for name, tau in results.items():
        pooled, per_room = ("-" if value is None else f"{value:.4f}" for value in (tau.pooled, tau.per_room))
        print(f"{name:<{width}}{pooled:>12}{per_room:>14}")


def main() -> None:
    """Run the command."""
    config = tyro.cli(OracleConfig, prog="python -m train.experiments.oracle", description=__doc__)
    results = score_oracles(config)
    if config.out:
        write_json(config.out, {name: asdict(tau) for name, tau in results.items()})
    print_table(results)


if __name__ == "__main__":
    with plain_errors():
        main()
