"""The dataset on disk: what was written is read, and windows and their masks are right."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from kuaihl.errors import LabelError
from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.features.embeddings import SOURCES
from kuaihl.model.config import PRESETS, Target
from tests.fixtures.small_dataset import INFO, LENGTHS
from train.dataset import BLANK, Batch, Room, Segments, Windows, read_info, write_info

CONFIG = replace(PRESETS["debug"], picture_dim=8, text_dim=6, streamers=("streamer 0", "streamer 1"))
TOKENS = {"pictures": "pictures", "speech": "speech_activity", "comments": "chat_activity"}


@pytest.fixture(scope="module")
def segments(rooms: Path) -> Segments:
    return Segments(rooms)


def open_windows(segments: Segments, *, dropout: float = 0.0, seed: int = 0) -> Windows:
    rooms = [room for room in segments.rooms if room.split == "train"]
    return Windows(segments, rooms, CONFIG, streamer_dropout=dropout, modality_dropout=dropout, seed=seed)


def read_batch(windows: Windows, indices: list[int]) -> Batch:
    (batch,) = windows.__getitems__(indices)
    return batch


def find_room(segments: Segments, name: str) -> Room:
    return next(room for room in segments.rooms if room.name == name)


def stack_masks(batch: Batch, *sources: str) -> torch.Tensor:
    return torch.stack([batch.features.mask(TOKENS[source]) for source in sources])


def test_rooms_and_columns(rooms: Path, segments: Segments) -> None:
    assert segments.info == INFO
    assert {room.name: room.stop - room.start for room in segments.rooms} == LENGTHS
    for room in segments.rooms:
        table = pq.read_table(rooms / "rooms" / f"{room.name}.parquet")
        rows = np.array(table["pictures"].to_pylist(), dtype=np.float16)
        np.testing.assert_array_equal(segments.array("pictures", room.start, room.stop), rows)
        np.testing.assert_array_equal(segments.column("index", room), np.arange(len(rows)))


def test_a_wrong_step_ahead_is_refused(tmp_path: Path) -> None:
    write_info(tmp_path, INFO)
    file = tmp_path / "dataset.json"
    file.write_text(file.read_text().replace('"ahead": 1', '"ahead": 2'))
    with pytest.raises(LabelError, match="ahead must be 0 or 1"):
        read_info(tmp_path)


@pytest.mark.parametrize("ahead", [0, 1])
def test_every_window_once_with_its_labels(ahead: int, rooms: Path, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(rooms, tmp_path / "dataset"))
    write_info(dataset, replace(INFO, ahead=ahead))
    windows = open_windows(Segments(dataset))
    names = [name for name in LENGTHS if name.startswith("train")]
    assert len(windows) == sum(LENGTHS[name] - ahead for name in names)
    index = 0
    for name in names:
        rows = pq.read_table(rooms / "rooms" / f"{name}.parquet").to_pydict()
        for end in range(LENGTHS[name] - ahead):
            batch = read_batch(windows, [index])
            start = max(0, end + 1 - CONFIG.window)
            length = end + 1 - start
            assert batch.segment_mask[0].tolist() == [True] * length + [False] * (CONFIG.window - length)
            assert batch.label_mask[0, :length].tolist() == rows["valid"][start + ahead : end + 1 + ahead]
            labels = torch.tensor(rows["label"][start + ahead : end + 1 + ahead]).nan_to_num()
            torch.testing.assert_close(batch.label[0, :length], labels)
            activity = torch.tensor(rows["activity"][start : end + 1])
            torch.testing.assert_close(batch.features.chat_activity[0, :length], activity[:, : len(CHAT_COLUMNS)])
            assert not batch.label_mask[0, length:].any()
            assert not batch.features.mask("pictures")[0, length:].any()
            assert [room.name for room in windows.rooms_of([index])] == [name]
            index += 1


def test_text_is_of_what_is_present(segments: Segments) -> None:
    for name, column in (("train-0", "text_both"), ("train-1", "text_comments"), ("train-2", "text_speech")):
        room = find_room(segments, name)
        text = segments.features(room, streamer=0).text[0]
        np.testing.assert_array_equal(text, segments.array(column, room.start, room.stop))
    room = segments.rooms[-1]
    features = segments.features(room, streamer=0, excluded=["comments"])
    np.testing.assert_array_equal(features.text[0], segments.array("text_speech", room.start, room.stop))
    assert not features.mask("chat_activity").any()


def test_randomness_depends_on_seed_epoch_and_window(segments: Segments) -> None:
    windows, other = open_windows(segments, dropout=0.5), open_windows(segments, dropout=0.5)
    batch = read_batch(windows, [*range(40)])
    for k in range(39, -1, -1):
        single = read_batch(other, [k])
        assert torch.equal(batch.features.token_mask[k], single.features.token_mask[0])
        assert batch.features.streamer[k] == single.features.streamer[0]
        assert batch.seeds[k] == single.seeds[0]
    other.epoch = 1
    assert not torch.equal(read_batch(other, [*range(40)]).seeds, batch.seeds)
    assert not torch.equal(read_batch(open_windows(segments, seed=1), [*range(40)]).seeds, batch.seeds)
    assert {0, 1} <= set(batch.features.streamer.tolist())


def test_modality_dropout_leaves_something(segments: Segments) -> None:
    batch = read_batch(open_windows(segments, dropout=0.9), [*range(90)])
    masks = stack_masks(batch, *SOURCES)
    assert masks.any(0)[batch.segment_mask].all()
    assert (masks.float().mean((1, 2)) < 0.7).all()


@pytest.mark.parametrize("excluded", [("pictures",), ("speech", "comments")])
def test_modality_dropout_leaves_something_that_is_not_excluded(segments: Segments, excluded: tuple[str, ...]) -> None:
    config = replace(CONFIG, targets=(Target(excluded_inputs=excluded),))
    windows = Windows(segments, [find_room(segments, "test-0")], config, modality_dropout=0.9)  # which has all
    batch = read_batch(windows, [*range(len(windows))])
    assert not stack_masks(batch, *excluded).any()
    masks = stack_masks(batch, *(source for source in SOURCES if source not in excluded))
    assert masks.any(0)[batch.segment_mask].all()
    if excluded == ("pictures",):  # one of two can be dropped
        assert not masks.all(0)[batch.segment_mask].all()


def test_blank_window(segments: Segments) -> None:
    """A process without a window takes the step with a window of no segments."""
    windows = open_windows(segments)
    batch = read_batch(windows, [BLANK, 7])
    for mask in (batch.segment_mask, batch.label_mask, batch.features.token_mask):
        assert not mask[0].any()
    assert torch.equal(batch.features.text[1:], read_batch(windows, [7]).features.text)
    assert not read_batch(windows, [BLANK]).segment_mask.any()


def test_disjoint_windows_cover_each_segment_once(segments: Segments) -> None:
    windows = open_windows(segments)
    disjoint = windows.disjoint()
    assert [*disjoint] == sorted(disjoint)
    assert int(read_batch(windows, [*disjoint]).segment_mask.sum()) == len(windows)
    first = 0
    for room in (room for room in segments.rooms if room.split == "train"):
        count = room.stop - room.start - 1  # segments that have a next one
        ends = disjoint[(disjoint >= first) & (disjoint < first + count)] - first
        assert ends[-1] == count - 1
        assert (np.diff(ends) == CONFIG.window).all()
        assert ends[0] < CONFIG.window
        first += count


def test_what_is_not_a_dataset_is_refused(rooms: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"dataset\.json is missing"):
        Segments(tmp_path)
    (tmp_path / "dataset.json").write_bytes((rooms / "dataset.json").read_bytes())
    with pytest.raises(LabelError, match="has no shards"):
        Segments(tmp_path)
