"""The training loop: datasets in, a checkpoint out. Run as `python -m train.fit --dataset DIR --out DIR`.

Datasets of different targets, each with its own --dataset, train one model with a head for each target. Several
processes, of `torchrun --nproc_per_node 2 -m train.fit ...` or, on GPUs, `accelerate launch -m train.fit ...`, share
each batch and take the same steps as one, but for what dropout draws.
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
from torch import Tensor, nn
from tqdm import tqdm

from kuaihl.errors import LabelError
from kuaihl.model.config import PRESETS
from kuaihl.model.inputs import PICTURES
from kuaihl.model.kuaihl import KuaiHL, Output
from train.command import plain_errors
from train.dataset import Batch, Windows
from train.evaluate import score
from train.hints import Learner, hint_sizes
from train.init_model import model_from, new_model
from train.losses import MIN_ALIGNED_SEGMENTS, Region, alignment_loss, pairwise_loss, pointwise_loss
from train.metrics import taus
from train.mixture import Mixture, Part, open_parts, read
from train.optimizer import adamw, set_rate
from train.run_state import CHECKPOINT_FOLDER, Curves, Run, command_of, settings_of

TERMS = ("point", "align", "pair", "hint")
"""The losses of Eq. 13 and that of hints, in the order of every tensor of losses."""
_NO_SETTINGS = ("out", "workers", "log_every", "save_every")
"""What may change when a run goes on."""


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Attributes
    ----------
    dataset
        Folder that train.prepare or train.simulator wrote; several, each after a --dataset of its own, train one model
        with a head each, where they differ in what their labels measure.
    out
        Folder for the checkpoint, the curves and the state. An interrupted run goes on from its last state.
    init
        Checkpoint to start from: its sizes, weights and scales of activity are kept, ``preset`` has no say, and
        streamers and targets that it does not know are added. The datasets must be made with its encoders.
    share
        Share of the windows of each dataset that an epoch draws; all if not given.
    left_out
        Streamers whose rooms are all kept for testing; train.evaluate and train.experiments.leaderboard take the same.
    preset
        Sizes of the model.
    activity, words, word_shares, speech_text, recurrent
        Whether there are tokens of activity, of how often words are written, of the share of comments that hold them
        and of speech alone, and for which targets a recurrent layer; else as in the preset.
    window, dropout
        n: how many segments a prediction looks back on, and the share of activations dropped; else as in the preset.
    without
        Hide this from the model, in training and ever after: pictures, speech, comments, streamer or words; from one
        target alone as lvtr:words. Can be given several times.
    epochs
        How often each window is seen at most.
    batch
        Windows a step, over all processes.
    rate, decay, warmup, clip
        AdamW's peak learning rate and weight decay, steps of linear warm-up before the cosine, largest gradient norm.
    word_decay
        Weight decay of the words, of which each is seen seldom.
    point, align, pair
        Weights of the three losses (Eq. 13); ``pair`` one for all datasets, or one for each in their order.
    hint
        Weight of what hints teach, where a dataset has some: see `train.hints`.
    region, sigma
        Which pairs count in the pairwise loss, and its scale.
    positive
        What the alignment loss takes for the right order.
    streamer_dropout, modality_dropout
        Share of windows with the streamer unknown; chance of each modality to be masked.
    patience
        Stop after so many epochs without a better validation tau, the mean over targets.
    bf16
        Compute the network in bfloat16 where that is safe: faster where the processor can, else slower.
    seed
        Fixes everything.
    workers, log_every, save_every
        Processes that read batches ahead; steps between two points of the curves, and two states to go on from.
    """

    dataset: tyro.conf.UseAppendAction[tuple[Path, ...]]
    out: Path
    init: Path | None = None
    share: tuple[float, ...] = ()
    left_out: tuple[str, ...] = ()
    preset: Literal["compact", "paper", "debug"] = "compact"
    activity: bool | None = None
    words: bool | None = None
    word_shares: bool | None = None
    speech_text: bool | None = None
    recurrent: tuple[str, ...] | None = None
    window: int | None = None
    without: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    dropout: float | None = None
    epochs: int = 10
    batch: int = 64
    rate: float = 5e-4
    decay: float = 0.05
    word_decay: float = 3.0
    warmup: int = 100
    clip: float = 1.0
    point: float = 1.0
    align: float = 0.01
    pair: tuple[float, ...] = (1.0,)
    hint: float = 0.0
    region: Region = "border"
    sigma: float = 1.0
    positive: Literal["swap", "plain"] = "swap"
    streamer_dropout: float = 0.1
    modality_dropout: float = 0.1
    patience: int = 3
    bf16: bool = False
    seed: int = 0
    workers: int = 0
    log_every: int = 20
    save_every: int = 200


def fit(config: FitConfig) -> Path:
    """Train; the best checkpoint by validation tau, the mean over targets, is in the folder returned.

    Raises
    ------
    LabelError
        The datasets do not go together, or one has no training or validation rooms, or no label there; ``out`` holds a
        run with other settings; ``init`` does not go with the settings.
    CheckpointError
        ``init`` is no checkpoint, or one of other encoders than the datasets'.
    """
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available() and not torch.backends.mps.is_available(),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],  # a target may not use them all
    )
    set_seed(config.seed)
    with accelerator.main_process_first():  # who comes later finds the memory map made
        parts = open_parts(config.dataset, left_out=config.left_out)
    learner = Learner(build(config, parts), hint_sizes(parts) if config.hint else ())
    windows = _training_windows(config, parts, learner.model)
    optimizer = adamw(learner, rate=config.rate, decay=config.decay, word_decay=config.word_decay)
    learner, optimizer = accelerator.prepare(learner, optimizer)
    run = Run(config.out, settings_of(config, apart=_NO_SETTINGS), accelerator.unwrap_model(learner), optimizer)
    progress = run.resume()
    curves = Curves(config.out / "curves", after=progress.step) if accelerator.is_main_process else None
    steps = windows.batches(config.batch) * config.epochs
    groups = [f"{part.target}/" if len(parts) > 1 else "" for part in parts]
    began = time.monotonic() - progress.seconds

    while progress.epoch < config.epochs and progress.epoch - progress.best_epoch < max(config.patience, 1):
        order = windows.order(config.batch, epoch=progress.epoch, seed=config.seed)[progress.step_in_epoch :]
        batches = _batches(windows, order, config, accelerator)
        sums = torch.zeros(len(parts), len(TERMS), device=accelerator.device)
        learner.train()
        for batch in tqdm(
            batches, f"epoch {progress.epoch + 1}", len(order), disable=not (curves and sys.stderr.isatty())
        ):
            rate = set_rate(optimizer, peak=config.rate, warmup=config.warmup, step=progress.step, steps=steps)
            torch.manual_seed(_key(config.seed, progress.step, accelerator.process_index))
            losses, norm = take_step(learner, optimizer, batch, config, accelerator)
            sums[batch.target] += losses
            progress.step, progress.step_in_epoch = progress.step + 1, progress.step_in_epoch + 1
            progress.seconds = time.monotonic() - began
            if progress.step % config.log_every == 0:
                losses = accelerator.reduce(losses, "sum")
                if curves:
                    drawn = {"train/rate": rate, "train/gradient_norm": norm}
                    curves.add(progress.step, _named(f"{groups[batch.target]}loss/", losses, config) | drawn)
            if curves and progress.step % config.save_every == 0:
                run.save_state(progress)

        found = {part.target: validate(config, run.learner.eval(), part, accelerator) for part in parts}
        taken = np.bincount([batch[0][0] for batch in order], minlength=len(parts)).clip(min=1)
        means = accelerator.reduce(sums, "sum").cpu() / torch.from_numpy(taken)[:, None]
        tau = sum(one.tau for one in found.values()) / len(found)
        better = progress.end_epoch(tau, {target: one.tau for target, one in found.items()})
        if curves:
            print(_told(progress.epoch, means, found, config) + " *" * better, flush=True)
            drawn = {"validation/tau": tau}
            for group, one in zip(groups, found.values(), strict=True):
                drawn |= _named(f"{group}validation/", one.losses, config) | {f"{group}validation/tau": one.tau}
            curves.add(progress.step, drawn)
            if better:  # before the state: a run that is killed in between does it again
                run.save_checkpoint(progress, datasets=config.dataset, command=command_of(config), windows=len(windows))
            run.save_state(progress)
    if curves:
        curves.close()
        print(f"ended after {progress.epoch} of {config.epochs} epochs; the best was epoch {progress.best_epoch}")
    accelerator.wait_for_everyone()
    return config.out / CHECKPOINT_FOLDER


def take_step(
    learner: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, config: FitConfig, accelerator: Accelerator
) -> tuple[Tensor, Tensor]:
    """Take one step with this process's share of a batch, as if one process had the whole batch.

    Returns
    -------
    What this process adds to the losses of the batch (as in `TERMS`), and the norm of the whole gradient.
    """
    with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=config.bf16):
        output, missed = learner(batch)
    terms, counts = loss_terms(output, missed, batch, config)
    losses = terms * counts / accelerator.reduce(counts, "sum").clamp(min=1)  # every window weighs the same
    pair = config.pair[batch.target if len(config.pair) > 1 else 0]
    weights = torch.tensor([config.point, config.align, pair, config.hint], device=losses.device)
    optimizer.zero_grad()
    accelerator.backward((weights * losses).sum() * accelerator.num_processes)  # which averages the gradients
    norm = accelerator.clip_grad_norm_(learner.parameters(), config.clip)
    optimizer.step()
    return losses.detach(), norm


@dataclass(frozen=True, slots=True)
class Validation:
    """Tau over all rooms, and losses as in `TERMS` over windows that do not overlap, of all processes together."""

    tau: float
    losses: Tensor


@torch.no_grad()
def validate(config: FitConfig, learner: Learner, part: Part, accelerator: Accelerator) -> Validation:
    """Score the validation rooms of a dataset, which the processes share, by its own head."""
    segments, rooms, model = part.segments, part.validation, learner.model
    own = rooms[accelerator.process_index :: accelerator.num_processes]
    scores = gather_object([score(model, segments, own)] if own else [])
    predicted, true, room = (
        np.concatenate([getattr(s, name) for s in scores]) for name in ("predicted", "true", "room")
    )
    tau = taus(predicted, true, room, deltas=[None])[0].pooled or 0.0
    windows = Windows(segments, rooms, model.config, streamer_dropout=0.0, modality_dropout=0.0, seed=config.seed)
    apart = [(0, index) for index in windows.apart().tolist()]
    batches = [apart[i : i + config.batch] for i in range(0, len(apart), config.batch)]
    sums, counts = torch.zeros(2, len(TERMS), device=accelerator.device)
    for batch in _batches(Mixture([windows], shares=[1.0]), batches, config, accelerator):
        terms, count = loss_terms(*learner(batch), batch, config)
        sums, counts = sums + terms * count, counts + count
    return Validation(tau, accelerator.reduce(sums, "sum") / accelerator.reduce(counts, "sum").clamp(min=1))


def build(config: FitConfig, parts: Sequence[Part]) -> KuaiHL:
    """A model for datasets, or the checkpoint ``config.init`` with the streamers and heads it lacks."""
    changes = {
        name: getattr(config, name)
        for name in ("activity", "words", "word_shares", "speech_text", "recurrent", "window", "dropout")
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if config.init is not None:
        return model_from(config.init, parts, without=config.without, changes=changes)
    return new_model(parts, config=replace(PRESETS[config.preset], **changes), without=config.without)


def loss_terms(output: Output, missed: Tensor, batch: Batch, config: FitConfig) -> tuple[Tensor, Tensor]:
    """The terms of the loss, unweighted, and over how many windows each is a mean; both as in `TERMS`."""
    present = output.tokens.present
    both = present[..., 0] & present[..., PICTURES]  # a window where pictures or text are masked has nothing to align
    alignable = batch.valid & (both | ~batch.valid).all(-1, keepdim=True)
    aligned = output.scores.new_zeros(())
    if config.align and alignable.any():
        aligned = alignment_loss(
            output.tokens.text.float(),
            output.tokens.pictures.float(),
            positive=config.positive,
            valid=alignable,
            generator=[torch.Generator().manual_seed(seed) for seed in batch.seeds.tolist()],
        )
    ranked = pairwise_loss(output.scores, batch.label, region=config.region, sigma=config.sigma, valid=batch.labelled)
    windows = batch.valid.any(-1).sum()
    counts = torch.stack([windows, (alignable.sum(-1) >= MIN_ALIGNED_SEGMENTS).sum(), windows, windows])
    pointed = pointwise_loss(output.scores, batch.label, valid=batch.labelled)
    return torch.stack([pointed, aligned, ranked, missed]), counts


def _training_windows(config: FitConfig, parts: Sequence[Part], model: KuaiHL) -> Mixture:
    shares = config.share or (1.0,) * len(parts)
    if len(shares) != len(parts) or not all(0 < share <= 1 for share in shares):
        raise LabelError(f"--share needs a number above 0, at most 1, for each of the {len(parts)} datasets: {shares}.")
    if len(config.pair) not in (1, len(parts)):
        raise LabelError(f"--pair needs one number, or one for each of the {len(parts)} datasets: {config.pair}.")
    windows = [
        Windows(
            part.segments,
            part.train,
            model.config,
            streamer_dropout=config.streamer_dropout,
            modality_dropout=config.modality_dropout,
            seed=config.seed,
        )
        for part in parts
    ]
    return Mixture(windows, shares=shares)


def _batches(
    windows: Mixture, batches: Sequence[Sequence[tuple[int, int]]], config: FitConfig, accelerator: Accelerator
) -> Iterator[Batch]:
    process, processes = accelerator.process_index, accelerator.num_processes
    for batch in read(windows, batches, process=process, processes=processes, workers=config.workers):
        yield batch.to(accelerator.device)


def _key(*numbers: int) -> int:
    """A seed for these numbers: dropout depends on the seed, the step and the process, not on what ran before."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _named(group: str, losses: Tensor, config: FitConfig) -> dict[str, float]:
    """Losses by their names; without hints, none is shown for them."""
    named = zip(TERMS, losses.tolist(), strict=True)
    return {f"{group}{name}": value for name, value in named if name != "hint" or config.hint}


def _told(epoch: int, means: Tensor, found: Mapping[str, Validation], config: FitConfig) -> str:
    """Mean losses and validation tau of an epoch, for people."""
    lines = []
    for (target, one), losses in zip(found.items(), means, strict=True):
        shown = ", ".join(f"{name} {value:.4f}" for name, value in _named("", losses, config).items())
        lines.append(f"{target}: {shown}; validation tau {one.tau:.4f}")
    return f"epoch {epoch}: " + " | ".join(lines)


if __name__ == "__main__":
    config = tyro.cli(FitConfig, description=__doc__)
    with plain_errors():
        print(f"checkpoint in {fit(config)}")
