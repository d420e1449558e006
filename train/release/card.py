"""The model card: what a checkpoint is, learned and scores, from the JSON that its training left beside it."""

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from kuaihl.errors import CheckpointError
from kuaihl.features.embeddings import SOURCES
from kuaihl.features.pretrained import VISUAL_FILE, sha256_file
from kuaihl.model.config import Target
from kuaihl.model.kuaihl import KuaiHL, load, sha256_of
from train.run_state import CALIBRATION_FILE
from train.scoring import RIVALS, TABLES

CARD_FILE = "README.md"
EVALUATION_FILES = "evaluation*.json"
"""Reports of train.evaluate beside the weights, one for each target."""

_NAMES = {"lvtr": "LVTR"}
_MEANINGS = {
    "lvtr": "the long-view-through rate (LVTR) of the next one: the share of viewers who stay",
    "participation": "the participation in the next one: of the chatters who are present, the share who write",
}
_SIMULATED_AUDIENCES = """\
Its numbers say how well it predicts simulated audiences; how well it predicts real ones has not been measured, since no
platform publishes LVTR."""
_REAL_AUDIENCES = "Its numbers are those of the rooms it was tested on; other audiences differ."
_SIMULATED_RIVALS = """\
*Ceiling* is the tau of the simulator's own true chance that a viewer stays, *true persistence* that of its value one
segment before, *last value* that of the LVTR observed then, which no model is given."""
_SIMULATED_LIMITS = """\
- Audiences and speech of the training rooms are simulated, in English. Where their comments are real chat, it was
  written about other streams. Real streams differ.
- The LVTR in percent is that of the simulated world; across recordings compare ranks rather than values.
"""
_LIMITS = "- Streamers that it was not trained on, which in practice is everyone, share one embedding."


def write_card(folder: Path) -> Path:
    """Write ``README.md`` beside the weights; the same for the same files, wherever they lie.

    Raises
    ------
    CheckpointError
        The folder is no checkpoint, has no log of its training, or lacks the evaluation of a target by these weights.
    """
    model, _ = load(folder)
    fit = _read(folder / "fit.json", "train.fit")
    made_by = {info["target"]: info["made_by"] for info in fit["datasets"]}
    evaluations = _evaluations(folder)
    heads = [_head(folder, target, made_by[target.name], evaluations) for target in model.config.targets]
    distilled = _read(folder / "distill.json", "train.distill") if (folder / "distill.json").exists() else None
    calibrated = folder / CALIBRATION_FILE
    calibration = _read(calibrated, "train.calibrate") if calibrated.exists() else {}
    simulated = any(head.simulated for head in heads)
    text = f"""---
{_metadata(heads).to_yaml()}
---

# KuaiHL: live-stream highlight prediction

Predicts from the past {model.config.window} segments of 30 s of a live stream, by a head for each:

{_lines(_told(head) for head in heads)}

An open implementation of *A Multimodal Transformer for Live Streaming Highlight Prediction* (ICME 2024).

## Use

```python
from kuaihl import Predictor

prediction = Predictor.from_pretrained("path/of/this/folder").predict("stream.mp4", "chat.json")
```

In place of the folder, the id of its repository on the Hub will do (`"owner/name"`).{_choosing(heads)}

## Scores
{"".join(_scores(head) for head in heads)}
## Training

{_training(folder, model, fit)}
{_distilled(distilled)}{"".join(_calibrated(target, log) for target, log in calibration.items())}
Made by:

```
{_lines(_commands(heads, fit, distilled, calibration))}
```

## Limits

{_SIMULATED_LIMITS * simulated}{_LIMITS}

## Files

{_lines(_files(folder))}
"""
    path, part = folder / CARD_FILE, folder / f"{CARD_FILE}.part"
    ModelCard(text).save(part)
    part.replace(path)
    return path


@dataclass(frozen=True, slots=True)
class _Head:
    """What one head predicts, how well, and the command that made its dataset."""

    target: Target
    made_by: str
    evaluation: dict[str, Any]

    @property
    def name(self) -> str:
        return _NAMES.get(self.target.name, self.target.name)

    @property
    def dataset(self) -> str:
        return _out(self.made_by)

    @property
    def simulated(self) -> bool:
        return "train.prepare rooms" in self.made_by


def _evaluations(folder: Path) -> dict[str, dict[str, Any]]:
    """Reports of train.evaluate in the folder, by target."""
    reports = [_read(file, "train.evaluate") for file in sorted(folder.glob(EVALUATION_FILES))]
    return {report["target"]: report for report in reports}


def _head(folder: Path, target: Target, made_by: str, evaluations: dict[str, dict[str, Any]]) -> _Head:
    found = evaluations.get(target.name)
    whole = found and not found["without"] and not found["left_out"]
    if whole and found["checkpoint_sha256"] == sha256_of(folder):
        return _Head(target, made_by, found)
    wrong = "is about other weights, or about these with something hidden or left out" if found else "is missing"
    raise CheckpointError(
        f"The card needs an evaluation of {target.name}, which {wrong}. Run train.evaluate --checkpoint {folder} "
        f"--dataset {_out(made_by)} --out {folder / EVALUATION_FILES.replace('*', f'-{target.name}')}."
    )


def _told(head: _Head) -> str:
    sources = [source for source in SOURCES if source not in head.target.excluded_inputs]
    means = _MEANINGS.get(head.target.name, f"the {head.name} of the next one")
    audience = _SIMULATED_AUDIENCES if head.simulated else _REAL_AUDIENCES
    indented = audience.replace("\n", "\n  ")
    return f"- {means}; from {', '.join(sources)}.\n  **Trained on {head.target.trained_on}.**\n  {indented}"


def _choosing(heads: Sequence[_Head]) -> str:
    if len(heads) == 1:
        return ""
    return f' `target="{heads[1].target.name}"` predicts that in place of {heads[0].name}.'


def _scores(head: _Head) -> str:
    last = f"*Last value* is the tau of the {head.name} of the segment before."
    return f"""
### {head.name}

Kendall's tau-b of predicted and true {head.name} on the {head.evaluation["split"]} rooms, printed by
`python -m train.evaluate --checkpoint checkpoint --dataset {head.dataset}`.
Delta keeps the segments whose true {head.name} is above it.
{_SIMULATED_RIVALS if head.simulated else last}

| | Delta | pooled | per room | segments | rooms |
|---|---|---|---|---|---|
{_lines(_rows(head.evaluation))}

{_lines(_gaps(head.evaluation))}
"""


def _metadata(heads: Sequence[_Head]) -> ModelCardData:
    """Front matter, whose model index the Hub shows; it has no ``datasets``, for these would be links to the Hub."""
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
    simulated = any(head.simulated for head in heads)
    return ModelCardData(
        license="apache-2.0",
        library_name="kuaihl",
        pipeline_tag="video-classification",
        language="en",
        tags=["live-streaming", "highlight-detection", "multimodal", *["simulated-data"] * simulated],
        metrics=["kendalltau"],
        model_name="KuaiHL",
        eval_results=results,
    )


def _read(file: Path, made_by: str) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"The card needs {file}, which {made_by} writes: {error}") from error


def _rows(evaluation: dict[str, Any]) -> Iterator[str]:
    for table in (table for table in TABLES if table in evaluation and evaluation[table][0]["segments"]):
        for row in evaluation[table]:
            delta = "all" if row["delta"] is None else f"{row['delta']:.1f}"
            pooled, each = ("-" if row[c] is None else f"{row[c]:.4f}" for c in ("pooled", "per_room"))
            shown = table.replace("_", " ")
            yield f"| {shown} | {delta} | {pooled} | {each} | {row['segments']:,} | {row['rooms']} |"


def _gaps(evaluation: dict[str, Any]) -> Iterator[str]:
    for rival in RIVALS:
        gap = evaluation.get(f"kuaihl_minus_{rival}")
        if gap and gap["pooled"] is not None:
            low, high = gap["interval"]
            told = f"{gap['pooled']:+.4f} (95 % interval over rooms {low:+.4f} to {high:+.4f})"
            yield f"- kuaihl minus {rival.replace('_', ' ')}: {told}"
    if found := evaluation.get("calibration"):
        yield f"- calibration: Brier score {found['brier']:.4f}, expected error {found['expected_error']:.4f}"


def _training(folder: Path, model: KuaiHL, fit: dict[str, Any]) -> str:
    config = model.config
    visual = f"`{config.visual_encoder}`" + " (in this folder)" * (folder / VISUAL_FILE).exists()
    return f"""\
{sum(p.numel() for p in model.parameters()):,} parameters without encoders; features of {visual},
`{config.text_encoder}` and, for recordings, the words of Whisper `{config.speech_model}`.
{fit["windows"]:,} windows, {fit["epoch"]} epochs, {fit["step"]:,} steps, {fit["seconds"] / 60:.1f} minutes; the epoch
with the best validation tau ({fit["best_tau"]:.4f}, epoch {fit["best_epoch"]}) was kept. torch {fit["torch"]}."""


def _runs(log: dict[str, Any]) -> list[dict[str, Any]]:
    """The distillation and those it went on from, the first one first."""
    before = log.get("before")
    return [*(_runs(before) if before else ()), log]


def _distilled(log: dict[str, Any] | None) -> str:
    if log is None:
        return ""
    runs = _runs(log)
    steps, minutes = sum(run["steps"] for run in runs), sum(run["student_s"] for run in runs) / 60
    told = (
        f"\nThe visual encoder was distilled from an ImageNet EfficientNet-Lite0 on {log['photos']:,} photographs and\n"
        f"{log['drawings']:,} frames of simulated rooms: {steps:,} steps in {minutes:.0f} minutes.\n"
    )
    if log.get("content_frames"):
        told += (
            f"From about {log['content_frames']:,} other frames of simulated training rooms it also learned what those show:\n"
            "scene, intensity, gifts on screen.\n"
        )
    if probe := log["probe"]:
        right = f"{probe['student_accuracy']:.1%} (teacher: {probe['teacher_accuracy']:.1%})"
        told += f"A linear probe is right on {right} of {probe['test_photos']:,} photographs that it had not seen.\n"
    return told


def _calibrated(target: str, log: dict[str, Any]) -> str:
    return (
        f"\nA temperature of {log['temperature']:.3f}, fitted on the {log['split']} rooms and folded into the head,\n"
        f"makes the percentages of {_NAMES.get(target, target)} mean what they say: there, the expected calibration\n"
        f"error fell from {log['error_before']:.4f} to {log['error_after']:.4f}.\n"
    )


def _commands(
    heads: Sequence[_Head], fit: dict[str, Any], distilled: dict[str, Any] | None, calibration: dict[str, Any]
) -> Iterator[str]:
    if distilled:
        yield from (run["command"] for run in _runs(distilled))
    yield from (head.made_by for head in heads)
    yield fit["command"]
    for head in heads:
        if head.target.name in calibration:
            yield f"python -m train.calibrate --checkpoint {_out(fit['command'])}/checkpoint --dataset {head.dataset}"


def _out(command: str) -> str:
    """The folder that a command, or the last of several, wrote."""
    return shlex.split(command.rpartition("--out ")[2])[0]


def _files(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.safetensors")):
        yield f"- `{file.name}`: {file.stat().st_size:,} bytes, SHA-256 `{sha256_file(file)}`"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)
