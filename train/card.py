"""The model card: what a checkpoint is, learned and scores, from the JSON that its training left beside it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from kuaihl.errors import CheckpointError
from kuaihl.model import KuaiHL, load, sha256_of
from kuaihl.weights import VISUAL_FILE, sha256_file
from train.calibrate import CALIBRATION_FILE
from train.evaluate import RIVALS, TABLES

CARD_FILE = "README.md"
EVALUATION_FILE = "evaluation.json"

_REAL_AUDIENCES = """\
Its numbers say how well it predicts simulated audiences; how well it predicts real ones has not been measured, since no
platform publishes LVTR."""
_SIMULATED_RIVALS = """\
*Ceiling* is the tau of the simulator's own true chance that a viewer stays, *true persistence* that of its value one
segment before, *last value* that of the LVTR observed then, which no model is given."""
_LIMITS = """\
- Audiences and speech of the training rooms are simulated, in English. Where their comments are real chat, it was
  written about other streams. Real streams differ.
- The LVTR in percent is that of the simulated world; across recordings compare ranks rather than values.
- Streamers that it was not trained on, which in practice is everyone, share one embedding."""


def write_card(folder: Path) -> Path:
    """Write ``README.md`` beside the weights; the same for the same files, wherever they lie.

    Raises
    ------
    CheckpointError
        The folder is no checkpoint, has no log of its training, or no evaluation of these very weights.
    """
    model, _ = load(folder)
    evaluation_file = folder / EVALUATION_FILE
    fit = _read(folder / "fit.json", "train.fit")
    evaluation = _read(evaluation_file, f"train.evaluate --out {evaluation_file}")
    distilled = _read(folder / "distill.json", "train.distill") if (folder / "distill.json").exists() else None
    calibrated = folder / CALIBRATION_FILE
    calibration = _read(calibrated, "train.calibrate") if calibrated.exists() else None
    if evaluation["checkpoint_sha256"] != sha256_of(folder) or evaluation.get("without"):
        raise CheckpointError(
            f"{evaluation_file} is about other weights, or about these with a source hidden. Run train.evaluate "
            f"--checkpoint {folder} --out {evaluation_file} again."
        )
    data = _Data(fit["dataset"]["made_by"])
    name = "LVTR" if evaluation["target"] == "lvtr" else evaluation["target"]
    text = f"""---
{_metadata(evaluation, data).to_yaml()}
---

# KuaiHL: live-stream highlight prediction

Predicts from the past {model.config.window} segments of 30 s (pictures, speech, comments) of a live stream the
{_target(model)}. An open implementation of *A Multimodal
Transformer for Live Streaming Highlight Prediction* (ICME 2024).

**Trained on {model.config.trained_on}.**
{_REAL_AUDIENCES if data.simulated else "Its numbers are those of the rooms it was tested on; other audiences differ."}

## Use

```python
from kuaihl import Predictor

prediction = Predictor.from_pretrained("path/of/this/folder").predict("stream.mp4", "chat.json")
```

In place of the folder, the id of its repository on the Hub will do (`"owner/name"`).

## Scores

Kendall's tau-b of predicted and true {name} on the {evaluation["split"]} rooms, printed by
`python -m train.evaluate --checkpoint checkpoint --dataset {data.name}`.
Delta keeps the segments whose true {name} is above it.
{_SIMULATED_RIVALS if data.simulated else f"*Last value* is the tau of the {name} of the segment before."}

| | Delta | pooled | per room | segments | rooms |
|---|---|---|---|---|---|
{_lines(_rows(evaluation))}

{_lines(_gaps(evaluation))}

## Training

{_training(folder, model, fit)}
{_distilled(distilled)}{_calibrated(calibration)}
Made by:

```
{_lines(_commands(data, fit, distilled, calibration))}
```

## Limits

{_LIMITS if data.simulated else _LIMITS.splitlines()[-1]}

## Files

{_lines(_files(folder))}
"""
    path, part = folder / CARD_FILE, folder / f"{CARD_FILE}.part"
    ModelCard(text).save(part)
    part.replace(path)
    return path


@dataclass(frozen=True, slots=True)
class _Data:
    """The dataset: the command that made it, which ends with its folder."""

    made_by: str

    @property
    def name(self) -> str:
        return Path(self.made_by.split()[-1]).name

    @property
    def simulated(self) -> bool:
        return "train.simulator" in self.made_by


def _metadata(evaluation: dict[str, Any], data: _Data) -> ModelCardData:
    """Front matter, whose model index the Hub shows; it has no ``datasets``, for these would be links to the Hub."""
    dataset = {
        "task_type": "video-classification",
        "task_name": "Live-stream highlight prediction",
        "dataset_type": "klive-sim" if data.simulated else data.name,
        "dataset_name": evaluation["dataset"],
        "dataset_split": evaluation["split"],
    }
    results = [
        EvalResult(
            **dataset,
            dataset_config=None if table == "kuaihl" else table.replace("_", " "),
            metric_type="kendalltau",
            metric_name=f"Kendall's tau-b, {metric.replace('_', ' ')}",
            metric_value=round(value, 4),
        )
        for table in ("kuaihl", "known_streamers", "new_streamers")
        for metric in ("pooled", "per_room")
        if (value := evaluation[table][0][metric]) is not None
    ]
    return ModelCardData(
        license="apache-2.0",
        library_name="kuaihl",
        pipeline_tag="video-classification",
        language="en",
        tags=["live-streaming", "highlight-detection", "multimodal", *["simulated-data"] * data.simulated],
        metrics=["kendalltau"],
        model_name="KuaiHL",
        eval_results=results,
    )


def _read(file: Path, made_by: str) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"The card needs {file}, which {made_by} writes: {error}") from error


def _target(model: KuaiHL) -> str:
    if model.config.target == "lvtr":
        return "long-view-through rate (LVTR) of the next one: the share of viewers who stay"
    return f"{model.config.target} of the next one"


def _rows(evaluation: dict[str, Any]) -> Iterator[str]:
    for table in (table for table in TABLES if table in evaluation):
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


def _distilled(log: dict[str, Any] | None) -> str:
    if log is None:
        return ""
    told = (
        f"\nThe visual encoder was distilled from an ImageNet EfficientNet-Lite0 on {log['photos']:,} photographs and\n"
        f"{log['drawings']:,} frames of simulated rooms: {log['steps']:,} steps of {log['batch']} in "
        f"{log['student_s'] / 60:.0f} minutes.\n"
    )
    if probe := log["probe"]:
        right = f"{probe['student_accuracy']:.1%} (teacher: {probe['teacher_accuracy']:.1%})"
        told += f"A linear probe is right on {right} of {probe['test_photos']:,} photographs that it had not seen.\n"
    return told


def _calibrated(log: dict[str, Any] | None) -> str:
    if log is None:
        return ""
    return (
        f"\nA temperature of {log['temperature']:.3f}, fitted on the {log['split']} rooms and folded into the head,\n"
        "makes the percentages mean what they say: there, the expected calibration error\n"
        f"fell from {log['error_before']:.4f} to {log['error_after']:.4f}.\n"
    )


def _commands(
    data: _Data, fit: dict[str, Any], distilled: dict[str, Any] | None, calibration: dict[str, Any] | None
) -> Iterator[str]:
    if distilled:
        yield distilled["command"]
    yield data.made_by
    yield fit["command"]
    if calibration:
        run = fit["command"].partition("--out ")[2].split()[0]
        yield f"python -m train.calibrate --checkpoint {run}/checkpoint --dataset {data.name}"


def _files(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.safetensors")):
        yield f"- `{file.name}`: {file.stat().st_size:,} bytes, SHA-256 `{sha256_file(file)}`"


def _lines(lines: Iterator[str] | list[str]) -> str:
    return "\n".join(lines)
