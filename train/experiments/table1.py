"""Table I: KuaiHL and rival methods with the same inputs, rooms, seeds, training windows and tuning.

Run as `python -m train.experiments.table1 --dataset D --out DIR`.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import tyro

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import load
from train.baselines.adaptive_fcsn import AdaptiveFCSN
from train.baselines.antpivot import AntPivot
from train.baselines.dpp_lstm import DppLSTM
from train.baselines.gif_rankers import PHDGIFs, Video2GIF
from train.baselines.kuailive_models import KuaiLiveCausal, KuaiLiveGRU, KuaiLiveLocalGlobal, KuaiLiveMLP
from train.baselines.pac_net import PACNet
from train.baselines.pr_net import PRNet
from train.baselines.rival import Rival
from train.baselines.rules import predict_chat_spike
from train.baselines.showme import ShowMe
from train.baselines.task import Task, open_task
from train.baselines.training import RivalData, train_rival
from train.command import plain_errors
from train.data.phd import GIFS_FILE, score_users
from train.data.phd_csv import read_gifs
from train.experiments.ablate import PLAIN, dataset_sha256
from train.experiments.comparison import Line, add_rows, compare, format_mean, format_table, make_rows, read_rows
from train.files import replacing
from train.fit import FitConfig, fit
from train.metrics import DELTAS, taus
from train.run_state import STATE_FILE
from train.scoring import score

ROWS_FILE, TABLE_FILE, RUNS_FOLDER = "rows.csv", "table1.md", "runs"


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the table. ``build`` makes a rival; None for KuaiHL and for rules.

    Attributes
    ----------
    paper
        Tau in the paper at Delta 0, 0.2, 0.4 and 0.6.
    source
        What the row follows.
    full
        Options of the original's size, where the default is smaller.
    """

    label: str
    build: Callable[..., Rival] | None = None
    paper: tuple[float, ...] = ()
    source: str = ""
    full: Mapping[str, Any] | None = None


METHODS = {
    "kuaihl": Method("KuaiHL", None, (0.5961, 0.5871, 0.5686, 0.5563), "train.fit, without what the paper lacks"),
    "adaptive-h-fcsn": Method(
        "Adaptive-H-FCSN", AdaptiveFCSN, (0.5782, 0.5707, 0.5511, 0.5322), "public code, channels / 8", {"divisor": 1}
    ),
    "pr-net": Method("after PR-Net", PRNet, (0.5848, 0.5818, 0.5461, 0.5403), "abstract and figures"),
    "pac-net": Method("after PAC-Net", PACNet, (0.5823, 0.5845, 0.5537, 0.5409), "abstract"),
    "showme": Method("after ShowMe", ShowMe, (0.5798, 0.5705, 0.5348, 0.5407), "abstract"),
    "antpivot": Method(
        "AntPivot, text", AntPivot, (0.5818, 0.5809, 0.5483, 0.5421), "public code, width 128", {"dim": 512}
    ),
    "antpivot-pictures": Method(
        "AntPivot, text and pictures", partial(AntPivot, pictures=True), (), "public code, width 128", {"dim": 512}
    ),
    "dpp-lstm": Method("dppLSTM", DppLSTM, (), "public code"),
    "video2gif": Method("Video2GIF", Video2GIF, (), "public code"),
    "phd-gifs": Method("after PHD-GIFs", PHDGIFs, (), "abstract"),
    "kuailive-mlp": Method("KuaiLive-M3: MLP", KuaiLiveMLP, (), "public code"),
    "kuailive-gru": Method("KuaiLive-M3: GRU", KuaiLiveGRU, (), "public code"),
    "kuailive-causal": Method("KuaiLive-M3: causal transformer", KuaiLiveCausal, (), "public code"),
    "kuailive-local-global": Method("KuaiLive-M3: local and global", KuaiLiveLocalGlobal, (), "public code"),
    "chat-spike": Method("chat-spike z-score", None, (), "no parameters"),
}
"""The rows of the table, by name. The first is what the others are compared with."""
WITHOUT_STREAMER = " without streamer"
"""Ends the name of a row whose method does not know the streamer."""


@dataclass(frozen=True)
class Table1Config:
    """Which rows to make, and the settings that all of them share."""

    dataset: Path
    """Folder that train.prepare wrote."""
    out: Path
    """Folder for rows.csv and table1.md. An interrupted run continues."""
    rows: tuple[str, ...] = tuple(METHODS)
    """Names of the rows."""
    without_streamer: bool = False
    """Repeat each row without the streamer."""
    seeds: int = 5
    """Trainings per row: all rows with seed 0, then with seed 1, and so on."""
    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    """Learning rates to choose from, for each row, by the validation tau of seed 0. Nothing else is tuned."""
    epochs: int = 10
    """Maximum number of epochs."""
    epoch_share: float = 1.0
    """Share of the training windows that an epoch draws."""
    batch_size: int = 64
    """Windows in a step."""
    patience: int = 3
    """Stop after this many epochs without a better validation tau."""
    activity: bool = False
    """All rows read the activity of chat and speech."""
    full_size: bool = False
    """Adaptive-H-FCSN and AntPivot have the width of the originals, instead of one for CPUs."""
    processes: int = 1
    """Trainings at a time. More than one have one thread each."""

    def fit_config(self, name: str, seed: int, learning_rate: float) -> FitConfig:
        """Return the settings of a training, as those of KuaiHL."""
        settings = FitConfig(
            (self.dataset,),
            self.out / RUNS_FOLDER / f"{name}-seed{seed}-{learning_rate:g}",
            epochs=self.epochs,
            epoch_share=(self.epoch_share,),
            batch_size=self.batch_size,
            patience=self.patience,
            learning_rate=learning_rate,
            without=("streamer",) if name.endswith(WITHOUT_STREAMER) else (),
            seed=seed,
        )
        return replace(settings, **{**PLAIN, "activity": self.activity})


def make_table(config: Table1Config) -> str:
    """Run the trainings that are missing; return the table, which is rewritten after each.

    Raises
    ------
    LabelError
        The dataset lacks a split, a row is unknown, or ``out`` has rows of another dataset or other settings.
    """
    if unknown := set(config.rows) - set(METHODS):
        raise LabelError(f"There is no row {', '.join(sorted(unknown))}; the rows are {', '.join(METHODS)}.")
    open_task(config.dataset)  # fails before hours of training
    names = [*config.rows, *(f"{name}{WITHOUT_STREAMER}" for name in config.rows if config.without_streamer)]
    config.out.mkdir(parents=True, exist_ok=True)
    file = config.out / ROWS_FILE
    rows = read_rows(file)
    _check_settings(config, rows)
    for seed in range(config.seeds):
        finished = rows[["run", "seed", "learning_rate"]].to_numpy().tolist() if len(rows) else []
        done = {run for run, known, _ in finished if known == seed}
        chosen = {run: rate for run, known, rate in finished if known == 0}
        missing = [
            (name, seed, config.learning_rates if seed == 0 else (chosen[name],)) for name in names if name not in done
        ]
        for new in _run_all(config, missing):
            rows = add_rows(file, new)
            _write_table(config, names, rows)
            print(f"{new['run'][0]}, seed {seed} done after {new['seconds'][0]:.0f} s", flush=True)
    table = _write_table(config, names, rows)
    print(table)
    return table


def _run_all(config: Table1Config, missing: Sequence[tuple[str, int, Sequence[float]]]) -> Iterator[pd.DataFrame]:
    if config.processes == 1:
        yield from (run_row(config, *arguments) for arguments in missing)
        return
    with ProcessPoolExecutor(config.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for row in as_completed([pool.submit(run_row, config, *arguments) for arguments in missing]):
            yield row.result()


def run_row(config: Table1Config, name: str, seed: int, learning_rates: Sequence[float]) -> pd.DataFrame:
    """Train a method with each learning rate, and test the one with the best validation tau: a row of the CSV."""
    task = open_task(config.dataset)
    start_s = time.monotonic()
    base, run = name.removesuffix(WITHOUT_STREAMER), _run_rival
    if base in ("kuaihl", "chat-spike"):
        run = _run_kuaihl if base == "kuaihl" else _run_chat_spike
    method = METHODS[base]
    if config.full_size and method.build and method.full:
        method = replace(method, build=partial(method.build, **method.full))
    results = [run(task, method, config.fit_config(name, seed, rate)) for rate in learning_rates]
    predicted, facts = max(results, key=lambda result: result[1]["validation_tau"])
    true, room = task.labels(task.test), task.room_names(task.test)
    gifs = config.dataset / GIFS_FILE
    precision = None
    if gifs.exists():
        curves = {other: predicted[room == other] for other in np.unique(room)}
        precision = score_users(read_gifs(gifs)[0], curves).precision.mean
    return make_rows(
        {"": taus(predicted, true, room)},
        run=name,
        seed=seed,
        settings=json.dumps(_settings(config)),
        dataset_sha256=dataset_sha256(config.dataset),
        torch=torch.__version__,
        **facts,
        precision=precision,
        seconds=round(time.monotonic() - start_s, 1),
    )


Result = tuple[np.ndarray, dict[str, Any]]
"""Predictions for the rows of the test rooms, and facts about the training."""


def _run_rival(task: Task, method: Method, settings: FitConfig) -> Result:
    data = RivalData(task, settings)
    trained = train_rival(method.build, data, settings)
    predicted, ms = _time(task, lambda: data.predict(trained.model, task.test))
    facts = _facts(settings, ms, trained.model, trained.validation_tau, trained.best_epoch, trained.epochs)
    return predicted, {**facts, "rooms_with_history": data.rooms_with_history()}


def _run_kuaihl(task: Task, _method: Method, settings: FitConfig) -> Result:
    model, _ = load(fit(settings))
    scores, ms = _time(task, lambda: score(model, task.segments, task.test))
    progress = torch.load(settings.out / STATE_FILE, weights_only=True)["progress"]
    facts = _facts(settings, ms, model, progress["best_tau"], progress["best_epoch"], progress["epoch"])
    return scores.predicted, facts


def _run_chat_spike(task: Task, _method: Method, settings: FitConfig) -> Result:
    predicted, ms = _time(task, lambda: predict_chat_spike(task))
    return predicted, _facts(settings, ms)


def _time(task: Task, predict: Callable[[], Any]) -> tuple[Any, float]:
    """Return predictions, and the CPU milliseconds that a segment takes, from its features on."""
    start_s = time.process_time()
    predicted = predict()
    return predicted, 1e3 * (time.process_time() - start_s) / sum(room.stop - room.start for room in task.test)


def _facts(
    settings: FitConfig,
    ms: float,
    model: torch.nn.Module | None = None,
    tau: float = 0.0,
    best_epoch: int = 0,
    epochs: int = 0,
) -> dict[str, Any]:
    return {
        "learning_rate": settings.learning_rate,
        "validation_tau": tau,
        "best_epoch": best_epoch,
        "epochs": epochs,
        "parameters": sum(p.numel() for p in model.parameters()) if model else 0,
        "ms_per_segment": ms,
        "rooms_with_history": 0,
    }


def _settings(config: Table1Config) -> dict[str, Any]:
    """Return what determines a row, but its name and seed."""
    names = ("learning_rates", "epochs", "epoch_share", "batch_size", "patience", "activity", "full_size")
    return {name: getattr(config, name) for name in names}


def _check_settings(config: Table1Config, rows: pd.DataFrame) -> None:
    """Refuse rows of another dataset or with other settings: LabelError."""
    settings, digest = json.dumps(_settings(config)), dataset_sha256(config.dataset)
    other = rows[(rows["settings"] != settings) | (rows["dataset_sha256"] != digest)]
    if len(other):
        raise LabelError(
            f"{config.out / ROWS_FILE} has {other['run'].iloc[0]} of another dataset or with other settings: repeat"
            " those, or choose another --out."
        )


def _write_table(config: Table1Config, names: Sequence[str], rows: pd.DataFrame) -> str:
    table = format_table1(config, names, rows)
    with replacing(config.out / TABLE_FILE) as part:
        part.write_text(table, encoding="utf-8")
    return table


def format_table1(config: Table1Config, names: Sequence[str], rows: pd.DataFrame) -> str:
    """Format the table: tau per room and pooled at each Delta, differences paired by seed, sizes and times."""
    first = next(iter(METHODS))
    compared = [first, *(name for name in names if name != first)]
    results = compare([Line(name, name) for name in compared], rows)
    deltas = [k for k, delta in enumerate(DELTAS) if delta is not None]
    per_room, pooled, costs = [], [], []
    for name, result in zip(compared, results, strict=True):
        method, suffix = METHODS[name.removesuffix(WITHOUT_STREAMER)], name[len(name.removesuffix(WITHOUT_STREAMER)) :]
        label = f"{method.label}{',' * bool(suffix)}{suffix}"
        seeds = f"{len(result.seeds)} of {config.seeds}"
        per_room.append(
            [
                label,
                format_mean(result.per_room[0]),
                format_mean(result.per_room_difference, sign="+"),
                format_mean(result.pooled[0]),
                format_mean(result.difference, sign="+"),
                seeds,
            ]
        )
        paper = method.paper if not suffix else ()
        pooled.append([label, *(format_mean(result.pooled[k]) for k in deltas), " ".join(f"{x:.4f}" for x in paper)])
        own = rows[rows["run"] == name]
        if len(own):
            costs.append(
                [
                    label,
                    method.source,
                    f"{int(own['parameters'].max()):,}",
                    f"{own['ms_per_segment'].mean():.3f}",
                    f"{own['learning_rate'].iloc[0]:g}",
                    f"{own['precision'].mean():.4f}" if own["precision"].notna().all() else "",
                ]
            )
    task = open_task(config.dataset)
    info = task.segments.info
    history = int(rows["rooms_with_history"].max()) if len(rows) else 0
    inputs = "pictures, text, the streamer" + ", activity of chat and speech" * config.activity
    sections = [
        "# Table I: KuaiHL and rival methods",
        f"Kendall's tau-b of {info.target} on {len(task.labels(task.test)):,} segments of {len(task.test)} test rooms: "
        "mean over seeds with its 95 % interval (Student's t). Differences are to KuaiHL, paired by seed; above 0: "
        f"KuaiHL is worse. Dataset: {info.source}.",
        f"All rows read {inputs} in the same windows of 20 segments, and train on the same rooms, windows and seeds, "
        f"up to {config.epochs} epochs of {config.epoch_share:.0%} of the windows, with early stopping by validation "
        f"tau. Tuned: the learning rate, of {', '.join(f'{rate:g}' for rate in config.learning_rates)}, for each row. "
        f"Personal history (rows Adaptive-H-FCSN, PR-Net, PAC-Net, ShowMe, PHD-GIFs): "
        + (f"{history} of {len(task.test)} test rooms have one." if history else "not used, no test room has one."),
        format_table(["", "tau per room", "difference", "tau pooled", "difference", "seeds"], per_room),
        "Pooled tau of the segments with a true label above Delta; the paper's numbers are on its own data.",
        format_table(["", *(f"Delta {DELTAS[k]}" for k in deltas), "paper"], pooled),
        "CPU time is from features on. KuaiHL encodes a segment once, the others once in each window of 20.",
        format_table(["", "follows", "parameters", "ms per segment", "learning rate", "mAP (PHD)"], costs),
    ]
    return "\n\n".join(sections) + "\n"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with plain_errors():
        make_table(tyro.cli(Table1Config, prog="python -m train.experiments.table1", description=__doc__))
