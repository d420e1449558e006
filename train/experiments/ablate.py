"""Trains every row of a table with several seeds: Tables II and III of the paper, what goes beyond, and participation.

Run as `python -m train.experiments.ablate table2|table3|beyond|participation ...`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from kuaihl.errors import LabelError
from kuaihl.model.kuaihl import load
from train.command import plain_errors
from train.data.participation import TARGET
from train.dataset import DATASET_FILE, Segments, read_info
from train.experiments.comparison import Finished, Line, LineResult, compare, markdown, time_left_s
from train.fit import FitConfig, fit
from train.metrics import taus
from train.run_state import STATE_FILE, settings_of
from train.scoring import score
from train.splits import select_rooms

ROWS_FOLDER, RUNS_FOLDER = "rows", "runs"
PLAIN = {"activity": False, "words": False, "word_shares": False, "speech_text": False, "recurrent": ()}
"""What the paper does not have, and the rows of its tables do without."""
CHAT = {"activity": True, "words": True, "recurrent": (TARGET,), "pair_weight": (0.0,), "align_weight": 0.0}
"""What trainings on chat alone have in common."""
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
"""What each training changes of the settings that all share, by name. Tables share trainings."""

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
        Line("without visual", "no-visual", 0.5489),
    ),
    "beyond": (
        Line("KuaiHL: n = 20, sigma = 1", "full"),
        Line("with activity tokens", "activity"),
        Line("with activity tokens and words", "words"),
        Line("with a recurrent layer", "recurrent"),
        Line("n = 5", "window-5"),
        Line("n = 10", "window-10"),
        Line("n = 40", "window-40"),
        Line("sigma = 3", "sigma-3"),
        Line("sigma = 10", "sigma-10"),
        Line("sigma = 30", "sigma-30"),
        Line("without modality dropout", "no-dropout"),
        Line("no pictures at test", "full", missing="pictures"),
        Line("no pictures at test, without modality dropout", "no-dropout", missing="pictures", against=11),
        Line("no speech at test", "full", missing="speech"),
        Line("no speech at test, without modality dropout", "no-dropout", missing="speech", against=13),
        Line("no comments at test", "full", missing="comments"),
        Line("no comments at test, without modality dropout", "no-dropout", missing="comments", against=15),
    ),
    "participation": (
        Line("KuaiHL: activity and words, n = 20", "chat"),
        Line("activity alone", "chat-activity"),
        Line("words alone", "chat-words"),
        Line("without the recurrent layer", "chat-attention"),
        Line("with the pairwise loss", "chat-pair"),
        Line("n = 10", "chat-window-10"),
        Line("n = 40", "chat-window-40"),
    ),
}
_TITLES = {
    "table2": "Table II: losses",
    "table3": "Table III: modalities",
    "beyond": "Beyond the paper: activity tokens, words, recurrent layer, window, sigma, modality dropout",
    "participation": "Participation: what is read, and how",
}


@dataclass(frozen=True)
class AblateConfig:
    """Which table, and what all its rows have in common.

    Attributes
    ----------
    table
        table2: losses. table3: modalities. beyond: what the paper does not compare. participation: real chat, alone.
    dataset
        Folder that train.prepare or train.simulator wrote.
    out
        Folder for the results: a small JSON for each finished training, and the tables. Work that was stopped goes on,
        and tables share what they have in common.
    runs
        Folder for curves and checkpoints; ``runs`` in ``out`` if not given.
    seeds
        How many trainings a row: the whole table with seed 0, then with seed 1, and so on.
    epoch_share
        Share of the windows that an epoch draws.
    preset, dropout, epochs, batch_size, learning_rate, weight_decay, warmup_steps, align_weight, pair_weight,
    streamer_dropout, modality_dropout, patience
        As for train.fit, for all rows alike but for what a row is about. Tokens of activity and words and the
        recurrent layer are off where pictures are read, on for participation.
    threads, processes
        Threads of the processor for each training, and how many are trained at once.
    """

    table: tyro.conf.Positional[Literal["table2", "table3", "beyond", "participation"]]
    dataset: Path
    out: Path
    runs: Path | None = None
    seeds: int = 5
    preset: Literal["compact", "paper", "debug"] = "compact"
    epoch_share: float = 1.0
    dropout: float | None = FitConfig.dropout
    epochs: int = FitConfig.epochs
    batch_size: int = FitConfig.batch_size
    learning_rate: float = FitConfig.learning_rate
    weight_decay: float = FitConfig.weight_decay
    warmup_steps: int = FitConfig.warmup_steps
    align_weight: float = FitConfig.align_weight
    pair_weight: float = FitConfig.pair_weight[0]
    streamer_dropout: float = FitConfig.streamer_dropout
    modality_dropout: float = FitConfig.modality_dropout
    patience: int = FitConfig.patience
    threads: int = 1
    processes: int = 1


def ablate(config: AblateConfig) -> list[LineResult]:
    """Train what a table still lacks; the table is written anew after each training.

    Raises
    ------
    LabelError
        ``out`` holds trainings with another dataset or other settings, or the dataset lacks a split.
    """
    select_rooms(Segments(config.dataset), "test")  # before hours of training rather than after
    torch.set_num_threads(config.threads)
    (config.out / ROWS_FOLDER).mkdir(parents=True, exist_ok=True)
    runs = dict.fromkeys(line.run for line in TABLES[config.table])
    finished: dict[tuple[str, int], Finished] = {}
    missing: list[tuple[str, int]] = []
    for seed in range(config.seeds):
        for run in runs:
            if row := _read(config, run, seed):
                finished[run, seed] = row
            else:
                missing.append((run, seed))
    results, text = _write_table(config, finished)
    for row in _trained(config, missing):
        finished[row.run, row.seed] = row
        missing.remove((row.run, row.seed))
        results, text = _write_table(config, finished)
        left_s = time_left_s(finished.values(), [run for run, _ in missing]) / config.processes
        hours, minutes = divmod(round(left_s / 60), 60)
        print(f"trainings to go: {len(missing)}, about {hours} h {minutes} min", flush=True)
        if missing and all(seed > row.seed for _, seed in missing):
            print(f"\n{text}", flush=True)
    print(text)
    return results


def _trained(config: AblateConfig, missing: Sequence[tuple[str, int]]) -> Iterator[Finished]:
    """Train what is missing, as many at once as there are processes."""
    if config.processes == 1:
        yield from (_train(config, run, seed) for run, seed in tuple(missing))
        return
    with ProcessPoolExecutor(config.processes, get_context("spawn"), torch.set_num_threads, (config.threads,)) as pool:
        for training in as_completed([pool.submit(_train, config, run, seed) for run, seed in missing]):
            yield training.result()


def fit_config(config: AblateConfig, run: str, seed: int) -> FitConfig:
    """Settings of one training: those shared, then what the run is about."""
    known = {field.name for field in fields(FitConfig)}
    shared = {name: value for name, value in vars(config).items() if name in known}
    folder = (config.runs or config.out / RUNS_FOLDER) / f"{run}-seed{seed}"
    return FitConfig(
        **shared
        | {"dataset": (config.dataset,), "out": folder, "seed": seed, "pair_weight": (config.pair_weight,)}
        | {"epoch_share": (config.epoch_share,), **PLAIN, **RUNS[run]}
    )


def _train(config: AblateConfig, run: str, seed: int) -> Finished:
    """Train, test, and write the JSON; the state to go on from is not needed any more then."""
    print(f"{run}, seed {seed}", flush=True)
    settings = fit_config(config, run, seed)
    model, _ = load(fit(settings))
    segments = Segments(config.dataset)
    rooms = select_rooms(segments, "test")
    test = {}
    for missing in sorted({line.missing for table in TABLES.values() for line in table if line.run == run}):
        scores = score(model, segments, rooms, without={*settings.without, missing} - {""})
        test[missing] = [asdict(tau) for tau in taus(scores.predicted, scores.true, scores.room)]
    state = settings.out / STATE_FILE
    progress = torch.load(state, weights_only=True)["progress"]
    row = Finished(
        run=run,
        seed=seed,
        settings=_settings(settings),
        dataset_sha256=_dataset_sha256(config.dataset),
        torch=torch.__version__,
        epochs=progress["epoch"],
        best_epoch=progress["best_epoch"],
        validation_tau=progress["best_tau"],
        seconds=round(progress["seconds"], 1),
        test=test,
    )
    _write(_file(config, run, seed), json.dumps(asdict(row), indent=1) + "\n")
    state.unlink()
    return row


def _read(config: AblateConfig, run: str, seed: int) -> Finished | None:
    """Read a finished training, if there is one, and refuse another's: a table compares like with like."""
    file = _file(config, run, seed)
    if not file.exists():
        return None
    try:
        row = Finished(**json.loads(file.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise LabelError(f"{file} is damaged ({error}): delete it, and its training is done again.") from error
    settings = _settings(fit_config(config, run, seed))
    # An option that was new after the row was trained had its default then.
    was = {**_settings(FitConfig((config.dataset,), config.out)), **row.settings}
    changed = [name for name in was if was[name] != settings.get(name)]
    if row.dataset_sha256 != _dataset_sha256(config.dataset):
        changed.append("dataset")
    if changed:
        raise LabelError(
            f"{file} was trained with other settings ({', '.join(changed)}): repeat those, or choose another --out."
        )
    return row


def _write_table(config: AblateConfig, finished: Mapping[tuple[str, int], Finished]) -> tuple[list[LineResult], str]:
    """Write the table as JSON and Markdown, and return both."""
    results = compare(TABLES[config.table], finished)
    source = read_info(config.dataset).source
    text = markdown(results, title=_TITLES[config.table], source=source, seeds=config.seeds)
    report = {
        "dataset": source,
        "dataset_sha256": _dataset_sha256(config.dataset),
        "seeds": config.seeds,
        "lines": [asdict(result) for result in results],
    }
    _write(config.out / f"{config.table}.md", text)
    _write(config.out / f"{config.table}.json", json.dumps(report, indent=1) + "\n")
    return results, text


def _settings(config: FitConfig) -> dict[str, Any]:
    """What decides a training but for the data, as JSON knows it: no folders, which are of one machine."""
    return settings_of(config, ignored=("dataset", "out", "workers", "log_every", "save_every"))


def _dataset_sha256(dataset: Path) -> str:
    return hashlib.sha256((dataset / DATASET_FILE).read_bytes()).hexdigest()


def _file(config: AblateConfig, run: str, seed: int) -> Path:
    return config.out / ROWS_FOLDER / f"{run}-seed{seed}.json"


def _write(file: Path, text: str) -> None:
    part = file.with_name(f"{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


if __name__ == "__main__":
    config = tyro.cli(AblateConfig, prog="python -m train.experiments.ablate", description=__doc__)
    with plain_errors():
        ablate(config)
