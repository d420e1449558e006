"""The dataset on disk: what was written is read, windows and their masks are right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from kuaihl.errors import LabelError
from kuaihl.features.chat import CHAT_COLUMNS
from kuaihl.model.config import PRESETS, Target
from kuaihl.model.kuaihl import KuaiHL
from tests.fixtures.small_dataset import INFO, LENGTHS, write_dataset
from train.dataset import BLANK, MODALITIES, Batch, Segments, Windows

CONFIG = replace(PRESETS["debug"], picture_dim=8, text_dim=6, streamers=("streamer 0", "streamer 1"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dataset")
    write_dataset(path)
    return path


@pytest.fixture(scope="module")
def segments(folder: Path) -> Segments:
    return Segments(folder)


def windows(segments: Segments, *, dropout: float = 0.0, seed: int = 0) -> Windows:
    rooms = [r for r in segments.rooms if r.split == "train"]
    return Windows(segments, rooms, CONFIG, streamer_dropout=dropout, modality_dropout=dropout, seed=seed)


def batch(given: Windows, indices: list[int]) -> Batch:
    (got,) = given.__getitems__(indices)
    return got


def test_rooms_and_columns(folder: Path, segments: Segments) -> None:
    assert segments.info == INFO
    assert {r.name: r.stop - r.start for r in segments.rooms} == LENGTHS
    for room in segments.rooms:
        table = pq.read_table(folder / "rooms" / f"{room.name}.parquet")
        rows = np.array(table["pictures"].to_pylist(), dtype=np.float16)
        np.testing.assert_array_equal(segments.array("pictures", room.start, room.stop), rows)
        np.testing.assert_array_equal(segments.column("index", room), np.arange(len(rows)))


def test_every_window_once_with_the_next_label(folder: Path, segments: Segments) -> None:
    given = windows(segments)
    assert len(given) == sum(n - 1 for name, n in LENGTHS.items() if name.startswith("train"))
    tables = {r.name: pq.read_table(folder / "rooms" / f"{r.name}.parquet").to_pydict() for r in segments.rooms}
    index = 0
    for name in (n for n in LENGTHS if n.startswith("train")):
        for end in range(LENGTHS[name] - 1):
            got = batch(given, [index])
            start = max(0, end + 1 - CONFIG.window)
            length = end + 1 - start
            rows = tables[name]
            assert got.valid[0].tolist() == [True] * length + [False] * (CONFIG.window - length)
            assert got.labelled[0, :length].tolist() == rows["valid"][start + 1 : end + 2]
            expected = torch.tensor(rows["label"][start + 1 : end + 2])
            torch.testing.assert_close(got.label[0, :length], expected.nan_to_num())
            activity = torch.tensor(rows["activity"][start : end + 1])
            torch.testing.assert_close(got.features.chat[0, :length], activity[:, : len(CHAT_COLUMNS)])
            assert not got.labelled[0, length:].any()
            assert not got.features.has_pictures[0, length:].any()
            index += 1


def test_text_is_of_what_is_present(folder: Path, segments: Segments) -> None:
    for name, column in (("train-0", "text_both"), ("train-1", "text_comments"), ("train-2", "text_speech")):
        room = next(r for r in segments.rooms if r.name == name)
        rows = np.array(pq.read_table(folder / "rooms" / f"{name}.parquet")[column].to_pylist(), dtype=np.float16)
        np.testing.assert_array_equal(segments.window(room.start, room.stop)["text"], rows)
    room = segments.rooms[-1]
    alone = segments.window(room.start, room.stop, dropped=frozenset({"comments"}))
    np.testing.assert_array_equal(alone["text"], segments.array("text_speech", room.start, room.stop))
    assert not alone["has_comments"].any()


def test_speech_alone_is_there_where_speech_is(segments: Segments) -> None:
    deaf, whole = (next(r for r in segments.rooms if r.name == name) for name in ("train-1", "train-0"))
    spoken = segments.array("text_speech", whole.start, whole.stop)
    np.testing.assert_array_equal(segments.window(whole.start, whole.stop)["spoken"], spoken)
    comments_dropped = segments.window(whole.start, whole.stop, dropped=frozenset({"comments"}))
    np.testing.assert_array_equal(comments_dropped["spoken"], spoken)
    assert segments.array("text_speech", deaf.start, deaf.stop).any()
    assert not segments.window(deaf.start, deaf.stop)["spoken"].any()
    assert not segments.window(whole.start, whole.stop, dropped=frozenset({"speech"}))["spoken"].any()


def test_randomness_is_keyed_by_seed_epoch_and_window(segments: Segments) -> None:
    one, other = windows(segments, dropout=0.5), windows(segments, dropout=0.5)
    together, alone = batch(one, list(range(40))), [batch(other, [i]) for i in range(39, -1, -1)][::-1]
    for k, single in enumerate(alone):
        assert torch.equal(together.features.has_pictures[k], single.features.has_pictures[0])
        assert together.features.streamer[k] == single.features.streamer[0]
        assert together.seeds[k] == single.seeds[0]
    other.epoch = 1
    assert not torch.equal(batch(other, list(range(40))).seeds, together.seeds)
    assert not torch.equal(batch(windows(segments, seed=1), list(range(40))).seeds, together.seeds)
    assert {0, 1} <= set(together.features.streamer.tolist())


def test_modality_dropout_leaves_something(segments: Segments) -> None:
    got = batch(windows(segments, dropout=0.9), list(range(90)))
    present = torch.stack([got.features.has_pictures, got.features.has_speech, got.features.has_comments])
    assert present.any(0)[got.valid].all()
    assert (present.float().mean((1, 2)) < 0.7).all()


@pytest.mark.parametrize("without", [("pictures",), ("speech", "comments")])
def test_modality_dropout_leaves_something_that_the_model_sees(segments: Segments, without: tuple[str, ...]) -> None:
    config = replace(CONFIG, targets=(Target(excluded_inputs=without),))
    rooms = [r for r in segments.rooms if r.name == "test-0"]  # which has everything
    given = Windows(segments, rooms, config, modality_dropout=0.9)
    got = batch(given, list(range(len(given))))
    flags = {m: getattr(got.features, f"has_{m}") for m in MODALITIES}
    assert not any(flags[m].any() for m in without)
    seen = torch.stack([flags[m] for m in MODALITIES if m not in without])
    assert seen.any(0)[got.valid].all()
    if without == ("pictures",):  # of two, one can be dropped
        assert not seen.all(0)[got.valid].all()


def test_dropped_is_masked_and_not_zero(segments: Segments) -> None:
    """Values stay, and the model gives the same whatever they are."""
    got = batch(windows(segments, dropout=0.5), list(range(90)))
    kept = batch(windows(segments), list(range(90)))
    dropped = got.valid & ~got.features.has_pictures
    torch.testing.assert_close(got.features.pictures, kept.features.pictures)
    torch.manual_seed(0)
    model = KuaiHL(CONFIG).eval()
    noise = torch.randn(got.features.pictures.shape)
    pictures = torch.where(dropped[..., None, None], noise, got.features.pictures.float())
    expected = model(got.features).scores
    torch.testing.assert_close(model(replace(got.features, pictures=pictures)).scores, expected)
    zeros = replace(got.features, has_pictures=got.valid, pictures=got.features.pictures * ~dropped[..., None, None])
    assert not torch.allclose(model(zeros).scores[dropped], expected[dropped])


def test_blank_window(segments: Segments) -> None:
    """A process without a window takes the step all the same: it has no segment, and adds nothing."""
    got = batch(windows(segments), [BLANK, 7])
    assert not got.valid[0].any()
    assert not got.labelled[0].any()
    assert not torch.stack([got.features.has_pictures, got.features.has_speech, got.features.has_comments])[:, 0].any()
    alone = batch(windows(segments), [7])
    assert torch.equal(got.features.text[1:], alone.features.text)
    assert not batch(windows(segments), [BLANK]).valid.any()


def test_windows_apart_cover_each_segment_once(segments: Segments) -> None:
    given = windows(segments)
    apart = given.apart()
    assert [*apart] == sorted(apart)
    got = batch(given, [*apart])
    first_index, covered = 0, int(got.valid.sum())
    for room in (r for r in segments.rooms if r.split == "train"):
        inside = apart[(apart >= first_index) & (apart < first_index + room.stop - room.start - 1)] - first_index
        assert inside[-1] == room.stop - room.start - 2  # the last that has a next one
        assert (np.diff(inside) == CONFIG.window).all()
        assert inside[0] < CONFIG.window
        first_index += room.stop - room.start - 1
    assert covered == len(given)


def test_what_is_not_a_dataset_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"dataset\.json is missing"):
        Segments(tmp_path)
    (tmp_path / "dataset.json").write_bytes((folder / "dataset.json").read_bytes())
    with pytest.raises(LabelError, match="holds no shard"):
        Segments(tmp_path)
