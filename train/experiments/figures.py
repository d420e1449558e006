"""Draw the paper's Figures 3 to 5, and a reliability diagram.

Run as `python -m train.experiments.figures fig3|fig4|fig5|reliability`.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
import tyro
from accelerate.utils import set_seed
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kuaihl.dtw import cosine_cost, path
from kuaihl.errors import LabelError
from kuaihl.model.config import KuaiHLConfig
from kuaihl.model.kuaihl import KuaiHL, load
from kuaihl.plots.style import target_name
from train.command import plain_errors
from train.dataset import DatasetInfo, Room, Segments
from train.experiments.figure_style import BLUE, GREY, VERMILION, make_panels, write_figure
from train.losses import Region, pairwise_loss
from train.run_state import LOG_FILE
from train.splits import select_rooms

_REGION_TITLES = {
    "all": r"$L^0_{Pair}$, Eq. 9: all pairs",
    "border": r"$L^1_{Pair}$, Eq. 10: within the border",
    "inverted": r"$L^2_{Pair}$, Eq. 11: Part 1 only",
    "under": r"$L^3_{Pair}$, Eq. 12: Part 2 only",
}


@dataclass(frozen=True)
class Fig3:
    """Pairwise losses of Eqs. 9-12 against s_i - s_j."""

    out: Path
    """PNG, PDF or SVG file to write."""
    true_gap: float = 0.3
    """y_i - y_j of the pair."""
    sigma: float = 1.0
    """Scale of the loss."""

    def draw(self) -> Figure:
        """Draw the figure."""
        gaps = np.linspace(-1, 1, 801)
        figure, axes = make_panels(1, 4, size=(12, 3.2), sharey=True)
        for axis, region in zip(axes[0], get_args(Region), strict=True):
            loss = pair_curve(region, gaps, true_gap=self.true_gap, sigma=self.sigma)
            counted = loss > 0
            axis.plot(gaps, np.where(counted, loss, np.nan), color=BLUE, lw=2.2)
            axis.plot(gaps, np.where(counted, np.nan, 0.0), color=VERMILION, lw=2.2, ls="--")
            for x, label in ((0.0, "0"), (self.true_gap, r"$y_i - y_j$")):
                axis.axvline(x, color=GREY, lw=0.9, ls=":")
                axis.annotate(label, (x, 1.0), (2, 0), xycoords=axis.get_xaxis_transform(), textcoords="offset points",
                              fontsize=8, color=GREY, va="top")  # fmt: skip
            for x, label in ((-0.5, "Part 1"), (self.true_gap / 2, "Part 2"), ((1 + self.true_gap) / 2, "Part 3")):
                axis.text(x, 0.2, label, transform=axis.get_xaxis_transform(), ha="center", fontsize=8, color=GREY)
            axis.set(title=_REGION_TITLES[region], xlabel=r"$s_i - s_j$", xlim=(-1, 1))
        axes[0, 0].set(ylabel=rf"$L_{{Pair}}$ of a pair ($\sigma$ = {self.sigma:g})")
        axes[0, 0].set_ylim(bottom=-0.12)
        figure.suptitle(f"Pairwise loss of a pair with $y_i - y_j$ = {self.true_gap:g}; dashed: no loss, no gradient")
        return figure


def pair_curve(region: Region, gaps: np.ndarray, *, true_gap: float, sigma: float) -> np.ndarray:
    """Return `pairwise_loss` of one pair with y_i - y_j = ``true_gap`` for each s_i - s_j of ``gaps`` (points,)."""
    true = torch.tensor([[true_gap, 0.0]], dtype=torch.float64)
    predicted = torch.from_numpy(np.stack([gaps, np.zeros_like(gaps)], axis=-1))
    return np.array([pairwise_loss(pair[None], true, region=region, sigma=sigma).item() for pair in predicted])


@dataclass(frozen=True)
class Fig4:
    """Point and pair losses with and without the border, a line per seed: in training (smoothed), and in validation."""

    runs: Path
    """Folder of the runs of train.experiments.ablate."""
    out: Path
    """PNG, PDF or SVG file to write."""
    without_border: str = "L0"
    """Name of the run with L^0."""
    with_border: str = "L1"
    """Name of the run with L^1."""

    def draw(self) -> Figure:
        """Draw the figure; LabelError if a run is missing."""
        figure, axes = make_panels(2, 2, size=(9, 6.2))
        kinds = (
            (self.without_border, VERMILION, "--", r"$L_{Point} + L^0_{Pair}$: no border"),
            (self.with_border, BLUE, "-", r"$L_{Point} + L^1_{Pair}$: within the border"),
        )
        for name, color, dashes, label in kinds:
            seeds = sorted(self.runs.glob(f"{name}-seed*"))
            if not seeds:
                raise LabelError(f"{self.runs} has no run {name}-seed*. Run train.experiments.ablate table2.")
            for k, run in enumerate(seeds):
                legend = f"{label} ({len(seeds)} seed{'s' if len(seeds) > 1 else ''})" if k == 0 else None
                for column, term in enumerate(("point", "pair")):
                    training, validation = (read_curve(run, f"{part}/{term}") for part in ("loss", "validation"))
                    smoothed = smooth(training.value, width=max(len(training.value) // 12, 1))
                    axes[0, column].plot(training.step, smoothed, color=color, ls=dashes, label=legend)
                    axes[1, column].plot(validation.step, validation.value, color=color, ls=dashes, marker="o", ms=3)
        for row, when in zip(axes, ("training", "validation"), strict=True):
            for axis, loss in zip(row, ("$L_{Point}$", "$L_{Pair}$ (mean over its pairs)"), strict=True):
                axis.set(title=when, xlabel="training step", ylabel=loss)
                axis.set_xlim(left=0)
        axes[0, 0].legend(fontsize=8, frameon=False)
        return figure


@dataclass(frozen=True, slots=True)
class LossCurve:
    """A scalar during training: ``step`` and ``value``, both (points,)."""

    step: np.ndarray
    value: np.ndarray


def read_curve(run: Path, name: str) -> LossCurve:
    """Read a scalar that train.fit logged, such as ``"loss/point"``; LabelError if there is none."""
    events = EventAccumulator(str(run / "curves"), size_guidance={"scalars": 0})
    events.Reload()
    if name not in events.Tags()["scalars"]:
        raise LabelError(f"{run} has no curve {name!r}: it is not a run of train.fit, or it stopped too early.")
    points = events.Scalars(name)
    return LossCurve(np.array([point.step for point in points]), np.array([point.value for point in points]))


def smooth(values: np.ndarray, *, width: int) -> np.ndarray:
    """Return the moving average over ``width`` points, fewer at the ends."""
    sums = np.r_[0.0, np.cumsum(values)]
    index = np.arange(len(values))
    first, last = np.maximum(index - width // 2, 0), np.minimum(index + (width + 1) // 2, len(values))
    return (sums[last] - sums[first]) / (last - first)


@dataclass(frozen=True)
class Fig5:
    """Alignment of windows of the test split: before training, trained without and with the alignment loss."""

    runs: Path
    """Folder of the runs of train.experiments.ablate."""
    dataset: Path
    """Dataset of the runs."""
    out: Path
    """PNG, PDF or SVG file to write."""
    windows: int = 3
    """Number of windows, each of another room, chosen at random."""
    seed: int = 0
    """Seed of the runs and of the choice."""

    def draw(self) -> Figure:
        """Draw the figure; LabelError if a run is missing or of another dataset, or the rooms are too few."""
        segments = Segments(self.dataset)
        unaligned, aligned = (_load_run(self.runs / f"{name}-seed{self.seed}", segments) for name in ("L1", "full"))
        models = {
            "before training": make_untrained(aligned.config, seed=self.seed),
            r"trained without $L_{align}$": unaligned,
            r"trained with $L_{align}$": aligned,
        }
        generator = np.random.default_rng(self.seed)
        windows = choose_windows(segments, count=self.windows, length=aligned.config.window, generator=generator)
        return draw_alignments(models, segments, windows)


@dataclass(frozen=True, slots=True)
class Window:
    """Segments ``start`` to ``stop`` (exclusive) of a room."""

    room: Room
    start: int
    stop: int


def choose_windows(segments: Segments, *, count: int, length: int, generator: np.random.Generator) -> list[Window]:
    """Choose windows of random test rooms with pictures and comments; LabelError if there are fewer than ``count``."""
    rooms = [
        room
        for room in select_rooms(segments, "test")
        if room.stop - room.start >= length
        and segments.scalar("has_pictures", room.start, room.stop).all()
        and segments.scalar("has_comments", room.start, room.stop).all()
    ]
    if len(rooms) < count:
        raise LabelError(
            f"The dataset has {len(rooms)} test rooms of {length} segments with pictures and comments: {count} are "
            "needed."
        )
    chosen = [rooms[k] for k in sorted(generator.choice(len(rooms), size=count, replace=False))]
    starts = [int(generator.integers(room.stop - room.start - length + 1)) for room in chosen]
    return [Window(room, start, start + length) for room, start in zip(chosen, starts, strict=True)]


@torch.inference_mode()
def alignment_cost(model: KuaiHL, segments: Segments, window: Window) -> np.ndarray:
    """Return 1 - cosine of the text (rows) and the pictures (columns) of each pair of segments of a window."""
    tokens = model.tokenize(segments.features(window.room, streamer=0))
    part = slice(window.start, window.stop)
    return cosine_cost(tokens.text[:, part], tokens.pictures[:, part])[0].numpy()


def make_untrained(config: KuaiHLConfig, *, seed: int) -> KuaiHL:
    """Create the model with which train.fit starts."""
    set_seed(seed)
    return KuaiHL(config).eval()


def draw_alignments(models: dict[str, KuaiHL], segments: Segments, windows: Sequence[Window]) -> Figure:
    """Draw cost and cheapest path of windows (rows) for models (columns, by title)."""
    figure, axes = make_panels(len(windows), len(models), size=(3.1 * len(models) + 0.8, 3.5 * len(windows) + 0.3))
    costs = [[alignment_cost(model, segments, window) for model in models.values()] for window in windows]
    for row, window, row_costs in zip(axes, windows, costs, strict=True):
        for axis, title, cost in zip(row, models, row_costs, strict=True):
            text, pictures = np.array(path(cost)).T
            image = axis.imshow(cost, cmap="cividis", vmin=np.min(costs), vmax=np.max(costs), origin="lower")
            for color, width in (("black", 4.5), ("white", 2.2)):
                axis.plot(pictures, text, color=color, lw=width, solid_joinstyle="round")
            on_path = np.zeros(cost.shape, dtype=bool)
            on_path[text, pictures] = True
            means = f"mean cost {cost[on_path].mean():.2f} on the path, {cost[~on_path].mean():.2f} off it"
            axis.set_title(f"{title}\n{means}", fontsize=8.5)
            axis.set_xlabel("visual frames (segment)")
            ticks = np.arange(0, window.stop - window.start, 5)
            axis.set_xticks(ticks, ticks + window.start)
            axis.set_yticks(ticks, ticks + window.start)
        row[0].set_ylabel(f"{window.room.name}\ntext (segment)")
    figure.colorbar(image, ax=axes, label="1 - cosine of text and visual frames", shrink=0.7)
    return figure


def _load_run(run: Path, segments: Segments) -> KuaiHL:
    """Load the checkpoint of a run; LabelError if it was trained on another dataset."""
    model, folder = load(run / "checkpoint")
    log = json.loads((folder / LOG_FILE).read_text(encoding="utf-8"))
    if [DatasetInfo(**info) for info in log["datasets"]] != [segments.info]:
        raise LabelError(f"{run} was trained on another dataset: give the dataset of the runs.")
    return model


@dataclass(frozen=True)
class Reliability:
    """Reliability diagram: predicted against true means (DeGroot and Fienberg, 1983)."""

    evaluation: Path
    """Report of train.evaluate."""
    out: Path
    """PNG, PDF or SVG file to write."""

    def draw(self) -> Figure:
        """Draw the figure; LabelError if the report cannot be read or has no calibration."""
        try:
            report = json.loads(self.evaluation.read_text(encoding="utf-8"))
            bins, error = report["calibration"]["bins"], report["calibration"]["expected_error"]
        except (OSError, ValueError, KeyError, TypeError) as failure:
            raise LabelError(
                f"{self.evaluation} is not a report with calibration: write one with train.evaluate --out."
            ) from failure
        name = target_name(report["target"])
        predicted, true = ([row[key] for row in bins] for key in ("predicted", "true"))
        figure, axes = make_panels(1, 1, size=(4.2, 4.4))
        axis = axes[0, 0]
        limits = min(predicted + true) - 0.03, max(predicted + true) + 0.03
        axis.plot(limits, limits, color=GREY, lw=1, ls="--", label="perfect calibration")
        axis.plot(predicted, true, color=BLUE, marker="o", ms=5, label=f"{report['split']} split")
        axis.set(xlim=limits, ylim=limits, aspect="equal")
        axis.xaxis.set_major_formatter("{x:.0%}")
        axis.yaxis.set_major_formatter("{x:.0%}")
        axis.set_xlabel(f"predicted {name}, mean of a bin")
        axis.set_ylabel(f"true {name}, mean of a bin")
        segments = sum(row["segments"] for row in bins)
        axis.set_title(f"{segments:,} segments of {report['rooms']} rooms; expected error {error:.3f}", fontsize=9)
        axis.legend(frameon=False, loc="upper left")
        return figure


def main() -> None:
    """Draw one figure."""
    command = tyro.extras.subcommand_cli_from_dict(
        {"fig3": Fig3, "fig4": Fig4, "fig5": Fig5, "reliability": Reliability},
        prog="python -m train.experiments.figures",
        description=__doc__,
    )
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns whenever a run was resumed
    with plain_errors():
        write_figure(command.draw(), command.out)
        print(command.out)


if __name__ == "__main__":
    main()
