"""Small datasets and a trained model, shared by all tests of training, which must not change them."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms, whose target is LVTR: 93 training windows."""
    from tests.fixtures.small_dataset import write_dataset

    path = tmp_path_factory.mktemp("rooms")
    write_dataset(path)
    return path


@pytest.fixture(scope="session")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chats, whose target is participation: 62 training windows."""
    from tests.fixtures.small_dataset import write_chat_dataset

    path = tmp_path_factory.mktemp("chats")
    write_chat_dataset(path)
    return path


@pytest.fixture(scope="session")
def trained(rooms: Path, chats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on both: 20 epochs of 10 steps."""
    import torch

    from tests.fixtures.training_runs import config
    from train.fit import fit

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("trained")
    fit(config((rooms, chats), out, epochs=20, log_every=1))
    torch.set_num_threads(threads)
    return out


@pytest.fixture(scope="session")
def real_chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of chat logs: 12 streams of two channels."""
    from tests.fixtures.chats import write_chats
    from train.data.chat_logs import ChatConfig, prepare_chat

    folder = tmp_path_factory.mktemp("logs")
    write_chats(folder / "chats.parquet")
    prepare_chat(ChatConfig(logs=folder / "chats.parquet", out=folder / "dataset", text=False))
    return folder / "dataset"


@pytest.fixture(scope="session")
def simulated_rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the rooms of `SIMULATION`."""
    from tests.fixtures.small_dataset import SIMULATION
    from train.data.simulated_rooms import RoomsConfig, prepare_rooms

    path = tmp_path_factory.mktemp("simulated")
    prepare_rooms(RoomsConfig(size="tiny", out=path), SIMULATION)
    return path
