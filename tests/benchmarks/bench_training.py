"""Where the time of a training step goes: the compact model, batches of 64 windows, random features of real sizes.

Run as `python -m tests.benchmarks.bench_training`. Prints the share of each part in the time of a step, from
torch.profiler, and the time of bfloat16 relative to float32.
"""

import functools
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from kuaihl.model import perceiver
from kuaihl.model.config import PRESETS
from tests.fixtures.small_dataset import TEXTS, write_room
from train import fit
from train.dataset import DatasetInfo, Segments, Windows, write_info
from train.mixture import TrainingSet

ROOMS, SEGMENTS = 10, 200
STEPS, WARM_UP = 12, 3
LOADING, PRODUCTS, ATTENTION, ALIGNMENT = "data loading", "matrix products", "attention", "alignment loss"
OTHER_LOSSES, OPTIMIZER, OTHER = "pointwise and pairwise loss", "optimizer, gradient norm", "other"
_PARTS = (PRODUCTS, ATTENTION, ALIGNMENT, OTHER_LOSSES, OPTIMIZER, LOADING, OTHER)
_BACKWARD = "autograd::engine::evaluate_function"
_OPTIMIZER = ("Optimizer.", "aten::_foreach_norm", "aten::_foreach_mul_", "aten::linalg_vector_norm")
_PRODUCT_OPERATIONS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}


def write_features(folder: Path) -> None:
    """Write rooms of random features in the compact sizes."""
    rng, preset = np.random.default_rng(0), PRESETS["compact"]
    info = DatasetInfo(
        visual_encoder=preset.visual_encoder,
        picture_dim=preset.picture_dim,
        text_encoder=preset.text_encoder,
        text_dim=preset.text_dim,
        encoders={},
        target="lvtr",
        source="random numbers",
        made_by="tests.benchmarks.bench_training",
    )
    write_info(folder, info)
    for k in range(ROOMS):
        values = {
            "pictures": rng.normal(size=(SEGMENTS, 3 * info.picture_dim)),
            "label": rng.random(SEGMENTS),
            **{text: rng.normal(size=(SEGMENTS, info.text_dim)) for text in TEXTS},
        }
        write_room(folder, info, f"train-{k}", values)


class Trainer:
    """Take steps as `train.fit.fit` does."""

    def __init__(self, config: fit.FitConfig) -> None:
        (segments,) = map(Segments, config.dataset)
        self._config = config
        self._accelerator = Accelerator(cpu=True)
        self.model = fit.build_model(config, [TrainingSet(segments, segments.rooms, [])]).train()
        self._windows = Windows(segments, segments.rooms, self.model.config)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self._rng = np.random.default_rng(0)

    def step(self) -> None:
        with record_function(LOADING):
            (batch,) = self._windows.__getitems__(self._rng.integers(len(self._windows), size=self._config.batch_size))
        fit.take_step(self.model, self._optimizer, batch, self._config, self._accelerator)


def within(name: str, work: Callable[..., object]) -> Callable[..., object]:
    """Return the function under ``name`` in the profile."""

    @functools.wraps(work)
    def ranged(*args: object, **options: object) -> object:
        with record_function(name):
            return work(*args, **options)

    return ranged


def part_of(event: FunctionEvent | None, forward: dict[int, FunctionEvent]) -> str:
    """Return the part of a step that an operation belongs to."""
    product = False
    while event is not None:
        if event.name in _PARTS:
            return event.name
        if event.name.startswith(_OPTIMIZER):
            return OPTIMIZER
        product = product or event.name in _PRODUCT_OPERATIONS
        if event.name.startswith(_BACKWARD) and event.sequence_nr in forward:
            found = part_of(forward[event.sequence_nr], {})
            return PRODUCTS if product and found == OTHER else found
        event = event.cpu_parent
    return PRODUCTS if product else OTHER


def shares(trainer: Trainer) -> dict[str, float]:
    """Return the share of each part in the time of a few steps."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(STEPS):
            trainer.step()
    events = [event for event in profiler.events() if event.name != "[memory]"]
    forward = {e.sequence_nr: e for e in events if e.sequence_nr >= 0 and not e.name.startswith(_BACKWARD)
               and e.scope == 0 and not e.is_async and "Backward" not in e.name}  # fmt: skip
    spent: Counter[str] = Counter()
    for event in events:
        spent[part_of(event, forward)] += event.self_cpu_time_total
    return {name: spent[name] / spent.total() for name in _PARTS}


def milliseconds(*trainers: Trainer) -> list[float]:
    """Return the median time of a step of each, measured alternately."""
    times: list[list[float]] = [[] for _ in trainers]
    for _ in range(WARM_UP + STEPS):
        for trainer, spent in zip(trainers, times, strict=True):
            began = time.perf_counter()
            trainer.step()
            spent.append(1e3 * (time.perf_counter() - began))
    return [statistics.median(spent[WARM_UP:]) for spent in times]


def main() -> None:
    """Print milliseconds per step and their breakdown."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_features(folder)
        config = fit.FitConfig((folder,), folder / "out")
        plain, half = Trainer(config), Trainer(replace(config, bf16=True))
        single, coarse = milliseconds(plain, half)
        print(f"{torch.get_num_threads()} threads: {single:.0f} ms a step, in bfloat16 {coarse:.0f} ms")

        fit.alignment_loss = within(ALIGNMENT, fit.alignment_loss)
        fit.pointwise_loss = within(OTHER_LOSSES, fit.pointwise_loss)
        fit.pairwise_loss = within(OTHER_LOSSES, fit.pairwise_loss)
        perceiver.attend_once = within(ATTENTION, perceiver.attend_once)
        for module in plain.model.modules():
            if isinstance(module, nn.MultiheadAttention | nn.Linear):
                kind = ATTENTION if isinstance(module, nn.MultiheadAttention) else PRODUCTS
                module.forward = within(kind, module.forward)
        found = shares(plain)
        for part, share in found.items():
            print(f"{part:<30}{share:>6.1%}")
        print(f"{'the first three together':<30}{sum(found[x] for x in (PRODUCTS, ATTENTION, ALIGNMENT)):>6.1%}")


if __name__ == "__main__":
    main()
