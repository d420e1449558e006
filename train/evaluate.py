"""Scores a checkpoint on a dataset. Run as `python -m train.evaluate --checkpoint C --dataset D [--split test]`."""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from kuaihl.errors import CheckpointError, LabelError
from kuaihl.model.config import KuaiHLConfig
from kuaihl.model.inputs import PICTURES, ModelInputs
from kuaihl.model.kuaihl import KuaiHL, Tokens, load, sha256_of
from train.command import plain_errors
from train.data.participation import leave_out
from train.dataset import DatasetInfo, Room, Segments, stack
from train.metrics import calibration, paired_interval, taus

Source = Literal["pictures", "speech", "comments", "streamer", "activity", "words"]
"""What a model can be made to do without."""
RIVALS = {"last_value": "last", "true_persistence": "appeal_before", "ceiling": "appeal"}
"""Names in the report of what the model is compared with, and the columns of `Scores` that they are."""
TABLES = ("kuaihl", "known_streamers", "new_streamers", *RIVALS)
"""Keys of the report that hold tau at every Delta; ``kuaihl_minus_...`` hold differences, all others single facts."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Every scored segment: predicted and true LVTR, room, whether its streamer is known, and the simulator's truth.

    All (segments,). ``appeal`` and ``appeal_before`` are p_t and p_{t-1}, NaN where the truth is not known; ``last``
    is the true LVTR of the segment before, NaN where that has none.
    """

    predicted: np.ndarray
    true: np.ndarray
    room: np.ndarray
    known: np.ndarray
    appeal: np.ndarray
    appeal_before: np.ndarray
    last: np.ndarray


def rooms_of(segments: Segments, split: str, *, left_out: Sequence[str] = ()) -> list[Room]:
    """Rooms of a split, which is made anew where streamers are ``left_out`` for testing; LabelError if it is empty."""
    everything = leave_out(segments, left_out) if left_out else segments.rooms
    rooms = [room for room in everything if room.split == split]
    if not rooms:
        raise LabelError(f"The dataset has no {split!r} rooms; it has {sorted({r.split for r in everything})}.")
    return rooms


def score(
    model: KuaiHL, segments: Segments, rooms: Sequence[Room], *, without: Collection[Source] = frozenset()
) -> Scores:
    """Score each labelled segment but the first of each room once, from the window before it.

    What is in ``without`` is masked as if it were missing: "streamer" makes all unknown, "speech" and "comments" also
    hide how much was said and written, "activity" hides that alone, and "words" the tokens of words. ``known`` tells
    the checkpoint's streamers always.
    The head is that of the dataset's target: CheckpointError where there is none.
    """
    columns: dict[str, list[np.ndarray]] = {name: [] for name in Scores.__slots__}
    for room in rooms:
        index = model.streamer_index(room.streamer)
        curve = _curve(model, segments, room, streamer=index, without=frozenset(without))
        true = segments.scalar("label", room.start, room.stop)
        valid = segments.scalar("valid", room.start, room.stop)
        appeal = segments.column("appeal", room).astype(np.float64)
        scored = valid & (np.arange(len(true)) > 0)
        before = np.r_[np.nan, np.where(valid, true, np.nan)[:-1]]
        columns["predicted"].append(curve[scored])
        columns["true"].append(true[scored])
        columns["room"].append(np.full(scored.sum(), room.name))
        columns["known"].append(np.full(scored.sum(), index > 0))
        columns["appeal"].append(appeal[scored])
        columns["appeal_before"].append(np.r_[np.nan, appeal[:-1]][scored])
        columns["last"].append(before[scored])
    return Scores(**{name: np.concatenate(parts) for name, parts in columns.items()})


def _curve(model: KuaiHL, segments: Segments, room: Room, *, streamer: int, without: frozenset[Source]) -> np.ndarray:
    """Predictions for a room's segments (segments,), the first of which is NaN."""
    target = model.config.target_index(segments.info.target)
    window = segments.window(room.start, room.stop, dropped=without.union(model.config.targets[target].excluded_inputs))
    features = stack([window], streamers=[0 if "streamer" in without else streamer], length=room.stop - room.start)
    hidden = [place for name, place in _places(model.config).items() if name in without]
    with _hidden(model, hidden) if hidden else nullcontext():
        return model.sweep(features, target=target).numpy()[:-1]


def _places(config: KuaiHLConfig) -> dict[str, slice]:
    """Where the tokens that the paper does not have are among those of a segment."""
    lengths = {"activity": 2 * config.activity, "words": config.words + config.word_shares}
    ends = dict(zip(lengths, PICTURES + 1 + np.cumsum([*lengths.values()]), strict=True))
    return {name: slice(end - lengths[name], end) for name, end in ends.items() if lengths[name]}


@contextmanager
def _hidden(model: KuaiHL, places: Sequence[slice]) -> Iterator[None]:
    """Mark tokens of each segment as not present."""

    def tokens(features: ModelInputs, *, target: int = 0) -> Tokens:
        found = KuaiHL.tokens(model, features, target=target)
        for place in places:
            found.present[..., place] = False
        return found

    model.tokens = tokens
    try:
        yield
    finally:
        del model.tokens


def check_encoders(folder: Path, model: KuaiHL, info: DatasetInfo) -> None:
    """Refuse features of another encoder than the checkpoint's, where it made any: CheckpointError."""
    from kuaihl.features.pretrained import find_text_encoder, find_visual_encoder, sha256_file

    config = model.config
    found = {
        config.visual_encoder: sha256_file(find_visual_encoder(config.visual_encoder, checkpoint=folder)),
        config.text_encoder: sha256_file(
            find_text_encoder(config.text_encoder, checkpoint=folder) / "model.safetensors"
        ),
    }
    for name, digest in found.items():
        if name not in (info.visual_encoder, info.text_encoder) or info.encoders.get(name, digest) != digest:
            raise CheckpointError(
                f"The dataset's features are not those of the checkpoint's {name} ({digest[:12]}): it was made with "
                f"{', '.join(f'{k} ({v[:12]})' for k, v in info.encoders.items()) or info.visual_encoder}. Prepare it "
                "with this checkpoint."
            )


def check_left_out(checkpoint: Path, model: KuaiHL, left_out: Collection[str]) -> None:
    """Refuse a checkpoint that learned from streamers that it should be tested on: CheckpointError."""
    if seen := set(left_out) & set(model.config.streamers):
        raise CheckpointError(f"{checkpoint} was trained on {', '.join(sorted(seen))}, which should be left out.")


def evaluate(
    checkpoint: Path,
    dataset: Path,
    *,
    split: str = "test",
    left_out: Sequence[str] = (),
    without: Sequence[Source] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Score a checkpoint on one split: tau at every Delta beside what knows the truth and what knows nothing.

    Of its heads, it is that of the dataset's target which predicts.

    Raises
    ------
    CheckpointError, LabelError
        The checkpoint or the dataset cannot be read, or they do not belong together; the checkpoint learned from
        streamers that are ``left_out``.
    """
    model, folder = load(checkpoint)
    segments = Segments(dataset)
    check_encoders(folder, model, segments.info)
    rooms = rooms_of(segments, split, left_out=left_out)
    check_left_out(checkpoint, model, left_out)
    scores = score(model, segments, rooms, without=without)
    if not len(scores.true):
        raise LabelError(f"No segment of the {split!r} rooms of {dataset} has a label and a segment before it.")
    generator = np.random.default_rng(seed)
    report: dict[str, Any] = {
        "checkpoint_sha256": sha256_of(folder),
        "dataset": segments.info.source,
        "target": segments.info.target,
        "split": split,
        "left_out": list(left_out),
        "without": ", ".join(sorted(set(without))),
        "rooms": len(rooms),
        "kuaihl": _table(scores, scores.predicted),
        "known_streamers": _table(scores, scores.predicted, kept=scores.known),
        "new_streamers": _table(scores, scores.predicted, kept=~scores.known),
    }
    for name, column in RIVALS.items():
        rival = getattr(scores, column)
        shared = np.isfinite(rival)
        if not shared.any():
            continue
        report[name] = _table(scores, rival, kept=shared)
        report[f"kuaihl_minus_{name}"] = _gap(scores, rival, kept=shared, generator=generator)
    return report | {"calibration": asdict(calibration(scores.predicted, scores.true))}


def _table(scores: Scores, predicted: np.ndarray, *, kept: np.ndarray | None = None) -> list[dict[str, Any]]:
    kept = np.ones(len(predicted), dtype=bool) if kept is None else kept
    return [asdict(tau) for tau in taus(predicted[kept], scores.true[kept], scores.room[kept])]


def _gap(
    scores: Scores, rival: np.ndarray, *, kept: np.ndarray, generator: np.random.Generator
) -> dict[str, float | list[float] | None]:
    """How much better than a rival where that is defined; None where a tau is not, as for a constant."""
    predicted, rival, true, room = scores.predicted[kept], rival[kept], scores.true[kept], scores.room[kept]
    ours, theirs = (taus(x, true, room, deltas=[None])[0].pooled for x in (predicted, rival))
    if ours is None or theirs is None:
        return {"pooled": None, "interval": None}
    low, high = paired_interval(predicted, rival, true, room, generator=generator)
    return {"pooled": ours - theirs, "interval": [low, high]}


def write_report(report: dict[str, Any], out: Path) -> None:
    """Write the report as JSON, whole or not at all, in a folder that is made where there is none."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    part.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(out)


def print_report(report: dict[str, Any]) -> None:
    """Print the report as a table for people."""
    print(f"{report['target']} on {report['split']}: {report['rooms']} rooms of {report['dataset']}")
    print(f"checkpoint {report['checkpoint_sha256'][:12]}")
    if report["left_out"]:
        print(f"on streamers left out of its training: {', '.join(report['left_out'])}")
    if report["without"]:
        print(f"without {report['without']}")
    print(f"\n{'':<18}{'Delta':>7}{'tau pooled':>12}{'tau per room':>14}{'segments':>10}{'rooms':>7}{'skipped':>9}")
    for name in (name for name in TABLES if name in report and report[name][0]["segments"]):
        for k, row in enumerate(report[name]):
            delta = "all" if row["delta"] is None else f"{row['delta']:.1f}"
            pooled, each = ("-" if row[c] is None else f"{row[c]:.4f}" for c in ("pooled", "per_room"))
            counts = f"{row['segments']:>10}{row['rooms']:>7}{row['rooms_skipped']:>9}"
            print(f"{name.replace('_', ' ') if k == 0 else '':<18}{delta:>7}{pooled:>12}{each:>14}{counts}")
    for name in (f"kuaihl_minus_{rival}" for rival in RIVALS):
        if name in report and report[name]["pooled"] is not None:
            low, high = report[name]["interval"]
            interval = f"95 % interval {low:+.4f} to {high:+.4f}" if report["rooms"] > 1 else "one room has no interval"
            gap = f"{report[name]['pooled']:+.4f}, {interval}"
            print(f"{name.replace('_', ' ')}: {gap}")
    found = report["calibration"]
    errors = f"Brier score {found['brier']:.4f}, expected error {found['expected_error']:.4f}"
    print(f"calibration: {errors} in {len(found['bins'])} bins of equally many segments")


def main(
    checkpoint: Path,
    dataset: Path,
    split: str = "test",
    left_out: tuple[str, ...] = (),
    without: tyro.conf.UseAppendAction[tuple[Source, ...]] = (),
    out: Path | None = None,
) -> None:
    """Score a checkpoint.

    Parameters
    ----------
    checkpoint
        Folder with config.json and model.safetensors.
    dataset
        Folder that train.prepare or train.simulator wrote.
    split
        train, validation or test.
    left_out
        Streamers whose rooms are all for testing, as train.fit was told; the dataset's own split counts no more.
    without
        Hide this from the model; can be given several times.
    out
        JSON file for the numbers.
    """
    report = evaluate(checkpoint, dataset, split=split, left_out=left_out, without=without)
    if out:
        write_report(report, out)
    print_report(report)


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
