"""Writes a checkpoint's model card and uploads it. Run as `python -m train.publish --checkpoint C [--repo ID]`."""

import json
from pathlib import Path
from typing import Any

import tyro
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData

from kuaihl.errors import CheckpointError
from kuaihl.model import load
from kuaihl.weights import sha256_file
from train.console import plain_errors

EVALUATION_FILE = "evaluation.json"
_PUBLISHED = ("*.safetensors", "*.json", "README.md")


def write_card(folder: Path) -> Path:
    """Write ``README.md`` beside the weights, from what training, distillation and evaluation left there.

    Raises
    ------
    CheckpointError
        The folder is no checkpoint, or has no log of its training or no evaluation.
    """
    model, _ = load(folder)
    fit, evaluation = (_read(folder / name, made_by) for name, made_by in (
        ("fit.json", "train.fit"), (EVALUATION_FILE, f"train.evaluate --out {folder / EVALUATION_FILE}")
    ))  # fmt: skip
    distilled = _read(folder / "distill.json", "train.distill") if (folder / "distill.json").exists() else None
    tau = evaluation["kuaihl"][0]
    data = ModelCardData(
        license="apache-2.0",
        library_name="kuaihl",
        pipeline_tag="video-classification",
        language="en",
        tags=["live-streaming", "highlight-detection", "multimodal", "simulated-data"],
        metrics=["kendalltau"],
        model_name="KuaiHL",
        eval_results=[
            EvalResult(
                task_type="video-classification",
                task_name="Live-stream highlight prediction",
                dataset_type="klive-sim",
                dataset_name=evaluation["dataset"],
                dataset_split=evaluation["split"],
                metric_type="kendalltau",
                metric_name="Kendall's tau-b, pooled",
                metric_value=round(tau["pooled"], 4),
            )
        ],
    )
    config = model.config
    commands = [*([distilled["command"]] if distilled else []), fit["dataset"]["made_by"], fit["command"]]
    card = f"""---
{data.to_yaml()}
---

# KuaiHL: live-stream highlight prediction

Predicts from the past {config.window} segments of 30 s (pictures, speech, comments) of a live stream the
long-view-through rate (LVTR) of the next one: the share of viewers who stay. An open implementation of *A Multimodal
Transformer for Live Streaming Highlight Prediction* (ICME 2024).

**Trained on {config.trained_on}.**
Its numbers say how well it predicts simulated audiences; how well it predicts real ones has not been measured, since no
platform publishes LVTR.

## Use

```python
from kuaihl import Predictor

prediction = Predictor.from_pretrained("path/of/this/folder").predict("stream.mp4", "chat.json")
```

## Scores

Kendall's tau-b of predicted and true LVTR on the {evaluation["split"]} rooms, printed by
`python -m train.evaluate --checkpoint {folder.name} --dataset {Path(fit["dataset"]["made_by"].split()[-1]).name}`.
Delta keeps the segments whose true LVTR is above it. *Ceiling* is the tau of the simulator's own true chance that a
viewer stays, *true persistence* that of its value one segment before, *last value* that of the LVTR observed then,
which no model is given.

| | Delta | pooled | per room | segments | rooms |
|---|---|---|---|---|---|
{_rows(evaluation)}

{_gaps(evaluation)}

## Training

{sum(p.numel() for p in model.parameters()):,} parameters without encoders; features of `{config.visual_encoder}` (in
this folder), `{config.text_encoder}` and, for recordings, the words of Whisper `{config.speech_model}`.
{fit["windows"]:,} windows, {fit["epoch"]} epochs, {fit["step"]:,} steps, {fit["seconds"] / 60:.0f} minutes; the epoch
with the best validation tau ({fit["best_tau"]:.4f}, epoch {fit["best_epoch"]}) was kept. torch {fit["torch"]}.
{_distilled(distilled)}
Made by:

```
{chr(10).join(commands)}
```

## Limits

- Audiences and speech of the training rooms are simulated, in English. Where their comments are real chat, it was
  written about other streams. Real streams differ.
- The LVTR in percent is that of the simulated world; across recordings compare ranks rather than values.
- The photographs in the pictures of simulated test rooms may have been seen when the visual encoder was distilled.
- Streamers that it was not trained on, which in practice is everyone, share one embedding.

## Files

{_files(folder)}
"""
    path = folder / "README.md"
    ModelCard(card).save(path)
    return path


def _read(file: Path, made_by: str) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"The card needs {file}, which {made_by} writes: {error}") from error


def _rows(evaluation: dict[str, Any]) -> str:
    lines = []
    for name, rows in evaluation.items():
        for row in rows if isinstance(rows, list) else []:
            delta = "all" if row["delta"] is None else f"{row['delta']:.1f}"
            pooled, each = ("-" if row[c] is None else f"{row[c]:.4f}" for c in ("pooled", "per_room"))
            shown = name.replace("_", " ")
            lines.append(f"| {shown} | {delta} | {pooled} | {each} | {row['segments']:,} | {row['rooms']} |")
    return "\n".join(lines)


def _gaps(evaluation: dict[str, Any]) -> str:
    lines = []
    for name, gap in evaluation.items():
        if isinstance(gap, dict) and gap["pooled"] is not None:
            low, high = gap["interval"]
            shown = name.replace("_", " ")
            lines.append(f"- {shown}: {gap['pooled']:+.4f} (95 % interval over rooms {low:+.4f} to {high:+.4f})")
    return "\n".join(lines)


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


def _files(folder: Path) -> str:
    files = sorted(f for f in folder.iterdir() if f.suffix == ".safetensors")
    lines = (f"- `{f.name}`: {f.stat().st_size:,} bytes, SHA-256 `{sha256_file(f)}`" for f in files)
    return "\n".join(lines)


def main(checkpoint: Path, repo: str | None = None, *, private: bool = False) -> None:
    """Write the model card, and upload the checkpoint where a repository is given.

    Parameters
    ----------
    checkpoint
        Folder that train.fit wrote, with the evaluation.json of train.evaluate.
    repo
        Repository on the Hub; nothing is uploaded without.
    private
        Whether the repository, where it is made, is private.
    """
    print(f"wrote {write_card(checkpoint)}")
    files = sorted(f.name for pattern in _PUBLISHED for f in checkpoint.glob(pattern))
    if repo is None:
        print(f"not uploaded, since no --repo is given; it would be: {', '.join(files)}")
        return
    api = HfApi()
    api.create_repo(repo, private=private, exist_ok=True)
    print(api.upload_folder(repo_id=repo, folder_path=checkpoint, allow_patterns=list(_PUBLISHED)))


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
