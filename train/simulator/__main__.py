"""Render a simulated room as a recording with its logs.

``python -m train.prepare rooms`` makes a dataset of all rooms.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from train.command import plain_errors
from train.simulator.render.video import render_room
from train.simulator.rooms.comment_bank import read_bank
from train.simulator.rooms.photo_scenes import read_scenes
from train.simulator.rooms.room import find_room, simulate_room
from train.simulator.settings import SimulatorConfig, SizeName


@dataclass(frozen=True, slots=True)
class Stream:
    """Render one room to recording.mp4, comments.json, impressions.csv and truth.json."""

    room: str
    """Id of the room, such as test-0141, or its number."""
    out: Path
    """Output folder."""
    size: SizeName = "small"
    """Size of the simulation."""
    seed: int = 0
    minutes: float | None = None
    """Length of the recording; the whole room by default."""
    scenes: Path | None = None
    """Folder or tar of photos, one folder per class; drawings by default."""
    comment_bank: Path | None = None
    """Parquet file of real chat (columns vod, time_s, text); generated comments by default."""

    def run(self) -> None:
        """Render the room."""
        config = SimulatorConfig(size=self.size, seed=self.seed)
        room = simulate_room(
            config,
            find_room(config, self.room),
            scenes=None if self.scenes is None else read_scenes(self.scenes),
            bank=None if self.comment_bank is None else read_bank(self.comment_bank),
        )
        until_s = None if self.minutes is None else 60.0 * self.minutes
        rendered = render_room(room, self.out, until_s=until_s, progress=_print_progress)
        print(f"\n{rendered.recording}: {rendered.duration_s:.0f} s of {room.id}, {rendered.comments} comments")


def _print_progress(fraction: float) -> None:
    print(f"\rrendering {fraction:4.0%}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    command = tyro.extras.subcommand_cli_from_dict(
        {"stream": Stream}, prog="python -m train.simulator", description=__doc__
    )
    with plain_errors():
        command.run()
