"""What tests of training share: a short run of a small model, and what it leaves behind."""

from dataclasses import replace
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from train.fit import FitConfig
from train.state import STATE_FILE


def config(dataset: Path | tuple[Path, ...], out: Path, **changes: object) -> FitConfig:
    datasets = dataset if isinstance(dataset, tuple) else (dataset,)
    base = FitConfig(datasets, out, preset="debug", epochs=3, batch=16, rate=3e-3, warmup=5, patience=50)
    return replace(base, **changes)


def curves(out: Path) -> dict[str, dict[int, float]]:
    """Every curve by name: value by step. A step that was drawn twice would be an error."""
    events = EventAccumulator(str(out / "curves"), size_guidance={"scalars": 0}).Reload()
    found = {}
    for name in events.Tags()["scalars"]:
        points = [(event.step, event.value) for event in events.Scalars(name)]
        found[name] = dict(points)
        assert len(found[name]) == len(points), name
    return found


def weights(out: Path, *, of: str = "model") -> dict[str, torch.Tensor]:
    return torch.load(out / STATE_FILE, weights_only=True)[of]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)
