"""Draws the paper's Figures 3 to 5 from this code and its runs, and how far percentages can be trusted.

Run as `python -m train.experiments.figures fig3|fig4|fig5|reliability`.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

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
from train.command import plain_errors
from train.dataset import DatasetInfo, Room, Segments
from train.experiments.drawing import BLUE, GREY, VERMILION, panels, write
from train.experiments.reliability import Reliability
from train.losses import Region, pairwise_loss
from train.run_state import LOG_FILE
from train.splits import select_rooms

_REGION_TITLES = {
    "all": r"$L^0_{Pair}$, Eq. 9: all pairs",
    "border": r"$L^1_{Pair}$, Eq. 10: within the border",
    "inverted": r"$L^2_{Pair}$, Eq. 11: Part 1 alone",
    "under": r"$L^3_{Pair}$, Eq. 12: Part 2 alone",
}


def pair_curve(region: Region, gaps: np.ndarray, *, true_gap: float, sigma: float) -> np.ndarray:
    """`pairwise_loss` of one pair with y_i - y_j = ``true_gap`` at each s_i - s_j of ``gaps`` (points,), in [-1, 1]."""
    true = torch.tensor([[true_gap, 0.0]], dtype=torch.float64)
    predicted = torch.from_numpy(np.stack([gaps, np.zeros_like(gaps)], axis=-1))
    return np.array([pairwise_loss(s[None], true, region=region, sigma=sigma).item() for s in predicted])


def draw_fig3(*, true_gap: float = 0.3, sigma: float = 1.0) -> Figure:
    """Draw the four pairwise losses of Eqs. 9-12 against s_i - s_j, for a pair with a given y_i - y_j (Fig. 3)."""
    gaps = np.linspace(-1, 1, 801)
    figure, axes = panels(1, 4, size=(12, 3.2), sharey=True)
    for axis, region in zip(axes[0], get_args(Region), strict=True):
        loss = pair_curve(region, gaps, true_gap=true_gap, sigma=sigma)
        counted = loss > 0
        axis.plot(gaps, np.where(counted, loss, np.nan), color=BLUE, lw=2.2)
        axis.plot(gaps, np.where(counted, np.nan, 0.0), color=VERMILION, lw=2.2, ls="--")
        for x, label in ((0.0, "0"), (true_gap, r"$y_i - y_j$")):
            axis.axvline(x, color=GREY, lw=0.9, ls=":")
            axis.annotate(label, (x, 1.0), (2, 0), xycoords=axis.get_xaxis_transform(), textcoords="offset points",
                          fontsize=8, color=GREY, va="top")  # fmt: skip
        for x, label in ((-0.5, "Part 1"), (true_gap / 2, "Part 2"), ((1 + true_gap) / 2, "Part 3")):
            axis.text(x, 0.2, label, transform=axis.get_xaxis_transform(), ha="center", fontsize=8, color=GREY)
        axis.set(title=_REGION_TITLES[region], xlabel=r"$s_i - s_j$", xlim=(-1, 1))
    axes[0, 0].set(ylabel=rf"$L_{{Pair}}$ of a pair ($\sigma$ = {sigma:g})")
    axes[0, 0].set_ylim(bottom=-0.12)
    figure.suptitle(
        f"Pairwise loss of a pair with $y_i - y_j$ = {true_gap:g}; dashed: not counted, so without gradient"
    )
    return figure


@dataclass(frozen=True, slots=True)
class Curve:
    """A scalar over the training of one run: ``step`` and ``value``, both (points,)."""

    step: np.ndarray
    value: np.ndarray


def read_curve(run: Path, name: str) -> Curve:
    """Read a scalar that train.fit logged, such as ``"loss/point"``; steps taken again after a stop count once.

    Raises
    ------
    LabelError
        The run has no such curve.
    """
    events = EventAccumulator(str(run / "curves"), size_guidance={"scalars": 0})
    events.Reload()
    if name not in events.Tags()["scalars"]:
        raise LabelError(f"{run} has no curve {name!r}: it is no run of train.fit, or it was stopped before its first.")
    points = events.Scalars(name)
    return Curve(np.array([point.step for point in points]), np.array([point.value for point in points]))


def smooth(values: np.ndarray, *, width: int) -> np.ndarray:
    """Mean over up to ``width`` points around each; fewer at the ends, where a window is cut."""
    sums = np.r_[0.0, np.cumsum(values)]
    at = np.arange(len(values))
    first, last = np.maximum(at - width // 2, 0), np.minimum(at + (width + 1) // 2, len(values))
    return (sums[last] - sums[first]) / (last - first)


def draw_fig4(runs: Path, *, without_border: str, with_border: str) -> Figure:
    """Draw L_Point and L_Pair with L^0 and with L^1 (Fig. 4), a line a seed: in training, smoothed, and in validation.

    Raises
    ------
    LabelError
        Either run is missing in ``runs``.
    """
    figure, axes = panels(2, 2, size=(9, 6.2))
    kinds = (
        (without_border, VERMILION, "--", r"$L_{Point} + L^0_{Pair}$: no border"),
        (with_border, BLUE, "-", r"$L_{Point} + L^1_{Pair}$: within the border"),
    )
    for name, color, dashes, label in kinds:
        seeds = sorted(runs.glob(f"{name}-seed*"))
        if not seeds:
            raise LabelError(f"{runs} holds no run {name}-seed*: train it with train.experiments.ablate table2.")
        for k, run in enumerate(seeds):
            shown = f"{label} ({len(seeds)} seed{'s' if len(seeds) > 1 else ''})" if k == 0 else None
            for column, term in enumerate(("point", "pair")):
                curve, validation = (read_curve(run, f"{part}/{term}") for part in ("loss", "validation"))
                width = max(len(curve.value) // 12, 1)
                axes[0, column].plot(curve.step, smooth(curve.value, width=width), color=color, ls=dashes, label=shown)
                axes[1, column].plot(validation.step, validation.value, color=color, ls=dashes, marker="o", ms=3)
    for row, when in zip(axes, ("during training", "on the validation split"), strict=True):
        for axis, loss in zip(row, ("$L_{Point}$", "$L_{Pair}$ (mean over its own pairs)"), strict=True):
            axis.set(title=when, xlabel="training step", ylabel=loss)
            axis.set_xlim(left=0)
    axes[0, 0].legend(fontsize=8, frameon=False)
    return figure


@dataclass(frozen=True, slots=True)
class Window:
    """Segments ``start`` to ``stop`` of a room, counted from its beginning."""

    room: Room
    start: int
    stop: int


def choose_windows(segments: Segments, *, count: int, length: int, generator: np.random.Generator) -> list[Window]:
    """Choose windows at random from rooms of the test split that have pictures and text, each from another room.

    Raises
    ------
    LabelError
        There are not so many such rooms that long.
    """
    rooms = [
        room
        for room in select_rooms(segments, "test")
        if room.stop - room.start >= length
        and segments.scalar("has_pictures", room.start, room.stop).all()
        and segments.scalar("has_comments", room.start, room.stop).all()
    ]
    if len(rooms) < count:
        raise LabelError(
            f"The dataset has {len(rooms)} test rooms of {length} segments and all modalities, not {count}."
        )
    chosen = [rooms[k] for k in sorted(generator.choice(len(rooms), size=count, replace=False))]
    starts = [int(generator.integers(room.stop - room.start - length + 1)) for room in chosen]
    return [Window(room, start, start + length) for room, start in zip(chosen, starts, strict=True)]


@torch.inference_mode()
def window_cost(model: KuaiHL, segments: Segments, window: Window) -> np.ndarray:
    """Cost 1 - cosine of each text (rows) with the pictures of each segment (columns) of a window, by the tokens."""
    tokens = model.tokens(segments.features(window.room, streamer=0))
    cut = slice(window.start, window.stop)
    return cosine_cost(tokens.text[:, cut], tokens.pictures[:, cut])[0].numpy()


def untrained(config: KuaiHLConfig, *, seed: int) -> KuaiHL:
    """Make the model with whose projections train.fit began with this seed."""
    set_seed(seed)
    return KuaiHL(config).eval()


def draw_fig5(models: dict[str, KuaiHL], segments: Segments, windows: Sequence[Window]) -> Figure:
    """Draw cost and cheapest path of windows (rows) under models (columns, by title), in the manner of Fig. 5.

    A path off the diagonal has more cells, each of which costs, so it is drawn only where costs differ by as much.
    """
    figure, axes = panels(len(windows), len(models), size=(3.1 * len(models) + 0.8, 3.5 * len(windows) + 0.3))
    costs = [[window_cost(model, segments, window) for model in models.values()] for window in windows]
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


@dataclass(frozen=True)
class Fig3:
    """Loss against s_i - s_j for the four regions."""

    out: Path
    """PNG, PDF or SVG file to write."""
    true_gap: float = 0.3
    """y_i - y_j of the pair."""
    sigma: float = 1.0
    """Scale of the loss."""

    def draw(self) -> Figure:
        """Draw it."""
        return draw_fig3(true_gap=self.true_gap, sigma=self.sigma)


@dataclass(frozen=True)
class Fig4:
    """Point and pair losses during training, with and without the border."""

    runs: Path
    """Folder of the runs of train.experiments.ablate."""
    out: Path
    """PNG, PDF or SVG file to write."""
    without_border: str = "L0"
    """Name of the run with L^0."""
    with_border: str = "L1"
    """Name of the run with L^1."""

    def draw(self) -> Figure:
        """Draw it."""
        return draw_fig4(self.runs, without_border=self.without_border, with_border=self.with_border)


@dataclass(frozen=True)
class Fig5:
    """Alignments of windows of the test split: before training, trained without and with the alignment loss."""

    runs: Path
    """Folder of the runs of train.experiments.ablate."""
    dataset: Path
    """Dataset of these runs."""
    out: Path
    """PNG, PDF or SVG file to write."""
    windows: int = 3
    """How many windows, chosen at random, each of another room."""
    seed: int = 0
    """Seed of the runs, and of the choice."""

    def draw(self) -> Figure:
        """Draw it."""
        segments = Segments(self.dataset)
        without, trained = (_load(self.runs / f"{name}-seed{self.seed}", segments) for name in ("L1", "full"))
        models = {
            "before training": untrained(trained.config, seed=self.seed),
            r"trained without $L_{align}$": without,
            r"trained with $L_{align}$": trained,
        }
        generator = np.random.default_rng(self.seed)
        chosen = choose_windows(segments, count=self.windows, length=trained.config.window, generator=generator)
        return draw_fig5(models, segments, chosen)


def _load(run: Path, segments: Segments) -> KuaiHL:
    """Checkpoint of a run, if it is one on this dataset."""
    model, folder = load(run / "checkpoint")
    log = json.loads((folder / LOG_FILE).read_text(encoding="utf-8"))
    if [DatasetInfo(**info) for info in log["datasets"]] != [segments.info]:
        raise LabelError(f"{run} was trained on another dataset: pass the one that train.experiments.ablate was given.")
    return model


def main() -> None:
    """Draw one figure."""
    command = tyro.cli(
        Annotated[Fig3, tyro.conf.subcommand("fig3")]
        | Annotated[Fig4, tyro.conf.subcommand("fig4")]
        | Annotated[Fig5, tyro.conf.subcommand("fig5")]
        | Annotated[Reliability, tyro.conf.subcommand("reliability")],
        prog="python -m train.experiments.figures",
        description=__doc__,
    )
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns of every place where a run went on
    with plain_errors():
        write(command.draw(), command.out)
        print(command.out)


if __name__ == "__main__":
    main()
