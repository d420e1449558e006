"""Command line of KLive-Sim: a room as a recording (stream), and what of them shows; see also train.prepare rooms."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from train.command import plain_errors
from train.simulator.settings import SimulatorConfig, SizeName


@dataclass(frozen=True, slots=True)
class Stream:
    """Render one room to recording.mp4, comments.json, impressions.csv and truth.json."""

    room: str
    """Name of the room, such as test-0141, or its index."""
    out: Path
    """Folder to write into."""
    size: SizeName = "small"
    """Which simulation the room is of."""
    seed: int = 0
    minutes: float | None = None
    """Cut the recording after this long."""
    scenes: Path | None = None
    """Folder or tar of photos, folders = classes; without it scenes are drawn."""
    comment_bank: Path | None = None
    """Parquet file of real chat (columns vod, time_s, text); without it comments are made up."""

    def run(self) -> None:
        """Render."""
        from train.simulator.render.photo_scenes import read_scenes
        from train.simulator.render.video import render
        from train.simulator.rooms.comment_bank import read_bank
        from train.simulator.rooms.room import find_room, room

        config = SimulatorConfig(size=self.size, seed=self.seed)
        made = room(
            config,
            find_room(config, self.room),
            scenes=None if self.scenes is None else read_scenes(self.scenes),
            bank=None if self.comment_bank is None else read_bank(self.comment_bank),
        )
        until_s = None if self.minutes is None else 60.0 * self.minutes
        rendered = render(made, self.out, until_s=until_s, progress=_progress)
        print(f"\n{rendered.recording}: {rendered.duration_s:.0f} s of {made.id}, {rendered.comments} comments")


@dataclass(frozen=True, slots=True)
class Bound:
    """Score observers who know the truth of all that shows, beside true persistence: how far one could get."""

    dataset: Path
    """Folder that train.prepare rooms wrote."""
    scenes: Path | None = None
    """The photos that it was made with, if it was."""
    comment_bank: Path | None = None
    """The chat that it was made with, if it was."""
    out: Path | None = None
    """JSON file for the numbers."""

    def run(self) -> None:
        """Fit, score and print."""
        from train.files import write_json
        from train.simulator.oracle import bound, print_bound

        found = bound(self.dataset, scenes=self.scenes, comment_bank=self.comment_bank)
        if self.out:
            write_json(self.out, asdict(found))
        print_bound(found)


@dataclass(frozen=True, slots=True)
class Foresee:
    """Write a dataset of rooms anew, with labels for training that leave out what nobody could foresee."""

    dataset: Path
    """Folder that train.prepare rooms wrote."""
    out: Path
    """Folder to write into."""
    rooms: int = 9000
    """How many other rooms the observer learns from, whose forecasts these labels are."""
    scenes: Path | None = None
    """The photos that the dataset was made with, if it was."""
    comment_bank: Path | None = None
    """The chat that the dataset was made with, if it was."""
    workers: int = 1
    """Processes that make the other rooms."""

    def run(self) -> None:
        """Make rooms, fit, write, and print how well the observer foresees the test rooms."""
        from train.simulator.foresee import foresee

        tau = foresee(
            self.dataset,
            self.out,
            rooms=self.rooms,
            scenes=self.scenes,
            comment_bank=self.comment_bank,
            workers=self.workers,
        )
        print(f"the observer's forecasts of the test rooms: tau {tau.pooled:.4f} pooled, {tau.per_room:.4f} per room")


def main() -> None:
    """Run the command; what the user can mend is one line on stderr and exit code 2."""
    command = tyro.cli(
        Annotated[Stream, tyro.conf.subcommand("stream")]
        | Annotated[Bound, tyro.conf.subcommand("bound")]
        | Annotated[Foresee, tyro.conf.subcommand("foresee")],
        prog="python -m train.simulator",
        description=__doc__,
    )
    with plain_errors():
        command.run()


def _progress(fraction: float) -> None:
    print(f"\rrendering {fraction:4.0%}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
