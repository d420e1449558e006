"""A small dataset of simulated rooms, shared by the tests of the oracle, which must not change it."""

from pathlib import Path

import pytest

from train.simulator.rooms.room import Room, room_ids, simulate_room
from train.simulator.settings import SimulatorConfig

# The noise is large and visible in the reactions of the audience only.
CONFIG = SimulatorConfig(size="tiny", min_segments=100, max_segments=100, noise_sd=1.0, max_comments=30)


@pytest.fixture(scope="session")
def oracle_rooms() -> dict[str, Room]:
    return {name: simulate_room(CONFIG, index) for index, name in enumerate(room_ids(CONFIG))}


@pytest.fixture(scope="session")
def oracle_dataset(oracle_rooms: dict[str, Room], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rooms as a dataset without pictures and text."""
    from tests.fixtures.small_dataset import write_simulated

    folder = tmp_path_factory.mktemp("datasets") / "rooms"
    write_simulated(folder, CONFIG, oracle_rooms)
    (folder / "distill.json").write_text("{}")
    return folder
