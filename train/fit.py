"""Train a checkpoint: `python -m train.fit --dataset DIR --out DIR`.

Several datasets with different targets, each with its own --dataset, train one model with a head for each target.
Several processes share each batch, and take the same steps as one, except for dropout:
`torchrun --nproc_per_node 2 -m train.fit ...`, or on GPUs `accelerate launch -m train.fit ...`.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object, set_seed
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn
from torch.optim.lr_scheduler import ChainedScheduler, CosineAnnealingLR, LinearLR
from tqdm import tqdm

from kuaihl.errors import LabelError
from kuaihl.model.config import PRESETS
from kuaihl.model.kuaihl import KuaiHL, Output
from train.command import command_line, plain_errors
from train.dataset import Batch, Windows
from train.init_model import model_from, new_model
from train.losses import MIN_ALIGNED_SEGMENTS, Region, alignment_loss, pairwise_loss, pointwise_loss
from train.metrics import taus
from train.mixture import Mixture, TrainingSet, open_training_sets, read_batches
from train.run_state import CHECKPOINT_FOLDER, Curves, Run, settings_of
from train.scoring import score

TERMS = ("point", "align", "pair")
"""The losses of Eq. 13, in the order of every tensor of losses."""
_NO_SETTINGS = ("out", "workers", "log_every", "save_every")
"""Options that may change when a run is resumed."""


@dataclass(frozen=True)
class FitConfig:
    """How to train."""

    dataset: tyro.conf.UseAppendAction[tuple[Path, ...]]
    """Folder that train.prepare wrote; repeatable, one for each target."""
    out: Path
    """Folder for the checkpoint, the curves and the state. An interrupted run continues."""
    init: Path | None = None
    """Checkpoint to start from. It keeps its sizes; streamers and targets that it lacks are added. The features of the
    datasets must be of its encoders."""
    epoch_share: tuple[float, ...] = ()
    """Share of the windows of each dataset that an epoch draws; all by default."""
    left_out: tuple[str, ...] = ()
    """Streamers to hold out for testing, with the same option of train.evaluate."""
    preset: Literal["compact", "paper", "debug"] = "compact"
    """Sizes of a new model."""
    activity: bool | None = None
    """Use the activity tokens. This and the next six options default to those of the preset."""
    words: bool | None = None
    """Use the token of word counts."""
    word_shares: bool | None = None
    """Use the token of the shares of comments with each word."""
    speech_text: bool | None = None
    """Use the token of the text of speech alone."""
    recurrent: tuple[str, ...] | None = None
    """Targets with a recurrent layer before the decoder."""
    window: int | None = None
    """Segments that a prediction looks back on."""
    dropout: float | None = None
    """Dropout in the model."""
    without: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Input to exclude in training and ever after: pictures, speech, comments, words or streamer; for one target as
    lvtr:words. Repeatable."""
    epochs: int = 10
    """Maximum number of epochs."""
    batch_size: int = 64
    """Windows in a step, over all processes."""
    learning_rate: float = 5e-4
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.05
    """Weight decay of matrices, but embeddings."""
    word_weight_decay: float = 3.0
    """Weight decay of the word embeddings."""
    warmup_steps: int = 100
    """Steps of linear warm-up; a cosine takes the learning rate to 0."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    point_weight: float = 1.0
    """Weight of the pointwise loss (Eq. 13)."""
    align_weight: float = 0.01
    """Weight of the alignment loss."""
    pair_weight: tuple[float, ...] = (1.0,)
    """Weight of the pairwise loss: one for all datasets, or one for each."""
    region: Region = "border"
    """Pairs of the pairwise loss."""
    sigma: float = 1.0
    """Scale of the pairwise loss."""
    positive: Literal["swap", "plain"] = "swap"
    """The positive order of the alignment loss."""
    streamer_dropout: float = 0.1
    """Share of windows with the streamer unknown."""
    modality_dropout: float = 0.1
    """Probability to mask each modality of a window."""
    patience: int = 3
    """Stop after this many epochs without a better validation tau, the mean over targets."""
    bf16: bool = False
    """Compute in bfloat16 where that is safe: faster on hardware that supports it."""
    seed: int = 0
    """Seed of all random numbers."""
    workers: int = 0
    """Processes that read batches ahead."""
    log_every: int = 20
    """Steps between points of the curves."""
    save_every: int = 200
    """Steps between saved states."""


def fit(config: FitConfig) -> Path:
    """Train; return the folder of the best checkpoint by validation tau, the mean over targets.

    Raises
    ------
    LabelError
        The datasets do not belong together, or one has no rooms or labels for training or validation; ``out`` has a
        run with other settings; ``init`` does not fit the settings.
    CheckpointError
        ``init`` is not a checkpoint, or one of other encoders than those of the datasets.
    """
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available() and not torch.backends.mps.is_available(),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],  # a target may not use them all
    )
    set_seed(config.seed)
    with accelerator.main_process_first():  # which creates the memory map
        sets = open_training_sets(config.dataset, left_out=config.left_out)
    model = build_model(config, sets)
    windows = _training_windows(config, sets, model)
    steps = windows.count_batches(config.batch_size) * config.epochs
    optimizer, schedule = build_optimizer(config, model, steps=steps)
    run = Run(config.out, settings_of(config, ignored=_NO_SETTINGS), model, optimizer, schedule)
    parallel, optimizer = accelerator.prepare(model, optimizer)
    progress = run.resume()
    curves = Curves(config.out / "curves", after=progress.step) if accelerator.is_main_process else None
    prefixes = [f"{data.target}/" if len(sets) > 1 else "" for data in sets]
    start_s = time.monotonic() - progress.seconds

    while progress.epoch < config.epochs and progress.epoch - progress.best_epoch < max(config.patience, 1):
        batches = windows.draw_batches(config.batch_size, epoch=progress.epoch, seed=config.seed)
        batches = batches[progress.step_in_epoch :]
        sums = torch.zeros(len(sets), len(TERMS), device=accelerator.device)
        model.train()
        for batch in tqdm(
            _read_batches(windows, batches, config, accelerator),
            f"epoch {progress.epoch + 1}",
            len(batches),
            disable=not (curves and sys.stderr.isatty()),
        ):
            torch.manual_seed(_seed_of(config.seed, progress.step, accelerator.process_index))
            learning_rate = schedule.get_last_lr()[0]
            losses, norm = take_step(parallel, optimizer, batch, config, accelerator)
            schedule.step()
            sums[batch.target] += losses
            progress.step, progress.step_in_epoch = progress.step + 1, progress.step_in_epoch + 1
            progress.seconds = time.monotonic() - start_s
            if progress.step % config.log_every == 0:
                losses = accelerator.reduce(losses, "sum")
                if curves:
                    points = _name_losses(f"{prefixes[batch.target]}loss/", losses)
                    points |= {"train/learning_rate": learning_rate, "train/gradient_norm": norm}
                    curves.add(progress.step, points)
            if curves and progress.step % config.save_every == 0:
                run.save_state(progress)

        validations = {data.target: validate(config, model.eval(), data, accelerator) for data in sets}
        steps_of = np.bincount([batch[0][0] for batch in batches], minlength=len(sets)).clip(min=1)
        means = accelerator.reduce(sums, "sum").cpu() / torch.from_numpy(steps_of)[:, None]
        is_best = progress.end_epoch({target: validation.tau for target, validation in validations.items()})
        if curves:
            print(_describe_epoch(progress.epoch, means, validations) + " *" * is_best, flush=True)
            curves.add(progress.step, _validation_points(prefixes, [*validations.values()]))
            if is_best:  # before the state, so that a run killed in between writes it again
                command = command_line("python -m train.fit", config)
                run.save_checkpoint(progress, datasets=config.dataset, command=command, windows=len(windows))
            run.save_state(progress)
    if curves:
        curves.close()
        print(f"ended after {progress.epoch} of {config.epochs} epochs; the best was epoch {progress.best_epoch}")
    accelerator.wait_for_everyone()
    return config.out / CHECKPOINT_FOLDER


def build_model(config: FitConfig, sets: Sequence[TrainingSet]) -> KuaiHL:
    """Create a model for datasets, or load ``config.init`` and add what it lacks."""
    names = ("activity", "words", "word_shares", "speech_text", "recurrent", "window", "dropout")
    changes = {name: value for name in names if (value := getattr(config, name)) is not None}
    if config.init is not None:
        return model_from(config.init, sets, without=config.without, changes=changes)
    return new_model(sets, config=replace(PRESETS[config.preset], **changes), without=config.without)


def build_optimizer(config: FitConfig, model: KuaiHL, *, steps: int) -> tuple[torch.optim.Optimizer, ChainedScheduler]:
    """Create AdamW and its schedule: linear warm-up times a cosine to 0 after ``steps``.

    Only matrices have weight decay: not biases, norms and embeddings. Words have their own.
    """
    groups = param_groups_weight_decay(
        model, config.weight_decay, no_weight_decay_list=("streamer.*", "token_kind", "words.*")
    )
    if (words := dict(model.named_parameters()).get("words.weight")) is not None:
        groups[0]["params"] = [parameter for parameter in groups[0]["params"] if parameter is not words]
        groups.append({"params": [words], "weight_decay": config.word_weight_decay})
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)
    warmup = LinearLR(optimizer, 1 / config.warmup_steps, total_iters=config.warmup_steps - 1)
    return optimizer, ChainedScheduler([warmup, CosineAnnealingLR(optimizer, steps)])


def take_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, config: FitConfig, accelerator: Accelerator
) -> tuple[Tensor, Tensor]:
    """Take one step with this process's share of a batch, as if one process had the whole batch.

    Returns
    -------
    What this process adds to the losses of the batch (as in `TERMS`), and the norm of the whole gradient.
    """
    with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=config.bf16):
        output = model(batch.features, target=batch.target)
    terms, counts = loss_terms(output, batch, config)
    losses = terms * counts / accelerator.reduce(counts, "sum").clamp(min=1)  # every window has the same weight
    pair_weight = config.pair_weight[batch.target if len(config.pair_weight) > 1 else 0]
    weights = (config.point_weight, config.align_weight, pair_weight)
    optimizer.zero_grad()
    # Accelerate averages gradients over processes.
    accelerator.backward((torch.tensor(weights, device=losses.device) * losses).sum() * accelerator.num_processes)
    norm = accelerator.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    optimizer.step()
    return losses.detach(), norm


@dataclass(frozen=True, slots=True)
class Validation:
    """Tau over all rooms, and losses (as in `TERMS`) over windows that do not overlap, of all processes."""

    tau: float
    losses: Tensor


@torch.no_grad()
def validate(config: FitConfig, model: KuaiHL, data: TrainingSet, accelerator: Accelerator) -> Validation:
    """Score the validation rooms of a dataset, which the processes share."""
    segments, rooms = data.segments, data.validation
    own = rooms[accelerator.process_index :: accelerator.num_processes]
    scores = gather_object([score(model, segments, own)] if own else [])
    predicted, true, room = (
        np.concatenate([getattr(s, name) for s in scores]) for name in ("predicted", "true", "room")
    )
    tau = taus(predicted, true, room, deltas=[None])[0].pooled or 0.0
    windows = Windows(segments, rooms, model.config, streamer_dropout=0.0, modality_dropout=0.0, seed=config.seed)
    indices = [(0, index) for index in windows.disjoint().tolist()]
    batches = [indices[i : i + config.batch_size] for i in range(0, len(indices), config.batch_size)]
    sums, counts = torch.zeros(2, len(TERMS), device=accelerator.device)
    for batch in _read_batches(Mixture([windows], shares=[1.0]), batches, config, accelerator):
        terms, count = loss_terms(model(batch.features, target=batch.target), batch, config)
        sums, counts = sums + terms * count, counts + count
    return Validation(tau, accelerator.reduce(sums, "sum") / accelerator.reduce(counts, "sum").clamp(min=1))


def loss_terms(output: Output, batch: Batch, config: FitConfig) -> tuple[Tensor, Tensor]:
    """Return the unweighted losses, and the number of windows that each is a mean over; both as in `TERMS`."""
    both = batch.features.mask("pictures") & batch.features.mask("text")  # otherwise there is nothing to align
    alignable = batch.segment_mask & (both | ~batch.segment_mask).all(-1, keepdim=True)
    align = output.scores.new_zeros(())
    if config.align_weight and alignable.any():
        align = alignment_loss(
            output.tokens.text.float(),
            output.tokens.pictures.float(),
            positive=config.positive,
            mask=alignable,
            generator=[torch.Generator().manual_seed(seed) for seed in batch.seeds.tolist()],
        )
    point = pointwise_loss(output.scores, batch.label, mask=batch.label_mask)
    pair = pairwise_loss(output.scores, batch.label, region=config.region, sigma=config.sigma, mask=batch.label_mask)
    windows = batch.segment_mask.any(-1).sum()
    aligned = (alignable.sum(-1) >= MIN_ALIGNED_SEGMENTS).sum()
    return torch.stack([point, align, pair]), torch.stack([windows, aligned, windows])


def _training_windows(config: FitConfig, sets: Sequence[TrainingSet], model: KuaiHL) -> Mixture:
    shares = config.epoch_share or (1.0,) * len(sets)
    if len(shares) != len(sets) or not all(0 < share <= 1 for share in shares):
        raise LabelError(
            f"--epoch-share needs a number above 0, at most 1, for each of {len(sets)} datasets: {shares}."
        )
    if len(config.pair_weight) not in (1, len(sets)):
        raise LabelError(f"--pair-weight needs one number, or one for each of {len(sets)} datasets.")
    windows = [
        Windows(
            data.segments,
            data.train,
            model.config,
            streamer_dropout=config.streamer_dropout,
            modality_dropout=config.modality_dropout,
            seed=config.seed,
        )
        for data in sets
    ]
    return Mixture(windows, shares=shares)


def _read_batches(
    windows: Mixture, batches: Sequence[Sequence[tuple[int, int]]], config: FitConfig, accelerator: Accelerator
) -> Iterator[Batch]:
    process, processes = accelerator.process_index, accelerator.num_processes
    for batch in read_batches(windows, batches, process=process, processes=processes, workers=config.workers):
        yield batch.to(accelerator.device)


def _seed_of(*numbers: int) -> int:
    """Return a seed for these numbers: dropout depends on seed, step and process, not on what ran before."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _name_losses(prefix: str, losses: Tensor) -> dict[str, float]:
    return {f"{prefix}{name}": value for name, value in zip(TERMS, losses.tolist(), strict=True)}


def _validation_points(prefixes: Sequence[str], validations: Sequence[Validation]) -> dict[str, float]:
    points = {"validation/tau": float(np.mean([validation.tau for validation in validations]))}
    for prefix, validation in zip(prefixes, validations, strict=True):
        points |= _name_losses(f"{prefix}validation/", validation.losses)
        points[f"{prefix}validation/tau"] = validation.tau
    return points


def _describe_epoch(epoch: int, means: Tensor, validations: Mapping[str, Validation]) -> str:
    """Return mean losses and validation taus of an epoch for people."""
    lines = []
    for (target, validation), losses in zip(validations.items(), means, strict=True):
        values = ", ".join(f"{name} {value:.4f}" for name, value in _name_losses("", losses).items())
        lines.append(f"{target}: {values}; validation tau {validation.tau:.4f}")
    return f"epoch {epoch}: " + " | ".join(lines)


if __name__ == "__main__":
    config = tyro.cli(FitConfig, description=__doc__)
    with plain_errors():
        print(f"checkpoint in {fit(config)}")
