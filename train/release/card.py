"""The model card of a checkpoint, from the JSON files beside its weights."""

import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from kuaihl.errors import CheckpointError
from kuaihl.features.embeddings import SOURCES
from kuaihl.features.pretrained import VISUAL_FILE, sha256_file
from kuaihl.model.config import Target
from kuaihl.model.kuaihl import KuaiHL, load, sha256_of
from train.files import replacing
from train.run_state import CALIBRATION_FILE, LOG_FILE
from train.scoring import RIVALS, TABLES

CARD_FILE = "README.md"
DISTILL_FILE = "distill.json"
EVALUATION_FILES = "evaluation*.json"
"""Reports of train.evaluate, one per target."""
LEADERBOARD_FILES = "leaderboard*.json"
"""Results of train.experiments.leaderboard, at most one per target."""

_NAMES = {"lvtr": "LVTR"}
_DESCRIPTIONS = {
    "lvtr": "long-view-through rate (LVTR): the share of viewers who stay",
    "participation": "the share of the chatters present who write",
}
_SIMULATED = """\
The scores show how well it predicts simulated audiences. How well it predicts real ones is unknown, because no platform
publishes LVTR."""
_SIMULATED_RIVALS = """\
*Ceiling* is the simulator's true probability that a viewer stays, *true persistence* that of the segment before, *last
value* the LVTR of the segment before, which no model is given."""
_SIMULATED_LIMITS = """\
- Audiences and speech of the training rooms are simulated, in English. Real chat in them is from other streams.
- The LVTR is that of simulated streams: compare values within a recording.
"""
_LIMITS = "- Streamers without training data share one embedding. In practice these are all streamers."


@dataclass(frozen=True, slots=True)
class _Head:
    """A head of the checkpoint with the command that made its dataset, its scores and its leaderboard, if any."""

    target: Target
    made_by: str
    evaluation: dict[str, Any]
    leaderboard: dict[str, Any] | None

    @property
    def name(self) -> str:
        return _NAMES.get(self.target.name, self.target.name)

    @property
    def dataset(self) -> str:
        return _output_of(self.made_by)

    @property
    def simulated(self) -> bool:
        return self.target.trained_on.startswith("simulated rooms")


def write_card(folder: Path) -> Path:
    """Write the card of a checkpoint; it depends on the files in the folder only.

    Raises
    ------
    CheckpointError
        The folder is not a checkpoint, has no training log, or lacks an evaluation of a target by these weights.
    """
    model, _ = load(folder)
    fit = _read_json(folder / LOG_FILE, "train.fit")
    made_by = {info["target"]: info["made_by"] for info in fit["datasets"]}
    heads = [_read_head(folder, target, made_by[target.name]) for target in model.config.targets]
    distill = _read_json(folder / DISTILL_FILE, "train.distill") if (folder / DISTILL_FILE).exists() else None
    calibrated = (folder / CALIBRATION_FILE).exists()
    calibration = _read_json(folder / CALIBRATION_FILE, "train.calibrate") if calibrated else {}
    choice = f' `target="{heads[1].target.name}"` predicts {heads[1].name}.' if len(heads) > 1 else ""
    text = f"""---
{_metadata(heads).to_yaml()}
---

# KuaiHL: live-stream highlight prediction

Predicts the next 30 s segment of a live stream from the last {model.config.window} segments:

{_lines(_describe(head) for head in heads)}

An open implementation of *A Multimodal Transformer for Live Streaming Highlight Prediction* (ICME 2024).

## Use

```python
from kuaihl import Predictor

prediction = Predictor.from_pretrained("path/to/this/folder").predict("stream.mp4", "chat.json")
```

The id of a repository on the Hub (`"owner/name"`) also works.{choice}

## Scores
{"".join(_scores(head) for head in heads)}
## Training

{_training(folder, model, fit)}
{_distillation(distill) if distill else ""}{"".join(_calibration(name, log) for name, log in calibration.items())}
Commands:

```
{_lines(_commands(heads, fit, distill, calibration))}
```

## Limits

{_SIMULATED_LIMITS * any(head.simulated for head in heads)}{_LIMITS}

## Files

{_lines(_files(folder))}
"""
    with replacing(folder / CARD_FILE) as part:
        ModelCard(text).save(part)
    return folder / CARD_FILE


def _read_json(file: Path, made_by: str) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"The card needs {file}, which {made_by} writes: {error}") from error


def _read_head(folder: Path, target: Target, made_by: str) -> _Head:
    evaluation = _find_report(folder, EVALUATION_FILES, "train.evaluate", target)
    complete = evaluation and not evaluation["without"] and not evaluation["left_out"]
    if not complete or evaluation["checkpoint_sha256"] != sha256_of(folder):
        problem = "is of other weights, or with something hidden or left out" if evaluation else "is missing"
        raise CheckpointError(
            f"The card needs an evaluation of {target.name}, which {problem}. Run train.evaluate --checkpoint {folder} "
            f"--dataset {_output_of(made_by)} --out {folder / EVALUATION_FILES.replace('*', f'-{target.name}')}."
        )
    leaderboard = _find_report(folder, LEADERBOARD_FILES, "train.experiments.leaderboard", target)
    if leaderboard and sha256_of(folder) not in {row["sha256"] for row in leaderboard["entries"]}:
        raise CheckpointError(f"The leaderboard of {target.name} in {folder} is of other weights. Make it again.")
    return _Head(target, made_by, evaluation, leaderboard)


def _find_report(folder: Path, pattern: str, made_by: str, target: Target) -> dict[str, Any] | None:
    reports = [_read_json(file, made_by) for file in sorted(folder.glob(pattern))]
    return next((report for report in reports if report["target"] == target.name), None)


def _describe(head: _Head) -> str:
    sources = ", ".join(source for source in SOURCES if source not in head.target.excluded_inputs)
    caution = "\n  " + _SIMULATED.replace("\n", "\n  ") if head.simulated else ""
    description = _DESCRIPTIONS.get(head.target.name, head.name)
    return f"- {description}; from {sources}.\n  **Trained on {head.target.trained_on}.**{caution}"


def _metadata(heads: list[_Head]) -> ModelCardData:
    """Return the front matter. It has no ``datasets``, which would be links to the Hub."""
    results = [
        EvalResult(
            task_type="video-classification",
            task_name="Live-stream highlight prediction",
            dataset_type="klive-sim" if head.simulated else head.dataset,
            dataset_name=head.evaluation["dataset"],
            dataset_split=head.evaluation["split"],
            dataset_config=None if table == "kuaihl" else table.replace("_", " "),
            metric_type="kendalltau",
            metric_name=f"Kendall's tau-b, {metric.replace('_', ' ')}",
            metric_value=round(value, 4),
        )
        for head in heads
        for table in ("kuaihl", "known_streamers", "new_streamers")
        for metric in ("pooled", "per_room")
        if (value := head.evaluation[table][0][metric]) is not None
    ]
    return ModelCardData(
        license="apache-2.0",
        library_name="kuaihl",
        pipeline_tag="video-classification",
        language="en",
        tags=[
            "live-streaming",
            "highlight-detection",
            "multimodal",
            *["simulated-data"] * any(head.simulated for head in heads),
        ],
        metrics=["kendalltau"],
        model_name="KuaiHL",
        eval_results=results,
    )


def _scores(head: _Head) -> str:
    rivals = _SIMULATED_RIVALS if head.simulated else f"*Last value* is the {head.name} of the segment before."
    return f"""
### {head.name}

Kendall's tau-b of predicted and true {head.name} on the {head.evaluation["split"]} rooms
(`python -m train.evaluate --checkpoint checkpoint --dataset {head.dataset}`).
Delta keeps the segments with a true {head.name} above it.
{rivals}

| | Delta | pooled | per room | segments | rooms |
|---|---|---|---|---|---|
{_lines(_score_rows(head.evaluation))}

{_lines(_differences(head.evaluation))}
{_leaderboard(head.leaderboard) if head.leaderboard else ""}"""


def _score_rows(evaluation: dict[str, Any]) -> Iterator[str]:
    for table in (table for table in TABLES if table in evaluation and evaluation[table][0]["segments"]):
        for row in evaluation[table]:
            delta = "all" if row["delta"] is None else f"{row['delta']:.1f}"
            pooled, per_room = ("-" if row[c] is None else f"{row[c]:.4f}" for c in ("pooled", "per_room"))
            name = table.replace("_", " ")
            yield f"| {name} | {delta} | {pooled} | {per_room} | {row['segments']:,} | {row['rooms']} |"


def _differences(evaluation: dict[str, Any]) -> Iterator[str]:
    for rival in RIVALS:
        difference = evaluation.get(f"kuaihl_minus_{rival}")
        if difference and difference["pooled"] is not None:
            low, high = difference["interval"]
            interval = f"95 % interval over rooms {low:+.4f} to {high:+.4f}"
            yield f"- kuaihl minus {rival.replace('_', ' ')}: {difference['pooled']:+.4f} ({interval})"
    if errors := evaluation.get("calibration"):
        yield f"- calibration: Brier score {errors['brier']:.4f}, expected error {errors['expected_error']:.4f}"


def _leaderboard(board: dict[str, Any]) -> str:
    """Return a table of the baselines of `train.experiments.leaderboard`, without other checkpoints."""
    lines = []
    for row in board["entries"]:
        if row["sha256"] is None:
            difference = next(iter(row["checkpoint_minus_this"].values()), {})
            intervals = (difference.get("interval"), difference.get("per_room_interval"))
            pooled, per_room = ("-" if row[kind] is None else f"{row[kind]:.3f}" for kind in ("pooled", "per_room"))
            gaps = (f"{x[0]:+.3f} to {x[1]:+.3f}" if x else "-" for x in intervals)
            name = ", ".join(filter(None, (row["name"], row["note"])))
            lines.append(f"| {name} | {pooled} | {' | '.join((next(gaps), per_room, next(gaps)))} |")
    return f"""
Baselines on the same segments (`train.experiments.leaderboard`), with 95 % intervals of the difference, paired by room:

| | pooled | kuaihl minus this | per room | kuaihl minus this |
|---|---|---|---|---|
{_lines(lines)}
"""


def _training(folder: Path, model: KuaiHL, fit: dict[str, Any]) -> str:
    config = model.config
    visual = f"`{config.visual_encoder}`" + " (in this folder)" * (folder / VISUAL_FILE).exists()
    return f"""\
{sum(p.numel() for p in model.parameters()):,} parameters without encoders. Encoders: {visual},
`{config.text_encoder}`; Whisper `{config.speech_model}` transcribes recordings.
{fit["windows"]:,} windows, {fit["epoch"]} epochs, {fit["step"]:,} steps, {fit["seconds"] / 60:.1f} minutes; the epoch
with the best validation tau ({fit["best_tau"]:.4f}, epoch {fit["best_epoch"]}) was kept. torch {fit["torch"]}."""


def _distillation_runs(log: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the distillation and those that it started from, the first one first."""
    earlier = log.get("before")
    return [*(_distillation_runs(earlier) if earlier else ()), log]


def _distillation(log: dict[str, Any]) -> str:
    text = (
        "\nThe picture encoder was distilled from an ImageNet EfficientNet-Lite0 on "
        f"{log['photos']:,} photographs\nand {log['drawings']:,} frames of simulated rooms.\n"
    )
    if frames := log.get("content_frames"):
        text += (
            "The last run also learned to recognise scene, intensity and gifts in about "
            f"{frames:,} frames of\nsimulated training rooms.\n"
        )
    if probe := log["probe"]:
        text += (
            f"Accuracy is that of a linear probe on {probe['test_photos']:,} other photographs; the teacher has"
            f" {probe['teacher_accuracy']:.1%}.\n"
        )
    rows = []
    for k, run in enumerate(_distillation_runs(log), start=1):
        accuracy = f"{run['probe']['student_accuracy']:.1%}" if run.get("probe") else "-"
        rows.append(f"| {k} | {run['steps']:,} | {run['student_s'] / 60:.0f} | {accuracy} |")
    return f"{text}\n| run | steps | minutes | accuracy |\n|---|---|---|---|\n{_lines(rows)}\n"


def _calibration(target: str, log: dict[str, Any]) -> str:
    return (
        f"\n{_NAMES.get(target, target)} was calibrated on the {log['split']} rooms with a temperature of"
        f" {log['temperature']:.3f}: the expected calibration\n"
        f"error fell from {log['error_before']:.4f} to {log['error_after']:.4f}.\n"
    )


def _commands(
    heads: list[_Head], fit: dict[str, Any], distill: dict[str, Any] | None, calibration: dict[str, Any]
) -> Iterator[str]:
    if distill:
        yield from (run["command"] for run in _distillation_runs(distill))
    yield from (head.made_by for head in heads)
    yield fit["command"]
    checkpoint = f"{_output_of(fit['command'])}/checkpoint"
    for head in heads:
        if head.target.name in calibration:
            yield f"python -m train.calibrate --checkpoint {checkpoint} --dataset {head.dataset}"


def _output_of(command: str) -> str:
    """Return the folder that a command, or the last of several, writes."""
    return shlex.split(command.rpartition("--out ")[2])[0]


def _files(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.safetensors")):
        yield f"- `{file.name}`: {file.stat().st_size:,} bytes, SHA-256 `{sha256_file(file)}`"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)
