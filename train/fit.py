"""The training loop: a dataset in, a checkpoint out. Run as `python -m train.fit --dataset DIR --out DIR`."""

import json
import math
import shutil
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from kuaihl.activity import CHAT_COLUMNS
from kuaihl.alignment import alignment_loss
from kuaihl.errors import LabelError
from kuaihl.model import PRESETS, KuaiHL, Output
from kuaihl.ranking import Region, pairwise_loss, pointwise_loss
from train.console import plain_errors
from train.dataset import ENCODER_FILES, Batch, Room, Segments, Windows, first, read_info
from train.evaluate import rooms_of, score
from train.metrics import taus

STATE_FILE = "last.pt"
LOG_FILE = "fit.json"
_SAVE_EVERY_STEPS = 200
_LOG_EVERY_STEPS = 20


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Attributes
    ----------
    dataset
        Folder that train.prepare or train.simulator wrote.
    out
        Folder for the checkpoint, the curves and the state. An interrupted run goes on from its last state.
    preset
        Sizes of the model.
    activity
        Whether the model has the two activity tokens; the preset's choice if not given.
    dropout
        Share of activations dropped; the preset's if not given.
    epochs
        How often each window is seen at most.
    batch
        Windows a step.
    rate, decay, warmup, clip
        AdamW's peak learning rate and weight decay, steps of linear warm-up before the cosine, largest gradient norm.
    point, align, pair
        Weights of the three losses (Eq. 13).
    region, sigma
        Which pairs count in the pairwise loss, and its scale.
    positive
        What the alignment loss takes for the right order.
    streamer_dropout, modality_dropout
        Share of windows with the streamer unknown; chance of each modality to be masked.
    patience
        Stop after so many epochs without a better validation tau.
    seed
        Fixes everything.
    """

    dataset: Path
    out: Path
    preset: Literal["compact", "paper", "debug"] = "compact"
    activity: bool | None = None
    dropout: float | None = None
    epochs: int = 10
    batch: int = 64
    rate: float = 5e-4
    decay: float = 0.05
    warmup: int = 100
    clip: float = 1.0
    point: float = 1.0
    align: float = 0.01
    pair: float = 1.0
    region: Region = "border"
    sigma: float = 1.0
    positive: Literal["swap", "plain"] = "swap"
    streamer_dropout: float = 0.1
    modality_dropout: float = 0.1
    patience: int = 3
    seed: int = 0


@dataclass
class Progress:
    """Where a run is."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best_tau: float = -math.inf
    best_epoch: int = 0


def fit(config: FitConfig) -> Path:
    """Train; the best checkpoint by validation tau is in the folder returned.

    Raises
    ------
    LabelError
        The dataset has no training or validation rooms, or ``out`` holds a run with other settings.
    """
    accelerator = Accelerator()
    set_seed(config.seed)
    segments = Segments(config.dataset)
    train_rooms, validation_rooms = rooms_of(segments, "train"), rooms_of(segments, "validation")
    model = build(config, segments, train_rooms)
    windows = Windows(
        segments,
        train_rooms,
        model.config,
        streamer_dropout=config.streamer_dropout,
        modality_dropout=config.modality_dropout,
        seed=config.seed,
    )
    optimizer = torch.optim.AdamW(_groups(model, config.decay), lr=config.rate, betas=(0.9, 0.98))
    model, optimizer = accelerator.prepare(model, optimizer)
    inner = accelerator.unwrap_model(model)
    progress = _resume(config, inner, optimizer)
    steps_per_epoch = math.ceil(len(windows) / config.batch)
    main_process = accelerator.is_main_process
    curves = SummaryWriter(str(config.out / "curves"), purge_step=progress.step) if main_process else None
    began = time.monotonic() - progress.seconds

    while progress.epoch < config.epochs and progress.epoch - progress.best_epoch <= config.patience:
        windows.epoch = progress.epoch
        order = np.random.default_rng((config.seed, progress.epoch)).permutation(len(windows))
        batches = [order[i : i + config.batch].tolist() for i in range(0, len(order), config.batch)]
        loader = DataLoader(
            windows,
            batch_sampler=batches[progress.step_in_epoch :],
            collate_fn=first,
            generator=torch.Generator(),  # its own: the global one must not notice where a run was resumed
        )
        model.train()
        sums, taken = defaultdict(float), 0
        hidden = not (main_process and sys.stderr.isatty())
        for batch in tqdm(accelerator.prepare(loader), desc=f"epoch {progress.epoch + 1}", disable=hidden):
            _set_rate(optimizer, config, progress.step, steps_per_epoch * config.epochs)
            losses = loss_terms(model(batch.features), batch, config)
            total = config.point * losses["point"] + config.align * losses["align"] + config.pair * losses["pair"]
            optimizer.zero_grad()
            accelerator.backward(total)
            accelerator.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            progress.step, progress.step_in_epoch, taken = progress.step + 1, progress.step_in_epoch + 1, taken + 1
            progress.seconds = time.monotonic() - began
            for name, value in losses.items():
                sums[name] += value.item()
                if curves and progress.step % _LOG_EVERY_STEPS == 0:
                    curves.add_scalar(f"loss/{name}", value.item(), progress.step)
            if main_process and progress.step % _SAVE_EVERY_STEPS == 0:
                _save_state(config, inner, optimizer, progress)

        scores = score(inner.eval(), segments, validation_rooms)
        tau = taus(scores.predicted, scores.true, scores.room, deltas=[None])[0].pooled or 0.0
        progress.epoch, progress.step_in_epoch = progress.epoch + 1, 0
        better = tau > progress.best_tau
        if better:
            progress.best_tau, progress.best_epoch = tau, progress.epoch
        if curves:
            means = ", ".join(f"{name} {value / max(taken, 1):.4f}" for name, value in sums.items())
            print(f"epoch {progress.epoch}: {means}; validation tau {tau:.4f}{' *' if better else ''}", flush=True)
            curves.add_scalar("validation/tau", tau, progress.step)
            if better:
                _save_checkpoint(config, inner, progress, windows=len(windows))
            _save_state(config, inner, optimizer, progress)
    return config.out / "checkpoint"


def build(config: FitConfig, segments: Segments, rooms: list[Room]) -> KuaiHL:
    """A new model for a dataset: its encoders and streamers, activity scaled by statistics of the training rooms."""
    info = segments.info
    preset = PRESETS[config.preset]
    model = KuaiHL(
        replace(
            preset,
            activity=preset.activity if config.activity is None else config.activity,
            dropout=preset.dropout if config.dropout is None else config.dropout,
            visual_encoder=info.visual_encoder,
            picture_dim=info.picture_dim,
            text_encoder=info.text_encoder,
            text_dim=info.text_dim,
            streamers=tuple(sorted({room.streamer for room in rooms})),
            target=info.target,
            trained_on=info.source,
        )
    )
    labels = np.concatenate(
        [segments.scalar("label", r.start, r.stop)[segments.scalar("valid", r.start, r.stop)] for r in rooms]
    )
    if not len(labels):
        raise LabelError(f"{config.dataset} has no labelled segment in its training rooms.")
    mean = float(np.clip(labels.mean(), 1e-3, 1 - 1e-3))
    nn.init.constant_(model.head.bias, math.log(mean / (1 - mean)))
    if model.config.activity:
        activity = np.concatenate([segments.array("activity", r.start, r.stop) for r in rooms])
        chat, speech = np.split(activity, [len(CHAT_COLUMNS)], axis=1)
        for name, values in (("chat", chat), ("speech", speech)):
            getattr(model, f"{name}_mean").copy_(torch.from_numpy(values.mean(0)))
            getattr(model, f"{name}_std").copy_(torch.from_numpy(values.std(0).clip(min=1e-3)))
    return model


def loss_terms(output: Output, batch: Batch, config: FitConfig) -> dict[str, Tensor]:
    """The three terms of Eq. 13, unweighted, by name."""
    draws = [torch.Generator().manual_seed(int(seed)) for seed in batch.seeds]
    return {
        "point": pointwise_loss(output.lvtr, batch.label, valid=batch.labelled),
        "align": alignment_loss(
            output.tokens.text,
            output.tokens.pictures,
            positive=config.positive,
            valid=_alignable(batch),
            generator=draws,
        ),
        "pair": pairwise_loss(output.lvtr, batch.label, region=config.region, sigma=config.sigma, valid=batch.labelled),
    }


def _alignable(batch: Batch) -> Tensor:
    """(batch, segments) bool: a window where pictures or text are masked has nothing to align."""
    features = batch.features
    both = features.has_pictures & (features.has_speech | features.has_comments)
    return batch.valid & (both | ~batch.valid).all(-1, keepdim=True)


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices only, as is usual: not for biases, norms and embeddings."""
    matrices = [p for n, p in model.named_parameters() if p.ndim > 1 and not n.startswith(("streamer", "token_kind"))]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _set_rate(optimizer: torch.optim.Optimizer, config: FitConfig, step: int, steps: int) -> None:
    """Linear warm-up, then half a cosine down to 0."""
    warm = min((step + 1) / config.warmup, 1.0)
    rate = config.rate * warm * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
    for group in optimizer.param_groups:
        group["lr"] = rate


def _settings(config: FitConfig) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items() if k != "out"}


def _command(config: FitConfig) -> str:
    """The command that trains the same, with the names of folders alone, for the model card."""
    default = FitConfig(config.dataset, config.out)
    changed = {k: v for k, v in asdict(config).items() if v != getattr(default, k)}
    flags = [f"--{name.replace('_', '-')} {value}" for name, value in changed.items()]
    return " ".join([f"python -m train.fit --dataset {config.dataset.name} --out {config.out.name}", *flags])


def _save_state(config: FitConfig, model: KuaiHL, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Everything that goes on from here bit for bit, written whole or not at all."""
    state = {
        "settings": _settings(config),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "progress": asdict(progress),
    }
    torch.save(state, config.out / f"{STATE_FILE}.part")
    (config.out / f"{STATE_FILE}.part").replace(config.out / STATE_FILE)


def _resume(config: FitConfig, model: KuaiHL, optimizer: torch.optim.Optimizer) -> Progress:
    """Go on from the last state in ``out``, if there is one."""
    config.out.mkdir(parents=True, exist_ok=True)
    file = config.out / STATE_FILE
    if not file.exists():
        return Progress()
    state = torch.load(file, weights_only=True)
    if state["settings"] != _settings(config):
        changed = [k for k, v in _settings(config).items() if state["settings"].get(k) != v]
        raise LabelError(f"{config.out} holds a run with other settings ({', '.join(changed)}): choose another --out.")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return Progress(**state["progress"])


def _save_checkpoint(config: FitConfig, model: KuaiHL, progress: Progress, *, windows: int) -> None:
    """Write ``out/checkpoint``: float16 weights, the visual encoder of the dataset, and how it was trained."""
    final, part = config.out / "checkpoint", config.out / "checkpoint.part"
    shutil.rmtree(part, ignore_errors=True)
    copy = KuaiHL(model.config)
    copy.load_state_dict(model.state_dict())
    copy.half().save_pretrained(part)
    for name in ENCODER_FILES:
        if (file := config.dataset / name).exists():
            shutil.copyfile(file, part / name)
    log = {
        "command": _command(config),
        "dataset": asdict(read_info(config.dataset)),
        "windows": windows,
        "torch": torch.__version__,
        **asdict(progress),
    }
    (part / LOG_FILE).write_text(json.dumps(log, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)


if __name__ == "__main__":
    config = tyro.cli(FitConfig, description=__doc__)
    with plain_errors():
        print(f"checkpoint in {fit(config)}")
