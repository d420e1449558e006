"""Photos and real chat in simulated rooms."""

import re
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.stats import kendalltau

from kuaihl.errors import LabelError
from train.simulator.render.room_frames import draw_segment
from train.simulator.rooms.comment_bank import read_bank
from train.simulator.rooms.photo_scenes import read_scenes
from train.simulator.rooms.room import simulate_room
from train.simulator.rooms.visuals import CAMERA, DRAWING, PHOTO, STEADY
from train.simulator.settings import TALENTS, SimulatorConfig

SMALL = SimulatorConfig(size="small")
TINY = SimulatorConfig(size="tiny")


def write_bank(path: Path, *, vods: int = 10) -> None:
    """Write VODs with 200 calm windows of 4 lines and 10 windows of 60, in random order."""
    rows = [
        (f"v{vod:02d}", 30 * window + k % 30, f"{'hot' if window % 21 == 20 else 'cold'} vod {vod}")
        for vod in range(vods)
        for window in range(210)
        for k in range(60 if window % 21 == 20 else 4)
    ]
    np.random.default_rng(0).shuffle(rows)
    pq.write_table(pa.table(dict(zip(("vod", "time_s", "text"), zip(*rows, strict=True), strict=True))), path)


def test_a_bank_has_bursts_and_calm_of_the_training_vods(tmp_path: Path) -> None:
    write_bank(tmp_path / "chat.parquet")
    bank = read_bank(tmp_path / "chat.parquet")
    calm, burst = bank.calm.to_pylist(), bank.burst.to_pylist()
    assert {line.split()[-1] for line in calm + burst} == {str(vod) for vod in range(7)}
    assert {line.split()[0] for line in burst} == {"hot"}
    assert {line.split()[0] for line in calm} == {"cold"}
    assert len(read_bank(tmp_path / "chat.parquet", lines=2400).burst) <= 1260
    sample, from_burst = bank.sample(2000, excitement=np.full(2000, 0.7), share=0.8, rng=np.random.default_rng(0))
    lines = [line for line in sample if line is not None]
    assert len(lines) / 2000 == pytest.approx(0.8, abs=0.04)
    assert np.mean([line.startswith("hot") for line in lines]) == pytest.approx(0.7, abs=0.04)
    assert all(line is None or line.startswith("hot") == hot for line, hot in zip(sample, from_burst, strict=True))
    messages = [c.text for c in simulate_room(TINY, 0, bank=bank).comments if c.kind == "message"]
    assert np.mean([bool(re.fullmatch(r"(hot|cold) vod \d", text)) for text in messages]) == pytest.approx(
        0.8, abs=0.05
    )


def test_a_bank_needs_chat(tmp_path: Path) -> None:
    pq.write_table(pa.table({"vod": ["a"], "words": ["b"]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    write_bank(tmp_path / "few.parquet", vods=1)
    for name in ("other", "text", "few", "missing"):
        with pytest.raises(LabelError, match=name):
            read_bank(tmp_path / f"{name}.parquet")


def write_photos(path: Path, mode: str) -> dict[str, tuple[int, int, int]]:
    """Write one class per talent; return the colour of each class."""
    classes = ("chair", "gramophone", "umbrella", "yin_yang", "laptop", "pizza", "pagoda", "watch")
    colors = {name: (30 * k, 255 - 30 * k, 128) for k, name in enumerate(classes)}
    with tarfile.open(path, mode) as tar:
        for name, color in colors.items():
            data = BytesIO()
            Image.new("RGB", (40, 30), color).save(data, "JPEG")
            for number in range(60):
                member = tarfile.TarInfo(f"{name}/image_{number:04d}.jpg")
                member.size = data.tell()
                tar.addfile(member, BytesIO(data.getvalue()))
    return colors


def test_photos_are_disjoint_between_splits_and_mixed_with_drawings(tmp_path: Path) -> None:
    colors = write_photos(tmp_path / "photos.tar", "w")
    scenes = read_scenes(tmp_path / "photos.tar")
    offsets = {split: {p.offset for (_, s), photos in scenes.photos.items() if s == split for p in photos}
               for split in ("train", "validation", "test")}  # fmt: skip
    assert sum(map(len, offsets.values())) == 480 == len(set().union(*offsets.values()))
    rooms = [simulate_room(SMALL, i, scenes=scenes) for i in range(70, 100)]
    assert all({p.offset for p in room.visuals.photos} <= offsets[room.split] for room in rooms)
    framing = np.concatenate([np.reshape(room.visuals.framing, (-1, 3)) for room in rooms])
    idle = np.array([truth.idle for room in rooms for truth in room.truth])
    for segments in (framing[idle], framing[~idle]):
        shares = [(segments == kind).mean() for kind in (DRAWING, PHOTO, CAMERA)]
        np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.09)
    assert all({DRAWING, PHOTO, CAMERA} == set(room.visuals.framing) for room in rooms)
    lvtr = np.repeat(np.concatenate([room.lvtr[1:] for room in rooms]), 3)
    before = np.concatenate([room.visuals.framing[:-3] for room in rooms])
    assert abs(kendalltau(before == PHOTO, lvtr).statistic) < 0.05

    room = rooms[0]
    for kind in (PHOTO, CAMERA):
        steady = (np.array(room.visuals.state) == STEADY) & (np.array(room.visuals.framing) == kind)
        live = np.repeat([not truth.idle and truth.talent != "pk" for truth in room.truth], 3)
        slot = int(np.flatnonzero(steady & live)[0])
        picture = draw_segment(room, slot // 3)[slot % 3]
        corners = picture[30:60, 130:160], picture[120:145, 180:215]
        nearest = [min(colors, key=lambda n: np.abs(np.median(c, axis=(0, 1)) - colors[n]).sum()) for c in corners]
        assert nearest[0] == dict(zip(TALENTS, colors, strict=True))[room.truth[slot // 3].talent]
        # The drawing is in the lower right corner.
        assert (corners[1].std((0, 1)).max() > 20) == (kind == CAMERA)


def test_photos_must_be_uncompressed_and_complete(tmp_path: Path) -> None:
    write_photos(tmp_path / "packed.tar.gz", "w:gz")
    with pytest.raises(LabelError, match="uncompressed tar"):
        read_scenes(tmp_path / "packed.tar.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelError, match="no photos for chatting/train"):
        read_scenes(tmp_path / "empty")
