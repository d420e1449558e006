"""Train every row of a table with several seeds: Tables II and III of the paper, further options, and participation.

Run as `python -m train.experiments.ablate table2|table3|beyond|participation ...`.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import torch
import tyro

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import load
from train.command import plain_errors
from train.data.participation import TARGET
from train.dataset import DATASET_FILE, Segments, read_info
from train.experiments.comparison import Line, add_rows, compare, format_markdown, make_rows, read_rows
from train.files import replacing
from train.fit import FitConfig, fit
from train.metrics import taus
from train.run_state import STATE_FILE, settings_of
from train.scoring import score
from train.splits import select_rooms

ROWS_FILE, RUNS_FOLDER = "rows.csv", "runs"
PLAIN = {"activity": False, "words": False, "word_shares": False, "speech_text": False, "recurrent": ()}
"""The model of the paper."""
CHAT = {"activity": True, "words": True, "recurrent": (TARGET,), "pair_weight": (0.0,), "align_weight": 0.0}
"""Training on chat alone."""
RUNS: dict[str, dict[str, Any]] = {
    "point": {"pair_weight": (0.0,), "align_weight": 0.0},
    "L0": {"region": "all", "align_weight": 0.0},
    "L1": {"region": "border", "align_weight": 0.0},
    "L2": {"region": "inverted", "align_weight": 0.0},
    "L3": {"region": "under", "align_weight": 0.0},
    "L1-plain": {"positive": "plain"},
    "full": {},
    "no-streamer": {"without": ("streamer",)},
    "no-text": {"without": ("speech", "comments")},
    "no-visual": {"without": ("pictures",)},
    "activity": {"activity": True},
    "words": {"activity": True, "words": True},
    "recurrent": {"recurrent": ("lvtr",)},
    **{f"window-{n}": {"window": n} for n in (5, 10, 40)},
    **{f"sigma-{sigma}": {"sigma": float(sigma)} for sigma in (3, 10, 30)},
    "no-dropout": {"modality_dropout": 0.0},
    "chat": CHAT,
    "chat-activity": CHAT | {"words": False},
    "chat-words": CHAT | {"activity": False},
    "chat-attention": CHAT | {"recurrent": ()},
    "chat-pair": CHAT | {"pair_weight": (1.0,)},
    **{f"chat-window-{n}": CHAT | {"window": n} for n in (10, 40)},
}
"""Options of each training that differ from the shared ones. Tables share trainings."""

TABLES: dict[str, tuple[Line, ...]] = {
    "table2": (
        Line("point", "point", 0.5761),
        Line("point + L0", "L0", 0.5857),
        Line("point + L1", "L1", 0.5872),
        Line("point + L2", "L2", 0.5256),
        Line("point + L3", "L3", 0.5824),
        Line("point + L1 + L'align", "L1-plain", 0.5919),
        Line("point + L1 + Lalign", "full", 0.5961),
    ),
    "table3": (
        Line("KuaiHL", "full", 0.5961),
        Line("without streamer", "no-streamer", 0.5910),
        Line("without text", "no-text", 0.5760),
        Line("without pictures", "no-visual", 0.5489),
    ),
    "beyond": (
        Line("KuaiHL: window 20, sigma 1", "full"),
        Line("with activity tokens", "activity"),
        Line("with activity tokens and words", "words"),
        Line("with a recurrent layer", "recurrent"),
        *(Line(f"window {n}", f"window-{n}") for n in (5, 10, 40)),
        *(Line(f"sigma {sigma}", f"sigma-{sigma}") for sigma in (3, 10, 30)),
        Line("without modality dropout", "no-dropout"),
        *(
            line
            for k, source in enumerate(("pictures", "speech", "comments"))
            for line in (
                Line(f"no {source} at test", "full", hidden=source),
                Line(f"no {source} at test, without modality dropout", "no-dropout", hidden=source, against=11 + 2 * k),
            )
        ),
    ),
    "participation": (
        Line("KuaiHL: activity and words, window 20", "chat"),
        Line("activity alone", "chat-activity"),
        Line("words alone", "chat-words"),
        Line("without the recurrent layer", "chat-attention"),
        Line("with the pairwise loss", "chat-pair"),
        Line("window 10", "chat-window-10"),
        Line("window 40", "chat-window-40"),
    ),
}
TITLES = {
    "table2": "Table II: losses",
    "table3": "Table III: modalities",
    "beyond": "Beyond the paper: activity tokens, words, recurrent layer, window, sigma, modality dropout",
    "participation": "Participation: inputs and architecture",
}


@dataclass(frozen=True)
class AblateConfig:
    """Which table to make, and the options that all its trainings share."""

    table: tyro.conf.Positional[Literal["table2", "table3", "beyond", "participation"]]
    """table2: losses. table3: modalities. beyond: options that the paper does not compare. participation: real chat."""
    fit: Annotated[FitConfig, tyro.conf.arg(name="")]
    """Options of train.fit, with one dataset. ``out`` is the folder for the table and for rows.csv with the results of
    all trainings; an interrupted run continues. Options that a row is about are replaced, and the tokens and the
    recurrent layer that the paper does not have are off, except for participation."""
    runs: Path | None = None
    """Folder for curves and checkpoints; ``out``/runs by default."""
    seeds: int = 5
    """Trainings per row: the whole table with seed 0, then with seed 1, and so on."""
    threads: int = 1
    """Threads of each training."""
    processes: int = 1
    """Trainings at a time."""

    @property
    def dataset(self) -> Path:
        """The dataset of all trainings."""
        return self.fit.dataset[0]


def ablate(config: AblateConfig) -> str:
    """Run the missing trainings of a table; return the table, which is rewritten after each training.

    Raises
    ------
    LabelError
        ``out`` has trainings with another dataset or other settings, or the dataset lacks a split.
    """
    select_rooms(Segments(config.dataset), "test")  # fails before hours of training
    torch.set_num_threads(config.threads)
    config.fit.out.mkdir(parents=True, exist_ok=True)
    file = config.fit.out / ROWS_FILE
    rows = read_rows(file)
    runs = dict.fromkeys(line.run for line in TABLES[config.table])
    _check_settings(config, rows[rows["run"].isin([*runs]) & (rows["seed"] < config.seeds)])
    finished = {*zip(rows["run"], rows["seed"], strict=True)}
    missing = [(run, seed) for seed in range(config.seeds) for run in runs if (run, seed) not in finished]
    table = _write_table(config, rows)
    for left, new in zip(range(len(missing) - 1, -1, -1), _train_all(config, missing), strict=True):
        rows = add_rows(file, new)
        run, seed = new["run"][0], int(new["seed"][0])
        (fit_config(config, run, seed).out / STATE_FILE).unlink()
        table = _write_table(config, rows)
        minutes = left * rows["seconds"].mean() / config.processes / 60
        print(f"{run}, seed {seed} done; {left} trainings left, about {minutes:.0f} min", flush=True)
    print(table)
    return table


def _train_all(config: AblateConfig, missing: Sequence[tuple[str, int]]) -> Iterator[pd.DataFrame]:
    if config.processes == 1:
        yield from (_train(config, run, seed) for run, seed in missing)
        return
    with ProcessPoolExecutor(config.processes, get_context("spawn"), torch.set_num_threads, (config.threads,)) as pool:
        for training in as_completed([pool.submit(_train, config, run, seed) for run, seed in missing]):
            yield training.result()


def fit_config(config: AblateConfig, run: str, seed: int) -> FitConfig:
    """Return the settings of a training: the shared ones, and those of the run."""
    folder = (config.runs or config.fit.out / RUNS_FOLDER) / f"{run}-seed{seed}"
    return replace(config.fit, **{**PLAIN, **RUNS[run], "out": folder, "seed": seed})


def _train(config: AblateConfig, run: str, seed: int) -> pd.DataFrame:
    """Train and test; return the rows. The state of the run remains until they are written."""
    settings = fit_config(config, run, seed)
    model, _ = load(fit(settings))
    segments = Segments(config.dataset)
    rooms = select_rooms(segments, "test")
    test = {}
    for hidden in sorted({line.hidden for table in TABLES.values() for line in table if line.run == run}):
        scores = score(model, segments, rooms, without={*settings.without, hidden} - {""})
        test[hidden] = taus(scores.predicted, scores.true, scores.room)
    progress = torch.load(settings.out / STATE_FILE, weights_only=True)["progress"]
    return make_rows(
        test,
        run=run,
        seed=seed,
        settings=json.dumps(_changed_settings(settings)),
        dataset_sha256=dataset_sha256(config.dataset),
        torch=torch.__version__,
        epochs=progress["epoch"],
        best_epoch=progress["best_epoch"],
        validation_tau=progress["best_tau"],
        seconds=round(progress["seconds"], 1),
    )


def _check_settings(config: AblateConfig, rows: pd.DataFrame) -> None:
    """Refuse trainings of another dataset or with other settings: LabelError."""
    digest = dataset_sha256(config.dataset)
    for run, seed, settings, dataset in rows[["run", "seed", "settings", "dataset_sha256"]].itertuples(index=False):
        old, new = json.loads(settings), _changed_settings(fit_config(config, run, seed))
        changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        changed += ["dataset"] * (dataset != digest)
        if changed:
            raise LabelError(
                f"{config.fit.out / ROWS_FILE} has {run}, seed {seed} with other settings ({', '.join(changed)}): "
                "repeat those, or choose another --out."
            )


def _write_table(config: AblateConfig, rows: pd.DataFrame) -> str:
    results = compare(TABLES[config.table], rows)
    source = read_info(config.dataset).source
    table = format_markdown(results, title=TITLES[config.table], source=source, seeds=config.seeds)
    with replacing(config.fit.out / f"{config.table}.md") as part:
        part.write_text(table, encoding="utf-8")
    return table


def _changed_settings(config: FitConfig) -> dict[str, Any]:
    """Return the settings that differ from the defaults, except folders and those that do not affect the result."""
    ignored = ("dataset", "out", "seed", "workers", "log_every", "save_every")
    default = settings_of(FitConfig(config.dataset, config.out), ignored=ignored)
    return {name: x for name, x in settings_of(config, ignored=ignored).items() if x != default[name]}


def dataset_sha256(dataset: Path) -> str:
    """Return the SHA-256 of the description of a dataset."""
    return hashlib.sha256((dataset / DATASET_FILE).read_bytes()).hexdigest()


if __name__ == "__main__":
    config = tyro.cli(AblateConfig, prog="python -m train.experiments.ablate", description=__doc__)
    with plain_errors():
        ablate(config)
