"""Data of any source to a dataset: `python -m train.prepare recordings|chat|rooms|phd|kuailive-m3|kuailive`."""

from typing import Annotated

import tyro

from train.command import plain_errors
from train.data.chat_logs import ChatConfig
from train.data.kuailive import KuaiLiveConfig
from train.data.kuailive_m3 import M3Config
from train.data.phd import PhdConfig
from train.data.recordings import RecordingsConfig
from train.data.simulated_rooms import RoomsConfig


def main() -> None:
    """Run the command line."""
    command = tyro.cli(
        Annotated[RecordingsConfig, tyro.conf.subcommand("recordings")]
        | Annotated[ChatConfig, tyro.conf.subcommand("chat")]
        | Annotated[RoomsConfig, tyro.conf.subcommand("rooms")]
        | Annotated[PhdConfig, tyro.conf.subcommand("phd")]
        | Annotated[M3Config, tyro.conf.subcommand("kuailive-m3")]
        | Annotated[KuaiLiveConfig, tyro.conf.subcommand("kuailive")],
        prog="python -m train.prepare",
        description=__doc__,
    )
    with plain_errors():
        command.run()


if __name__ == "__main__":
    main()
